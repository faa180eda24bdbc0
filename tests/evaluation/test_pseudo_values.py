"""Pseudo-values average to the score, and are what leaving one example out gives."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.evaluation.metrics import METRICS, Metric, select_metrics
from innerdistill.evaluation.pseudo_values import compute_pseudo_values, estimate_standard_error
from innerdistill.problem_types.multi_label_classification import MULTI_LABEL_CLASSIFICATION as LABEL_SETS
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION as CLASSES

GENERATOR = np.random.default_rng(0)


def leave_one_out(labels, predictions, scoring):
    """Slow reference: the definition."""
    score, count, values = scoring.score(scoring.primary, labels, predictions), len(labels), []
    for i in range(count):
        rest = np.arange(count) != i
        values.append(score + (count - 1) * (score - scoring.score(scoring.primary, labels[rest], predictions[rest])))
    return np.array(values) - np.mean(values) + score


@pytest.mark.parametrize("metric", select_metrics("classes"))
@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_classes_are_left_out_one_at_a_time(metric, names):
    labels = GENERATOR.integers(0, len(names), 60)
    predictions = np.where(GENERATOR.random(60) < 0.7, labels, GENERATOR.integers(0, len(names), 60))
    scoring = CLASSES.make_scoring(metric, names)
    values = compute_pseudo_values(labels, predictions, scoring=scoring)
    assert values == pytest.approx(leave_one_out(labels, predictions, scoring))
    assert values.mean() == pytest.approx(scoring.score(scoring.primary, labels, predictions))


@pytest.mark.parametrize("metric", select_metrics("label sets"))
@pytest.mark.parametrize("decimals", [0, 8])  # few decimals give many equal margins
@pytest.mark.parametrize("share", [0.05, 0.4])
def test_label_sets_are_left_out_one_at_a_time(metric, decimals, share):
    labels = (GENERATOR.random((40, 4)) < share).astype(np.float32)
    margins = (labels - 0.5 + GENERATOR.normal(size=labels.shape)).round(decimals)
    scoring = LABEL_SETS.make_scoring(metric, ("a", "b", "c", "d"))
    values = compute_pseudo_values(labels, margins, scoring=scoring)
    assert values == pytest.approx(leave_one_out(labels, margins, scoring))


def test_those_of_accuracy_are_right_and_wrong():
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    values = compute_pseudo_values(labels, predictions, scoring=CLASSES.make_scoring("accuracy", ("a", "b")))
    assert values == pytest.approx([1, 1, 0, 1])
    assert estimate_standard_error(values) == pytest.approx(np.sqrt(0.75 * 0.25 / 3))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("ties", [False, True])
def test_those_of_correlations_are_near_leaving_one_out(metric, ties):
    labels = GENERATOR.normal(size=400)
    predictions = labels + GENERATOR.normal(size=400)
    if ties:
        labels, predictions = labels.round(), predictions.round()
    scoring = REGRESSION.make_scoring(metric, None)
    values, slow = (
        compute_pseudo_values(labels, predictions, scoring=scoring),
        leave_one_out(labels, predictions, scoring),
    )
    assert values.mean() == pytest.approx(scoring.score(scoring.primary, labels, predictions))
    assert np.corrcoef(values, slow)[0, 1] > 0.9999
    assert estimate_standard_error(values) == pytest.approx(estimate_standard_error(slow), rel=0.01)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_constant_scores_have_pseudo_values_of_zero(metric):
    scoring = REGRESSION.make_scoring(metric, None)
    assert not compute_pseudo_values(np.array([0.0, 1.0, 2.0]), np.full(3, 0.7), scoring=scoring).any()


def within_one(labels, predictions):
    return float((np.abs(labels - predictions) <= 1).mean())


@pytest.mark.parametrize(
    ("metric", "problem_type", "names"),
    [
        (Metric(cohen_kappa_score, "classes"), CLASSES, ("a", "b", "c")),
        (Metric(within_one, "scores"), REGRESSION, None),
    ],
)
def test_a_new_metric_has_the_pseudo_values_of_its_own_score(metric, problem_type, names, monkeypatch):
    monkeypatch.setitem(METRICS, "new", metric)
    labels = GENERATOR.integers(0, 3, 80).astype(int if names else float)
    predictions = GENERATOR.integers(0, 3, 80) if names else GENERATOR.normal(size=80)
    scoring = problem_type.make_scoring("new", names)
    values = compute_pseudo_values(labels, predictions, scoring=scoring)
    assert values == pytest.approx(leave_one_out(labels, predictions, scoring)) and values.std() > 0


def test_many_classes_stay_in_memory():
    names = tuple(map(str, range(120)))
    labels = GENERATOR.integers(0, 120, 3000)
    predictions = np.where(GENERATOR.random(3000) < 0.5, labels, GENERATOR.integers(0, 120, 3000))
    scoring = CLASSES.make_scoring("macro_f1", names)
    values = compute_pseudo_values(labels, predictions, scoring=scoring)
    assert values.mean() == pytest.approx(scoring.score(scoring.primary, labels, predictions))
