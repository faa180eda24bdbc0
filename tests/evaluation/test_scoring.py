import math

import numpy as np
import pytest

from innerdistill.data.labels import UNLABELLED
from innerdistill.evaluation.scoring import agreement, calibration_error, task_scores

NAMES = ("no", "yes")


def logits(predictions, classes=2):
    return np.eye(classes, dtype=np.float32)[predictions]


def test_scores_by_hand():
    labels, predictions = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    found = task_scores(labels, logits(predictions), metric="f1", names=NAMES)
    assert found["accuracy"] == pytest.approx(3 / 5) and found["f1"] == pytest.approx(2 / 3)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))
    assert found["constant"] == pytest.approx(2 * 0.6 / 1.6)
    assert found["per_class"]["yes"] == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3), "rows": 3}
    assert not found["collapsed"] and found["rows"] == 5


def test_a_student_that_says_one_thing_is_flagged():
    found = task_scores(np.array([0, 1, 1]), logits([1, 1, 1]), metric="mcc", names=NAMES)
    assert found["collapsed"] and found["mcc"] == 0


def test_a_constant_answer_is_the_best_one():
    """With F1 of a rare class, always saying the frequent class scores 0 and always the rare one does not."""
    found = task_scores(np.array([0, 0, 0, 1]), logits([0, 0, 0, 0]), metric="f1", names=NAMES)
    assert found["f1"] == 0 and found["constant"] == pytest.approx(2 * 0.25 / 1.25)
    assert task_scores(np.array([0.0, 1.0]), np.ones((2, 1)), metric="pearson", names=None)["constant"] == 0


def test_rows_without_labels_are_left_out():
    labels = np.array([0, UNLABELLED, 1])
    assert task_scores(labels, logits([0, 1, 1]), metric="accuracy", names=NAMES)["accuracy"] == 1
    with pytest.raises(ValueError, match="no row has a label"):
        task_scores(np.array([UNLABELLED]), logits([0]), metric="accuracy", names=NAMES)
    scores = task_scores(
        np.array([0.0, np.nan, 1.0, 2.0]), np.array([[0], [9], [1], [3.0]]), metric="pearson", names=None
    )
    assert scores["rows"] == 3 and scores["spearman"] == pytest.approx(1)


def test_constant_scores_have_correlation_zero():
    assert task_scores(np.array([0.0, 1.0]), np.ones((2, 1)), metric="pearson", names=None)["pearson"] == 0


def test_calibration_of_a_model_that_is_right_as_often_as_it_says():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(np.array([0, 0, 0, 1]), np.log(probabilities)) == pytest.approx(0, abs=1e-6)
    assert calibration_error(np.array([1, 1, 1, 1]), np.log(probabilities)) == pytest.approx(0.75)


def test_agreement_by_hand():
    labels = np.array([0, 0, 1, 1, UNLABELLED])
    found = agreement(labels, logits([0, 1, 1, 0, 0]), logits([0, 1, 0, 1, 0]), names=NAMES)
    assert found == {
        "equal_predictions": 3 / 5, "teacher_right_student_right": 1, "teacher_right_student_wrong": 1,
        "teacher_wrong_student_right": 1, "teacher_wrong_student_wrong": 1,
    }  # fmt: skip


def test_three_classes():
    found = task_scores(np.array([0, 1, 2]), logits([0, 1, 2], 3), metric="f1", names=("a", "b", "c"))
    assert found["f1"] == found["macro_f1"] == 1 and list(found["per_class"]) == ["a", "b", "c"]


def test_f1_is_of_the_same_class_in_whatever_order_a_model_has_its_labels():
    labels, answers = np.array([0, 1, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    one = task_scores(labels, logits(answers), metric="f1", names=("no", "yes"))
    other = task_scores(1 - labels, logits(1 - answers), metric="f1", names=("yes", "no"), positive=0)
    assert one["f1"] == other["f1"] == pytest.approx(0.8) and one["constant"] == other["constant"] == pytest.approx(
        0.75
    )
