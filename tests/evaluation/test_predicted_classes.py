import warnings

import numpy as np
import pytest

from innerdistill.data.labels import UNLABELLED
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.predicted_classes import (
    compare_classes,
    compute_calibration_error,
    find_swapped_labels,
    measure_class_distances,
)

NAMES = ("no", "yes")


def logits(predictions, classes=2):
    return np.eye(classes, dtype=np.float32)[predictions]


def test_calibration_of_a_model_that_is_right_as_often_as_it_says():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert compute_calibration_error(np.array([0, 0, 0, 1]), np.log(probabilities)) == pytest.approx(0, abs=1e-6)
    assert compute_calibration_error(np.array([1, 1, 1, 1]), np.log(probabilities)) == pytest.approx(0.75)


def test_calibration_of_outputs_that_are_not_numbers_is_not_a_number():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = compute_calibration_error(np.array([0, 1]), np.array([[np.nan, 0.0], [0.0, 1.0]]))
    assert np.isnan(error)


def test_agreement_by_hand():
    labels = np.array([0, 0, 1, 1, UNLABELLED])
    numbers = compare_classes(labels, logits([0, 1, 1, 0, 0]), logits([0, 1, 0, 1, 0]))
    assert numbers == {
        "equal_predictions": 3 / 5, "teacher_right_student_right": 1, "teacher_right_student_wrong": 1,
        "teacher_wrong_student_right": 1, "teacher_wrong_student_wrong": 1,
    }  # fmt: skip


def test_distances_are_the_kl_of_the_probabilities():
    teacher, student = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.8, 0.2]])
    differs, distances = measure_class_distances(teacher, student)
    assert differs.tolist() == [True, False]
    assert distances[0] == pytest.approx(np.log(4 / 3) / 2)


def test_swapped_labels_are_told_from_a_bad_teacher():
    labels = np.array([0, 1] * 20)
    found = find_swapped_labels(LabelledExamples(labels), logits(1 - labels), NAMES)
    assert "'no' meant 'yes' and 'yes' meant 'no'" in found.sentence and found.meant == (1, 0)
    assert find_swapped_labels(LabelledExamples(labels), logits(labels), NAMES) is None
    assert find_swapped_labels(LabelledExamples(labels), logits(np.zeros(40, int)), NAMES) is None
    assert find_swapped_labels(LabelledExamples(labels[:20]), logits(1 - labels[:20]), NAMES) is None  # too few to tell
    names, uneven = ("a", "b", "c", "d"), np.array([0] * 60 + [1] * 20 + [2] * 12 + [3] * 8)
    assert (
        find_swapped_labels(LabelledExamples(uneven), logits(np.full(100, 3), 4), names) is None
    )  # collapsed to a rare class
    guesses = np.random.default_rng(0).integers(0, 4, 100)
    assert find_swapped_labels(LabelledExamples(uneven), logits(guesses, 4), names) is None
