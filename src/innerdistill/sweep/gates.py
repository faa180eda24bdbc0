"""What forbids a verdict: runs that collapsed, and too few examples that tell two methods apart.

Shapes: U units, N examples. Examples that belong together count as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers
from innerdistill.evaluation.crossed import CrossedEstimate, Estimate
from innerdistill.evaluation.differences import FEW_DIFFERENT
from innerdistill.evaluation.metrics import SHARES_OF_RIGHT

FEWEST_OF_CLASS = 10  # examples


@dataclass(frozen=True)
class Collapse:
    """Runs that give one answer to all examples, and what is left without them.

    Attributes:
        first: number of runs of the first method that collapsed.
        second: number of runs of the second one.
        runs: runs of each method.
        pairs: pairs of runs of which neither collapsed.
        difference: mean difference over the units of these pairs; None if there are none.
    """

    first: int
    second: int
    runs: int
    pairs: int
    difference: float | None


def count_collapsed(first: Sequence[Answers], second: Sequence[Answers]) -> Collapse | None:
    """Count the runs of two methods that give one answer to all examples.

    Args:
        first: answers of the first method, by unit. (U of (R, N))
        second: answers of the second one, of the same units and runs.

    Returns:
        The counts and the difference without these runs; None if no run collapsed.
    """
    of_first = [unit.collapsed for unit in first]
    of_second = [unit.collapsed for unit in second]
    counts = [int(np.concatenate(flags).sum()) for flags in (of_first, of_second)]
    if not any(counts):
        return None
    remaining, pairs = [], 0
    for ours, theirs, *collapsed in zip(first, second, of_first, of_second, strict=True):
        trained = ~np.logical_or(*collapsed)
        pairs += int(trained.sum())
        if trained.any():
            remaining.append((ours.scores - theirs.scores)[trained].mean())
    runs = sum(len(unit.scores) for unit in first)
    return Collapse(counts[0], counts[1], runs, pairs, float(np.mean(remaining)) if remaining else None)


def describe_obstacle(
    estimate: Estimate, collapse: Collapse | None, different: NDArray[np.bool_], *, metric: str, rarest: int | None
) -> str:
    """Say why no verdict follows from an estimate.

    Args:
        estimate: difference of two methods with its variance.
        collapse: the runs that collapsed; None if there are none.
        different: whether any run answers an example differently. (N,)
        metric: name of the primary metric.
        rarest: examples of the rarest class; None where labels are no classes.

    Returns:
        A clause; empty if there is no obstacle.
    """
    if collapse is not None:
        return "a run gives one answer to all examples"
    count = int(different.sum())
    if rarest is not None and rarest < FEWEST_OF_CLASS:
        return f"the rarest class has {rarest} example{'s' * (rarest != 1)}, and a verdict needs {FEWEST_OF_CLASS}"
    if count < FEW_DIFFERENT and metric not in SHARES_OF_RIGHT:
        return (
            f"only {count} of {len(different):,} examples are answered differently, and a verdict needs {FEW_DIFFERENT}"
        )
    if isinstance(estimate, CrossedEstimate) and estimate.is_constant:
        return "the difference is the same for every run and example"
    return ""


def bound_collapse(units: int) -> float:
    """Bound how often training collapses if it never did in some independent units: 1 - 0.05^(1 / U).

    Args:
        units: seeds or teachers, U.

    Returns:
        The largest share of collapses that 95 % confidence does not exclude, from 0 to 1.

    >>> round(bound_collapse(8), 2)
    0.31
    """
    return float(1 - 0.05 ** (1 / units))
