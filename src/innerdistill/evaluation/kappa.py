"""Whether a student repeats its teacher's mistakes: Cohen's kappa of right and wrong answers. N examples.

The number of shared mistakes would fall with every mistake less, so it says nothing beside another accuracy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def compute_kappa(first: Flags, second: Flags) -> float:
    """Compute Cohen's kappa of two models' right and wrong answers. Source: Cohen 1960.

    Args:
        first: whether the first model is right. (N,)
        second: whether the second one is. (N,)

    Returns:
        1 where they are right and wrong together, 0 where no more often than by chance; 0 if both never err.

    >>> compute_kappa(np.array([True, True, False, False]), np.array([True, False, False, False]))
    0.5
    """
    return float(_kappa_of_counts(_count(first, second))[()])


def compute_kappa_pseudo_values(first: Flags, second: Flags) -> Array:
    """Compute the pseudo-values of kappa: N kappa - (N - 1) (kappa without an example), centred to kappa.

    Args:
        first: whether the first model is right. (N,)
        second: whether the second one is. (N,)

    Returns:
        Numbers whose mean is kappa. (N,)
    """
    counts, total = _count(first, second), len(first)
    kappa = _kappa_of_counts(counts)
    cells = 2 * first.astype(int) + second
    without = np.zeros(4)
    for cell in np.unique(cells):
        without[cell] = _kappa_of_counts(counts - (np.arange(4) == cell).reshape(2, 2))
    values = (total * kappa - (total - 1) * without)[cells]
    return np.asarray(values - values.mean() + kappa)


def _count(first: Flags, second: Flags) -> Array:
    """Examples by wrong and right of both: (2, 2)."""
    return np.bincount(2 * first.astype(int) + second, minlength=4).reshape(2, 2).astype(float)


def _kappa_of_counts(counts: Array) -> Array:
    shares = counts / counts.sum()
    agreement, chance = np.trace(shares), (shares.sum(0) * shares.sum(1)).sum()
    return np.asarray((agreement - chance) / (1 - chance) if chance < 1 else 0.0)
