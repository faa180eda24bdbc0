"""Correlations of scores, and their pseudo-values. Shapes: N examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[Any]


def correlate(function: Callable[..., Any], first: Array, second: Array) -> float:
    """A correlation; 0 where one side is constant, so that a collapsed model has a score and not NaN.

    Args:
        function: `pearsonr` or `spearmanr` of SciPy.
        first: real numbers. (N,)
        second: real numbers. (N,)

    Returns:
        From -1 to 1.

    >>> from scipy.stats import pearsonr
    >>> correlate(pearsonr, np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]))
    0.0
    """
    if _is_constant(first, second):
        return 0.0
    return float(function(first, second).statistic)


def compute_pearson_pseudo_values(first: Array, second: Array) -> Array:
    """Compute the pseudo-values of Pearson's correlation: r + zx zy - r / 2 (zx^2 + zy^2).

    Args:
        first: real numbers. (N,)
        second: real numbers. (N,)

    Returns:
        Numbers whose mean is r; all 0 where one side is constant. (N,)
    """
    if _is_constant(first, second):
        return np.zeros(len(first))
    one, other = _standardise(first), _standardise(second)
    correlation = (one * other).mean()
    return np.asarray(correlation + one * other - correlation / 2 * (one**2 + other**2))


def compute_spearman_pseudo_values(first: Array, second: Array) -> Array:
    """Compute the pseudo-values of Spearman's correlation, in O(N log N).

    An example has an influence as a point, and another one on the ranks of all examples below it.

    Args:
        first: real numbers. (N,)
        second: real numbers. (N,)

    Returns:
        Numbers whose mean is the correlation; all 0 where one side is constant. (N,)
    """
    if _is_constant(first, second):
        return np.zeros(len(first))
    count = len(first)
    ranks, others = ((rankdata(side) - 0.5) / count for side in (first, second))
    one, other = _standardise(ranks), _standardise(others)
    correlation = (one * other).mean()
    influence = one * other - correlation / 2 * (one**2 + other**2)
    influence += _average_above(first, other - correlation * one) / ranks.std()
    influence += _average_above(second, one - correlation * other) / others.std()
    return np.asarray(correlation + (influence - influence.mean()) * count / (count - 1))


def _average_above(values: Array, weights: Array) -> Array:
    """By example, the mean over all examples of the weights of those with a larger value; equal ones count half."""
    _, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, weights)
    above = sums[::-1].cumsum()[::-1] - sums / 2
    return np.asarray(above[place] / len(values))


def _standardise(values: Array) -> Array:
    return np.asarray((values - values.mean()) / values.std())


def _is_constant(first: Array, second: Array) -> bool:
    return bool(len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0)
