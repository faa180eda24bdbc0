"""The mean of values of teachers, seeds of students and examples, where all teachers have the same seeds.

With two or three seeds that all teachers share, this is a rough estimate: so few seeds tell little about their spread.
Shapes: T teachers, S seeds, N examples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.crossed import Estimate, combine_degrees

Array = NDArray[np.float64]


def estimate_over_teachers(values: Array) -> Estimate:
    """Estimate a mean over teachers, seeds and examples from the mean squares of a three-way crossed layout.

    The variance V is the sum of its seven components. They come from the mean squares divided by T S N, and none is
    below 0. With these quotients q, the degrees of freedom are V^2 / sum (q^2 / degrees), and at least min(T, S) - 1.
    Source: Satterthwaite 1946.

    Args:
        values: differences of two methods' pseudo-values. (T, S, N), at least two of each

    Returns:
        The estimate.
    """
    teachers, seeds, _ = values.shape
    t, s, n = range(3)
    axes = ((t,), (s,), (n,), (t, s), (t, n), (s, n), (t, s, n))
    squares = {kept: _divide_mean_square(values, kept) for kept in axes}
    e = squares[t, s, n]
    ts, tn, sn = (max(0.0, squares[pair] - e) for pair in ((t, s), (t, n), (s, n)))
    of_teachers = max(0.0, squares[(t,)] - e - ts - tn)
    of_seeds = max(0.0, squares[(s,)] - e - ts - sn)
    of_examples = max(0.0, squares[(n,)] - e - tn - sn)
    variance = of_teachers + of_seeds + of_examples + ts + tn + sn + e
    degrees = [_count_degrees(values, kept) for kept in axes]
    df = combine_degrees(variance, list(squares.values()), degrees)
    return Estimate(float(values.mean()), variance, max(min(teachers, seeds) - 1, df))


def _divide_mean_square(values: Array, kept: tuple[int, ...]) -> float:
    """Mean square of an effect or interaction, divided by the number of all values: a variance of their mean."""
    effect = values
    for axis in range(values.ndim):
        means = effect.mean(axis, keepdims=True)
        effect = effect - means if axis in kept else means
    repeated = values.size / effect.size
    return float(np.square(effect).sum()) * repeated / _count_degrees(values, kept) / values.size


def _count_degrees(values: Array, kept: tuple[int, ...]) -> int:
    return int(np.prod([values.shape[axis] - 1 for axis in kept]))
