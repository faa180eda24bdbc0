import numpy as np
import pytest

from innerdistill.evaluation.metrics import METRICS, find_metric, find_primary_metric, select_metrics

LABELS = {"classes": np.array([0, 0, 1, 1, 2, 2]), "scores": np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])}
FACTS = {"names": ("a", "b", "c"), "positive": 1}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_best_where_predictions_are_right(name):
    metric, labels = METRICS[name], LABELS[METRICS[name].shape]
    best = metric.score(labels, labels, **metric.facts(**FACTS))
    worse = metric.score(labels, labels[::-1], **metric.facts(**FACTS))
    assert best == pytest.approx(1 if metric.higher_is_better else 0)
    assert (worse < best) == metric.higher_is_better


def test_an_unknown_metric_is_refused_with_the_nearest_one_and_those_that_fit():
    with pytest.raises(ValueError) as error:
        find_metric("acuracy")
    assert str(error.value) == (
        "unknown metric 'acuracy': did you mean 'accuracy'? Known: accuracy, f1, macro_f1, mcc, pearson, spearman. "
        "For classes: accuracy, f1, macro_f1, mcc; for scores: pearson, spearman."
    )


def test_an_error_is_no_primary_metric():
    assert find_metric("mse") is METRICS["mse"] and "mse" in select_metrics("scores")
    with pytest.raises(ValueError, match="'mse' cannot be the primary metric, because lower is better"):
        find_primary_metric("mse")
