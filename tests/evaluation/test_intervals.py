from functools import partial

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.evaluation.intervals import draw_samples, score_samples
from innerdistill.evaluation.metrics import METRICS, Metric, select_metrics
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION

NAMES, CLASSES = ("no", "yes"), SINGLE_LABEL_CLASSIFICATION


def logits(predictions, classes=2):
    return np.eye(classes, dtype=np.float32)[predictions]


@pytest.mark.parametrize("metric", select_metrics("classes"))
@pytest.mark.parametrize("classes", [2, 3])
def test_many_samples_at_once_score_what_scikit_learn_scores(metric, classes):
    """Small samples: classes that do not occur, one class only, nothing right."""
    generator = np.random.default_rng(0)
    names = NAMES if classes == 2 else ("a", "b", "c")
    for rows in (1, 2, 3, 5, 40):
        labels, predictions = generator.integers(0, classes, (2, rows))
        given = logits(predictions, classes)
        samples = generator.integers(0, rows, (9, rows))
        for positive in (0, 1):
            scoring = CLASSES.make_scoring(metric, names, positive=positive)
            draws = score_samples(labels, given, samples, scoring=scoring)
            wanted = [score_outputs(labels[s], given[s], scoring=scoring)[metric] for s in samples]
            assert draws == pytest.approx(wanted)


def within_one(labels, predictions):
    return float((np.abs(labels - predictions) <= 1).mean())


@pytest.mark.parametrize(
    ("metric", "problem_type", "names"),
    [
        (Metric(cohen_kappa_score, "classes"), SINGLE_LABEL_CLASSIFICATION, ("a", "b", "c")),
        (Metric(within_one, "scores"), REGRESSION, None),
    ],
)
def test_a_new_metric_is_scored_by_itself_on_every_sample(metric, problem_type, names, monkeypatch):
    """A metric that is one entry of METRICS is scored by itself on every sample, never by another metric."""
    monkeypatch.setitem(METRICS, "new", metric)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 80).astype(int if names else float)
    outputs = generator.normal(size=(80, 3 if names else 1))
    predictions = outputs.argmax(1) if names else outputs[:, 0]
    scoring = problem_type.make_scoring("new", names)
    draws = score_samples(labels, outputs, draw_samples(80, 20), scoring=scoring)
    wanted = [metric.score(labels[sample], predictions[sample]) for sample in draw_samples(80, 20)]
    assert draws.tolist() == wanted and draws.std() > 0
    assert score_outputs(labels, outputs, scoring=scoring)["new"] == metric.score(labels, predictions)


def test_a_metric_that_reads_facts_gets_them_in_every_sample(monkeypatch):
    def recall(labels, predictions, *, positive):
        return float((predictions[labels == positive] == positive).mean()) if (labels == positive).any() else 0.0

    monkeypatch.setitem(METRICS, "recall", Metric(recall, "classes", reads=("positive",)))
    labels, outputs = np.array([0, 0, 1, 1]), logits([0, 0, 0, 1])
    samples = list(draw_samples(4, 10))
    for positive in (0, 1):
        scoring = CLASSES.make_scoring("recall", NAMES, positive=positive)
        draws = score_samples(labels, outputs, samples, scoring=scoring)
        score = partial(recall, positive=positive)
        assert draws.tolist() == [score(labels[sample], outputs.argmax(1)[sample]) for sample in samples]
