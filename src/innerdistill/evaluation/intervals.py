"""Scores on samples of the examples, drawn with replacement: how far a score would move with other examples.

Shapes: N examples, C classes (1 for a regression).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.metrics import SCORE_METRICS, has_label, predictions_of

Array = NDArray[Any]


def bootstrap_scores(
    labels: Array,
    logits: Mapping[str, Array],
    *,
    metric: str,
    names: Sequence[str] | None,
    positive: int = 1,
    draws: int = 200,
) -> dict[str, Array]:
    """One metric on samples of the labelled examples, drawn with replacement; the same samples for every model.

    The standard deviation over the draws is the standard error over examples, of a score or of a difference of two.

    Args:
        labels: class ids or scores. (N,)
        logits: by model. (N, C)
        metric: name of the metric.
        names: class names by id; None for a regression.
        positive: of two classes the one that f1 is of.
        draws: number of samples.

    Returns:
        By model its score on every sample. (draws,)
    """
    known = has_label(labels, names)

    def of(values: Array) -> Array:
        samples = bootstrap_samples(int(known.sum()), draws)
        return sample_scores(labels[known], values[known], samples, metric=metric, names=names, positive=positive)

    return {model: of(values) for model, values in logits.items()}


def error_of_difference(labels: Array, first: Array, second: Array, **measured: Any) -> float:
    """Standard error over examples of the difference of two models' scores, which saw the same examples.

    Args:
        labels: class ids or scores. (N,)
        first: logits of a model. (N, C)
        second: logits of another. (N, C)
        **measured: metric, names and positive, as `bootstrap_scores` takes them.

    Returns:
        In the units of the metric.
    """
    draws = bootstrap_scores(labels, {"first": first, "second": second}, **measured)
    return float((draws["first"] - draws["second"]).std(ddof=1))


def bootstrap_samples(rows: int, draws: int, *, seed: int = 0) -> Iterator[Array]:
    """Samples of rows with replacement, one at a time: together they would be draws times the data.

    Args:
        rows: to draw from, N, and as many in a sample.
        draws: number of samples.
        seed: of the draws.

    Yields:
        Positions. (N,)
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield generator.integers(0, rows, rows)


def sample_scores(
    labels: Array,
    logits: Array,
    samples: Iterable[Array],
    *,
    metric: str,
    names: Sequence[str] | None,
    positive: int = 1,
) -> Array:
    """One metric of one model on samples of the examples.

    Args:
        labels: class ids or scores, all known. (N,)
        logits: output of the model. (N, C)
        samples: positions of examples, sample by sample.
        metric: name of the metric.
        names: class names by id; None for a regression.
        positive: of two classes the one that f1 is of.

    Returns:
        The score on every sample. (draws,)
    """
    predictions = predictions_of(logits, names)
    if names is None:
        return np.array([SCORE_METRICS[metric](labels[sample], predictions[sample]) for sample in samples])
    classes = len(names)
    codes = labels * classes + predictions
    counts = np.stack([np.bincount(codes[sample], minlength=classes**2) for sample in samples])
    metric = "macro_f1" if metric == "f1" and classes > 2 else metric
    return scores_of_counts(counts.reshape(-1, classes, classes), metric, positive=positive)


def scores_of_counts(counts: Array, metric: str, *, positive: int = 1) -> Array:
    """A metric of many confusion matrices at once: scikit-learn takes milliseconds for each.

    Args:
        counts: rows by label and prediction. (draws, C, C)
        metric: accuracy, f1, macro_f1 (the mean over the classes that occur) or mcc.
        positive: the class that f1 is of.

    Returns:
        What scikit-learn would give for each. (draws,)

    >>> scores_of_counts(np.array([[[2, 1], [1, 4]]]), "accuracy")
    array([0.75])
    """
    counts = counts.astype(float)
    right, labelled, predicted = np.diagonal(counts, axis1=1, axis2=2), counts.sum(2), counts.sum(1)
    total = counts.sum((1, 2))
    if metric == "accuracy":
        return np.asarray(right.sum(1) / total)
    if metric == "mcc":  # Gorodkin 2004, for any number of classes
        covariance = right.sum(1) * total - (labelled * predicted).sum(1)
        scale = np.sqrt((total**2 - (labelled**2).sum(1)) * (total**2 - (predicted**2).sum(1)))
        return np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    both = labelled + predicted
    f1 = np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)
    return np.asarray(f1[:, positive] if metric == "f1" else f1.sum(1) / (both > 0).sum(1))
