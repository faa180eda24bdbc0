import math

import numpy as np
import pytest

from innerdistill.data.labels import UNLABELLED
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION

NAMES, CLASSES = ("no", "yes"), SINGLE_LABEL_CLASSIFICATION


def logits(predictions, classes=2):
    return np.eye(classes, dtype=np.float32)[predictions]


def test_scores_by_hand():
    labels, predictions = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    found = score_outputs(labels, logits(predictions), scoring=CLASSES.make_scoring("f1", NAMES))
    assert found["accuracy"] == pytest.approx(3 / 5) and found["f1"] == pytest.approx(2 / 3)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))
    assert found["constant"] == pytest.approx(2 * 0.6 / 1.6)
    assert found["per_class"]["yes"] == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3), "rows": 3}
    assert not found["collapsed"] and found["rows"] == 5


def test_a_student_that_says_one_thing_is_flagged():
    found = score_outputs(np.array([0, 1, 1]), logits([1, 1, 1]), scoring=CLASSES.make_scoring("mcc", NAMES))
    assert found["collapsed"] and found["mcc"] == 0


def test_a_constant_answer_is_the_best_one():
    """With F1 of a rare class, always saying the frequent class scores 0 and always the rare one does not."""
    found = score_outputs(np.array([0, 0, 0, 1]), logits([0, 0, 0, 0]), scoring=CLASSES.make_scoring("f1", NAMES))
    assert found["f1"] == 0 and found["constant"] == pytest.approx(2 * 0.25 / 1.25)
    assert (
        score_outputs(np.array([0.0, 1.0]), np.ones((2, 1)), scoring=REGRESSION.make_scoring("pearson", None))[
            "constant"
        ]
        == 0
    )


def test_rows_without_labels_are_left_out():
    labels = np.array([0, UNLABELLED, 1])
    assert score_outputs(labels, logits([0, 1, 1]), scoring=CLASSES.make_scoring("accuracy", NAMES))["accuracy"] == 1
    with pytest.raises(ValueError, match="no row has a label"):
        score_outputs(np.array([UNLABELLED]), logits([0]), scoring=CLASSES.make_scoring("accuracy", NAMES))
    scores = score_outputs(
        np.array([0.0, np.nan, 1.0, 2.0]),
        np.array([[0], [9], [1], [3.0]]),
        scoring=REGRESSION.make_scoring("pearson", None),
    )
    assert scores["rows"] == 3 and scores["spearman"] == pytest.approx(1)


def test_constant_scores_have_correlation_zero():
    assert (
        score_outputs(np.array([0.0, 1.0]), np.ones((2, 1)), scoring=REGRESSION.make_scoring("pearson", None))[
            "pearson"
        ]
        == 0
    )


def test_three_classes():
    found = score_outputs(
        np.array([0, 1, 2]), logits([0, 1, 2], 3), scoring=CLASSES.make_scoring("f1", ("a", "b", "c"))
    )
    assert found["f1"] == found["macro_f1"] == 1 and list(found["per_class"]) == ["a", "b", "c"]


def test_f1_is_of_the_same_class_in_whatever_order_a_model_has_its_labels():
    labels, answers = np.array([0, 1, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    one = score_outputs(labels, logits(answers), scoring=CLASSES.make_scoring("f1", ("no", "yes")))
    other = score_outputs(
        1 - labels, logits(1 - answers), scoring=CLASSES.make_scoring("f1", ("yes", "no"), positive=0)
    )
    assert one["f1"] == other["f1"] == pytest.approx(0.8) and one["constant"] == other["constant"] == pytest.approx(
        0.75
    )
