import re
from importlib.metadata import EntryPoint
from typing import get_args

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.data.ragged import make_ragged
from innerdistill.evaluation.metrics import METRICS, Shape, find_metric, find_primary_metric, select_metrics
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.recipe.recipe import DataRecipe

LABELS = {
    "classes": np.array([0, 0, 1, 1, 2, 2]),
    "scores": np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
    "label sets": np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
    "tags": make_ragged(np.array(tags) for tags in ([1, 2], [0, 1], [1, 0], [0, 0])),
    "rankings": make_ragged(np.array(relevances) for relevances in ([0.0, 1.0, 2.0], [1.0, 0.0, 0.0])),
}
LABELS["searches"] = make_ragged([np.array([[2.0, 200.0], [1.0, 200.0]])] * 2)  # relevance and documents
RIGHT = {"searches": make_ragged([np.array([[0.0, 1.0], [1.0, 1.0]])] * 2)}  # places; elsewhere the labels are right
WRONG = {"searches": make_ragged([np.array([[150.0, 1.0], [0.0, 1.0]])] * 2)}
NAMES = {"tags": ("O", "B-a", "I-a")}


def get_facts(metric):
    return metric.facts(names=NAMES.get(metric.shape, ("a", "b", "c")), positive=1)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_best_where_predictions_are_right(name):
    metric, labels = METRICS[name], LABELS[METRICS[name].shape]
    best = metric.score(labels, RIGHT.get(metric.shape, labels), **get_facts(metric))
    reversed_labels = labels[::-1] if metric.shape != "rankings" else make_ragged(each[::-1] for each in labels)
    worse = metric.score(labels, WRONG.get(metric.shape, reversed_labels), **get_facts(metric))
    assert best == pytest.approx(1 if metric.higher_is_better else 0)
    assert (worse < best) == metric.higher_is_better


def test_an_unknown_metric_is_refused_with_the_nearest_one_and_those_that_fit():
    with pytest.raises(ValueError) as error:
        find_metric("acuracy")
    said = str(error.value)
    assert said.startswith(
        "unknown metric 'acuracy'. Did you mean 'accuracy'? For classes: accuracy, f1, macro_f1, mcc; for scores: pearson, "
    )
    for shape in get_args(Shape):
        (of_shape,) = re.findall(rf"or {shape}: ([^;.]*)", said)
        fitting = select_metrics(shape)
        assert of_shape.split(", ") == [name for name, metric in fitting.items() if metric.higher_is_better]


def test_an_error_is_no_primary_metric():
    assert find_metric("mse") is METRICS["mse"] and "mse" in select_metrics("scores")
    with pytest.raises(ValueError, match="'mse' cannot be the primary metric, because lower is better"):
        find_primary_metric("mse")


def test_a_metric_of_an_installed_package_is_scored_where_it_is_primary(tmp_path, monkeypatch):
    code = "from sklearn.metrics import cohen_kappa_score\nfrom innerdistill import Metric\nKAPPA = Metric(cohen_kappa_score, 'classes')\n"
    (tmp_path / "kappa_package.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("kappa", "kappa_package:KAPPA", "innerdistill.metrics")
    points = {"metrics": {"kappa": (point,)}}
    monkeypatch.setattr("innerdistill.support.extensions.find_entry_points", lambda group: points.get(group, {}))
    problem_type = find_problem_type(DataRecipe(text=("text",), metric="kappa")).problem_type
    labels, outputs = np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]]
    scores = score_outputs(labels, outputs, scoring=problem_type.make_scoring("kappa", ("a", "b")))
    assert scores["kappa"] == cohen_kappa_score(labels, outputs.argmax(1)) and scores["metric"] == "kappa"
    assert "kappa" not in score_outputs(labels, outputs, scoring=problem_type.make_scoring("mcc", ("a", "b")))
