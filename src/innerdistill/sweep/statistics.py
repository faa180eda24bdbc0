"""Whether one method is better than another: over seeds or teachers and over examples, corrected, in a sentence.

The unit is the seed; where a sweep has several teachers, it is the teacher, with the mean over its students. Shapes: U
units, R runs of a unit, N examples, G groups of examples that count as one; G is N where none belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers, find_shared_groups
from innerdistill.evaluation.crossed import (
    FEWEST_FOR_INTERVAL,
    LEVEL,
    CrossedEstimate,
    Estimate,
    estimate_crossed,
)
from innerdistill.evaluation.crossed_teachers import estimate_over_teachers
from innerdistill.evaluation.labelled_examples import mark_groups
from innerdistill.evaluation.metrics import SHARES_OF_RIGHT
from innerdistill.support.messages import format_count
from innerdistill.sweep.gates import Collapse, count_collapsed, describe_obstacle

Over = Literal["seeds", "teachers"]
Verdict = Literal["untested", "none", "rough", "better", "worse", "few", "equivalent", "open"]

FEWEST_FOR_CLAIM = 8


@dataclass(frozen=True)
class Comparison:
    """One method against another on the same seeds, or on students of the same teachers.

    Attributes:
        method: the first one.
        against: the second one.
        differences: the first one's score less the second one's, by unit.
        estimate: their mean with its variance over units and examples.
        over: seeds, or teachers.
        runs: smallest and largest number of runs of a method in a unit.
        is_rough: whether all teachers share the seeds of their students, so that there is an estimate and no test.
        obstacle: why nothing can be concluded from so many units; empty if nothing stands in the way.
        collapse: the runs that give one answer to all examples; None if there are none.
        p: p-value of the estimate, corrected by Holm over all declared comparisons; None without a test.
        margin: differences below it do not matter; None if none was given.
        margin_p: p-value of a difference beyond the margin, corrected by Holm; None without a margin or a test.
        declared: units of the sweep; 0 if that is not known.
        family: number of comparisons that were declared together.
    """

    method: str
    against: str
    differences: tuple[float, ...]
    estimate: Estimate
    over: Over = "seeds"
    runs: tuple[int, int] = (1, 1)
    is_rough: bool = False
    obstacle: str = ""
    collapse: Collapse | None = None
    p: float | None = None
    margin: float | None = None
    margin_p: float | None = None
    declared: int = 0
    family: int = 1

    @property
    def units(self) -> int:
        """U."""
        return len(self.differences)

    @property
    def difference(self) -> float:
        """Mean over units."""
        return self.estimate.mean

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the differences; None for one unit."""
        return float(np.std(self.differences, ddof=1)) if self.units > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % for this comparison alone, with other units and other examples; None where it would not hold."""
        if self.units < FEWEST_FOR_INTERVAL or self.obstacle or not self.estimate.has_interval:
            return None
        return self.estimate.interval

    @property
    def is_within_margin(self) -> bool:
        """Whether the difference is shown to be smaller than the margin."""
        return self.margin_p is not None and self.margin_p < LEVEL

    @property
    def detectable(self) -> float | None:
        """Smallest difference that 80 % of such sweeps would find; None where one was found or nothing tested."""
        if self.verdict != "open" or not isinstance(self.estimate, CrossedEstimate):
            return None
        return self.estimate.find_detectable(self.family)

    @property
    def verdict(self) -> Verdict:
        """What the comparison shows.

        `untested`: too few units. `none`: an obstacle. `rough`: an estimate only. `few`: shown, by fewer units than a
        claim needs. `open`: no difference shown.
        """
        if self.units < FEWEST_FOR_INTERVAL:
            return "untested"
        if self.p is None:
            return "none" if self.obstacle else "rough"
        return self._read_tests()

    @property
    def has_same_answers(self) -> bool:
        """Whether the two methods answer every example alike in every run."""
        return isinstance(self.estimate, CrossedEstimate) and self.estimate.different == 0

    @property
    def is_significant(self) -> bool:
        """Whether there is a difference for other units and other examples too."""
        return self.p is not None and self.p < LEVEL

    def _read_tests(self) -> Verdict:
        if not self.is_significant and not self.is_within_margin:
            return "open"
        if self.units < FEWEST_FOR_CLAIM:
            return "few"
        if not self.is_significant:
            return "equivalent"
        return "better" if self.difference > 0 else "worse"

    @property
    def sample(self) -> str:
        """What it was tested on, in words."""
        if self.over == "seeds":
            return f"{format_count(self.units, 'seed')}, one teacher"
        each = " to ".join(map(str, dict.fromkeys(self.runs)))
        return f"{format_count(self.units, 'teacher')}, {each} student{'s' if self.runs[1] > 1 else ''} of each"


def compare_pair(
    method: str,
    against: str,
    first: Sequence[Answers],
    second: Sequence[Answers],
    *,
    metric: str,
    rarest: int | None = None,
    are_seeds_shared: bool = False,
    **described: Any,
) -> Comparison:
    """Compare two methods, not yet corrected for other comparisons.

    Args:
        method: the first one.
        against: the second one.
        first: answers of the first one, by unit. (U of (R, N))
        second: answers of the second one, of the same units and runs.
        metric: name of the primary metric.
        rarest: examples of the rarest class; None where labels are no classes.
        are_seeds_shared: whether the units are teachers whose students have the same seeds, in the same order.
        **described: `over`, `runs`, `margin` and `declared` of the comparison.

    Returns:
        The comparison.

    Raises:
        ValueError: other numbers of units.
    """
    if len(first) != len(second):
        raise ValueError(f"{method} has {len(first)} seeds, {against} {len(second)}; both need the same ones.")
    different = find_different(first, second)
    by_run = [ours.pseudo_values - theirs.pseudo_values for ours, theirs in zip(first, second, strict=True)]
    differences = np.stack([runs.mean(0) for runs in by_run])
    estimate: Estimate = estimate_crossed(differences, different=different, is_accuracy=metric in SHARES_OF_RIGHT)
    if are_seeds_shared and len(by_run) > 1 and len(by_run[0]) > 1:
        estimate = estimate_over_teachers(np.stack(by_run))
    comparison = Comparison(
        method,
        against,
        tuple(differences.mean(1).tolist()),
        estimate,
        is_rough=are_seeds_shared,
        collapse=count_collapsed(first, second),
        **described,
    )
    if comparison.units < FEWEST_FOR_INTERVAL:
        return comparison
    obstacle = describe_obstacle(estimate, comparison.collapse, different, metric=metric, rarest=rarest)
    if obstacle or comparison.is_rough:
        return replace(comparison, obstacle=obstacle)
    margin = comparison.margin
    margin_p = None if margin is None else estimate.compute_one_sided_p(margin - abs(estimate.mean))
    return replace(comparison, p=estimate.p, margin_p=margin_p)


def find_different(first: Sequence[Answers], second: Sequence[Answers]) -> NDArray[np.bool_]:
    """Find the examples, or groups of examples, that two methods answer differently in any run.

    Args:
        first: answers of the first method, by unit. (U of (R, N))
        second: answers of the second one, of the same units and runs.

    Returns:
        True for each of them. (G,)

    Raises:
        ValueError: runs with other groups.
    """
    groups = find_shared_groups([*first, *second])
    differs = [(ours.predictions != theirs.predictions).any(0) for ours, theirs in zip(first, second, strict=True)]
    return mark_groups(np.any(differs, axis=0), groups)


def correct_comparisons(comparisons: Sequence[Comparison], *, untested: int = 0) -> list[Comparison]:
    """Correct comparisons that were declared together by Holm's method.

    Args:
        comparisons: from `compare_pair`; those without a test count as p = 1.
        untested: comparisons that were declared with them and cannot be made; they count as p = 1.

    Returns:
        The same comparisons, in the same order.
    """
    p_values = [1.0 if comparison.p is None else comparison.p for comparison in comparisons]
    margin_p_values = [1.0 if comparison.margin_p is None else comparison.margin_p for comparison in comparisons]
    others = [1.0] * untested
    p, margin_p = apply_holm(p_values + others), apply_holm(margin_p_values + others)
    corrected = []
    for index, comparison in enumerate(comparisons):
        changes: dict[str, Any] = {"family": len(p)}
        changes |= {} if comparison.p is None else {"p": p[index]}
        changes |= {} if comparison.margin_p is None else {"margin_p": margin_p[index]}
        corrected.append(replace(comparison, **changes))
    return corrected


def apply_holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's correction: the r-th smallest of m values times m - r + 1, never below the one before.

    Source: Holm 1979.

    Args:
        p_values: m of them.

    Returns:
        Corrected values in the same order.

    >>> apply_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(order), 0, -1)
    values = np.empty(len(order))
    values[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [round(float(value), 12) for value in values]
