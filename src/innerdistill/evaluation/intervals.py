"""Scores on samples of the examples, drawn with replacement: how far a score would move with other examples.

Shapes: N examples, C outputs, D draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.prediction_type import Scoring

Array = NDArray[Any]


def draw_samples(examples: int, draws: int, *, seed: int = 0) -> Iterator[Array]:
    """Samples of examples with replacement, one at a time: together they would be draws times the data.

    Args:
        examples: number of examples to draw from, N, and as many in a sample.
        draws: number of samples.
        seed: random seed of the draws.

    Yields:
        Positions. (N,)
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield generator.integers(0, examples, examples)


def score_samples(labels: Array, logits: Array, samples: Iterable[Array], *, scoring: Scoring) -> Array:
    """The primary metric of one model on samples of the examples.

    Args:
        labels: class ids or scores, none missing. (N,)
        logits: output of the model. (N, C)
        samples: positions of examples, sample by sample.
        scoring: metric, names and what the outputs mean.

    Returns:
        The score on every sample. (D,)
    """
    predictions, metric = scoring.predictions.predict(logits), scoring.primary
    if metric.of_counts is not None:
        assert scoring.names
        classes = len(scoring.names)
        codes = labels * classes + predictions
        counts = np.stack([np.bincount(codes[sample], minlength=classes**2) for sample in samples])
        return metric.of_counts(counts.reshape(-1, classes, classes), **scoring.facts(metric))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of samples that hold one class only: their score is defined
        return np.array([scoring.score(metric, labels[sample], predictions[sample]) for sample in samples])
