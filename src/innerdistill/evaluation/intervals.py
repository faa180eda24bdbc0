"""Scores on samples of the examples, drawn with replacement: how far a score would move with other examples.

Shapes: N examples, C classes (1 for a regression).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.metrics import find_metric
from innerdistill.evaluation.scoring import has_label, predictions_of

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
    predictions, scored = predictions_of(logits, names), find_metric(metric)
    facts = scored.facts(names=names, positive=positive)
    if scored.of_counts is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of samples that hold one class only: their score is defined
            draws = [float(scored.score(labels[sample], predictions[sample], **facts)) for sample in samples]
        return np.array(draws)
    assert names is not None
    classes = len(names)
    codes = labels * classes + predictions
    counts = np.stack([np.bincount(codes[sample], minlength=classes**2) for sample in samples])
    return scored.of_counts(counts.reshape(-1, classes, classes), **facts)
