"""Whether the difference of two methods changes with the number of training examples. U seeds, N examples, K sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers
from innerdistill.evaluation.crossed import FEWEST_FOR_INTERVAL, CrossedEstimate, estimate_crossed
from innerdistill.evaluation.metrics import SHARES_OF_RIGHT
from innerdistill.sweep.gates import count_collapsed, describe_obstacle
from innerdistill.sweep.groups import Group
from innerdistill.sweep.statistics import find_different
from innerdistill.sweep.wording import format_interval

Array = NDArray[np.float64]


def describe_trend(groups: Sequence[Group], sizes: Sequence[float], method: str, against: str) -> str | None:
    """Describe how the difference of two methods changes with every doubling of a size.

    Args:
        groups: groups that differ in the size only. (K)
        sizes: the sizes, such as training examples. (K)
        method: the first method.
        against: the second one.

    Returns:
        A sentence, which says that it is exploratory; None for one size, or without a seed that has run everywhere.
    """
    if len(set(sizes)) < 2:
        return None
    seeds = set.intersection(*(set(group.list_shared_seeds(method, against)) for group in groups))
    if not seeds:
        return None
    first, second = ([_read(group, name, sorted(seeds)) for group in groups] for name in (method, against))
    estimate, obstacle = estimate_trend(first, second, np.log2(sizes), metric=groups[0].metric)
    change = f"{estimate.mean:+.4f} {groups[0].metric_name}"
    text = f"Exploratory: with every doubling, the difference of {method} from {against} changes by {change}"
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    if estimate.has_interval and not obstacle:
        return f"{text} (95 % interval {format_interval(estimate.interval)}, {count})."
    reason = obstacle or f"an interval needs {FEWEST_FOR_INTERVAL} seeds"
    return f"{text} ({count}; {reason})."


def estimate_trend(
    first: Sequence[Sequence[Answers]], second: Sequence[Sequence[Answers]], places: Array, *, metric: str
) -> tuple[CrossedEstimate, str]:
    """Estimate the slope of a difference of two methods, as one contrast of all sizes.

    With x the places and d the difference at each, it is the mean of sum (x - mean x) d / sum (x - mean x)^2.

    Args:
        first: answers of the first method by size and seed. (K of U of (1, N))
        second: answers of the second one, of the same seeds. (K of U of (1, N))
        places: where the sizes lie, such as their logarithms. (K,)
        metric: name of the primary metric.

    Returns:
        The slope with its variance over seeds and examples, and why it has no interval: a clause, mostly empty.
    """
    centred = places - places.mean()
    weights = centred / np.square(centred).sum()
    slopes, different = np.zeros(1), []
    for weight, ours, theirs in zip(weights, first, second, strict=True):
        units = zip(ours, theirs, strict=True)
        slopes = slopes + weight * np.stack([one.pseudo_values[0] - other.pseudo_values[0] for one, other in units])
        different.append(find_different(ours, theirs))
    differs = np.any(different, axis=0)
    estimate = estimate_crossed(slopes, different=differs, is_accuracy=metric in SHARES_OF_RIGHT)
    all_first, all_second = ([run for of_size in side for run in of_size] for side in (first, second))
    collapse = count_collapsed(all_first, all_second)
    return estimate, describe_obstacle(estimate, collapse, differs, metric=metric, rarest=None)


def _read(group: Group, method: str, seeds: Sequence[int]) -> list[Answers]:
    return [group.methods[method].read_answers(seed) for seed in seeds]
