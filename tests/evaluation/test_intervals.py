import math
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.evaluation.intervals import bootstrap_samples, bootstrap_scores, sample_scores
from innerdistill.evaluation.metrics import METRICS, Metric, metrics_of
from innerdistill.evaluation.scoring import task_scores

NAMES = ("no", "yes")


def logits(predictions, classes=2):
    return np.eye(classes, dtype=np.float32)[predictions]


def test_standard_error_is_that_of_a_proportion():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2000)
    predictions = np.where(generator.random(2000) < 0.8, labels, 1 - labels)
    models = {"one": logits(predictions), "same": logits(predictions) * 2, "other": logits(1 - predictions)}
    draws = bootstrap_scores(labels, models, metric="accuracy", names=NAMES)
    assert draws["one"].std() == pytest.approx(math.sqrt(0.8 * 0.2 / 2000), rel=0.2)
    assert (draws["one"] == draws["same"]).all()  # paired: no difference, so no error of the difference
    assert (draws["one"] + draws["other"]) == pytest.approx(1)


@pytest.mark.parametrize("metric", metrics_of("classes"))
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
            facts = {"metric": metric, "names": names, "positive": positive}
            draws = sample_scores(labels, given, samples, **facts)
            wanted = [task_scores(labels[s], given[s], **facts)[metric] for s in samples]
            assert draws == pytest.approx(wanted)


def within_one(labels, predictions):
    return float((np.abs(labels - predictions) <= 1).mean())


@pytest.mark.parametrize(
    ("metric", "names"), [(Metric(cohen_kappa_score, "classes"), ("a", "b", "c")), (Metric(within_one, "scores"), None)]
)
def test_a_new_metric_has_the_standard_error_of_its_own_score(metric, names, monkeypatch):
    """A metric that is one entry of METRICS is scored by itself on every sample, never by another metric."""
    monkeypatch.setitem(METRICS, "new", metric)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 80)
    outputs = generator.normal(size=(80, 3 if names else 1))
    predictions = outputs.argmax(1) if names else outputs[:, 0]
    draws = bootstrap_scores(labels, {"model": outputs}, metric="new", names=names, draws=20)["model"]
    wanted = [metric.score(labels[sample], predictions[sample]) for sample in bootstrap_samples(80, 20)]
    assert draws.tolist() == wanted and draws.std() > 0
    assert task_scores(labels, outputs, metric="new", names=names)["new"] == metric.score(labels, predictions)


def test_a_metric_that_reads_facts_gets_them_in_every_sample(monkeypatch):
    def recall(labels, predictions, *, positive):
        return float((predictions[labels == positive] == positive).mean()) if (labels == positive).any() else 0.0

    monkeypatch.setitem(METRICS, "recall", Metric(recall, "classes", reads=("positive",)))
    labels, outputs = np.array([0, 0, 1, 1]), logits([0, 0, 0, 1])
    measured = {"metric": "recall", "names": NAMES}
    samples = list(bootstrap_samples(4, 10))
    for positive in (0, 1):
        draws = sample_scores(labels, outputs, samples, positive=positive, **measured)
        score = partial(recall, positive=positive)
        assert draws.tolist() == [score(labels[sample], outputs.argmax(1)[sample]) for sample in samples]
