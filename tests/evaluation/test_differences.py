"""The paired difference of two models, and of a model and the constant answer."""

from dataclasses import replace

import numpy as np
import pytest

from innerdistill.evaluation.differences import compare_logits, compare_on_examples, compare_with_constant
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION as CLASSES

ACCURACY = CLASSES.make_scoring("accuracy", ("no", "yes"))


def one_hot(predictions, classes=2):
    return np.eye(classes)[predictions]


def test_the_error_is_that_of_the_paired_difference():
    labels = np.array([0] * 50 + [1] * 50)
    first, second = labels.copy(), labels.copy()
    first[:5], second[:20] = 1, 1  # 5 and 20 wrong, 5 of them the same: 15 differ
    compared = compare_on_examples(LabelledExamples(labels), first, second, scoring=ACCURACY)
    differences = np.zeros(100)
    differences[5:20] = 1
    assert compared.difference == pytest.approx(0.15) and compared.different == 15
    assert compared.standard_error == pytest.approx(differences.std(ddof=1) / 10)
    assert compared.is_clearly_positive and not compared.is_clearly_negative


def test_accuracy_with_few_different_answers_has_a_wider_error():
    labels = np.zeros(100, int)
    same = compare_on_examples(LabelledExamples(labels), labels, labels, scoring=ACCURACY)
    assert same.difference == 0 and same.standard_error == pytest.approx(np.sqrt(2) / 100)
    assert not same.is_clearly_positive and not same.is_clearly_negative


def test_a_constant_answer_is_the_one_that_is_best_on_train():
    labels, logits = np.array([0] * 70 + [1] * 30), one_hot(np.array([0] * 70 + [1] * 30))
    best_here = compare_with_constant(LabelledExamples(labels), logits, scoring=ACCURACY)
    assert best_here.difference == pytest.approx(0.3)  # always no
    on_train = replace(ACCURACY, constant=ACCURACY.choose_constant(np.array([1, 1, 0])))
    assert compare_with_constant(LabelledExamples(labels), logits, scoring=on_train).difference == pytest.approx(
        0.7
    )  # always yes


@pytest.mark.parametrize("metric", ["mcc", "pearson", "spearman"])
def test_a_constant_answer_has_no_correlation(metric):
    labels = np.arange(40) % 2
    if metric == "mcc":
        compared = compare_with_constant(
            LabelledExamples(labels), one_hot(labels), scoring=CLASSES.make_scoring("mcc", ("no", "yes"))
        )
    else:
        scoring = REGRESSION.make_scoring(metric, None)
        compared = compare_with_constant(LabelledExamples(labels.astype(float)), labels[:, None] * 2.0, scoring=scoring)
    assert compared.difference == pytest.approx(1) and compared.is_clearly_positive


def test_a_collapsed_model_does_not_beat_the_constant_answer():
    """Four classes, one of them predicted for all: macro F1 of a rare class is below that of the frequent one."""
    labels = np.array([0] * 60 + [1] * 20 + [2] * 12 + [3] * 8)
    scoring = CLASSES.make_scoring("macro_f1", ("a", "b", "c", "d"))
    assert compare_with_constant(
        LabelledExamples(labels), one_hot(np.full(100, 3), 4), scoring=scoring
    ).is_clearly_negative
    assert not compare_with_constant(
        LabelledExamples(labels), one_hot(np.full(100, 0), 4), scoring=scoring
    ).is_clearly_positive


def test_examples_without_a_label_do_not_take_part():
    labels = np.array([0, 1, -100, 1])
    compared = compare_logits(LabelledExamples(labels), one_hot([0, 1, 1, 1]), one_hot([0, 0, 0, 1]), scoring=ACCURACY)
    assert (compared.difference, compared.different) == (pytest.approx(1 / 3), 1)
