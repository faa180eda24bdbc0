"""Whether one method is better than another: paired over seeds, corrected, with an interval, in a sentence.

The unit is the seed; where a sweep has several teachers, it is the teacher, with the mean over its students. Shapes: U
units, R runs of a unit, N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from innerdistill.evaluation.intervals import draw_samples, score_samples
from innerdistill.evaluation.prediction_type import Scoring

Array = NDArray[Any]

FEWEST_FOR_INTERVAL = 5  # below, mean and standard deviation are all that is said
FEWEST_FOR_CLAIM = 8
LEVEL = 0.05
Verdict = Literal["untested", "better", "worse", "here", "equivalent", "open"]


@dataclass(frozen=True)
class Comparison:
    """One method against another on the same seeds, or on students of the same teachers.

    Attributes:
        method: the first one.
        against: the second one.
        differences: the first one's score less the second one's, by unit.
        over: seeds, or teachers.
        runs: smallest and largest number of runs of a method in a unit.
        p: p-value of the paired t-test, corrected by Holm over all declared comparisons; None for too few units.
        interval: 95 % of the two-level bootstrap; None for too few units.
        margin: differences below it do not matter; None if none was given.
        margin_p: of two one-sided t-tests against the margin, corrected by Holm; None without a margin or units enough.
        declared: units of the sweep; 0 if that is not known.
    """

    method: str
    against: str
    differences: tuple[float, ...]
    over: Literal["seeds", "teachers"] = "seeds"
    runs: tuple[int, int] = (1, 1)
    p: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    margin_p: float | None = None
    declared: int = 0

    @property
    def units(self) -> int:
        """U."""
        return len(self.differences)

    @property
    def difference(self) -> float:
        """Mean over units."""
        return float(np.mean(self.differences))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the differences; None for one unit."""
        return float(np.std(self.differences, ddof=1)) if self.units > 1 else None

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to be smaller than the margin, for these examples and for others."""
        if self.margin is None or self.margin_p is None or self.margin_p >= LEVEL:
            return False
        return self.interval is None or max(map(abs, self.interval)) < self.margin

    @property
    def verdict(self) -> Verdict:
        """What test and interval say together; `here` is a difference on these examples that others may not show."""
        if self.p is None:
            return "untested"
        if self.p < LEVEL:
            if self.interval and self.interval[0] <= 0 <= self.interval[1]:
                return "here"
            return "better" if self.difference > 0 else "worse"
        return "equivalent" if self.equivalent else "open"

    @property
    def sample(self) -> str:
        """What it was tested on, in words."""
        if self.over == "seeds":
            return f"{self.units} seed{'s' if self.units != 1 else ''}, one teacher"
        each = " to ".join(map(str, dict.fromkeys(self.runs)))
        return f"{self.units} teachers, {each} student{'s' if self.runs[1] > 1 else ''} of each"

    def describe(self, metric: str) -> str:
        """Say what the comparison shows.

        Args:
            metric: name of the score.

        Returns:
            Sentences without reservations, which `describe_reserve` states once for all comparisons.
        """
        if self.p is None:
            return self._describe_untested(metric)
        evidence = self._describe_evidence(f"{format_p(self.p)} after Holm")
        signed = f"{self.difference:+.3f} {metric}"
        match self.verdict:
            case "here":
                outcome = f"On these examples {self.method} differs from {self.against} by {signed} {evidence}."
                return f"{outcome} It is not shown that it does on others."
            case "better" | "worse" as verdict:
                verb = "beats" if verdict == "better" else "is worse than"
                size = f"{abs(self.difference):.3f} {metric}"
                return f"{self.method} {verb} {self.against} by {size} {evidence}."
            case "equivalent":
                evidence = self._describe_evidence(f"{format_p(self.margin_p or 0.0)} after Holm, two one-sided tests")
                within = f"{self.margin:g} {metric}"
                return f"{self.method} and {self.against} are equivalent within {within} {evidence}."
        return f"No difference shown between {self.method} and {self.against}: {signed} {evidence}."

    def _describe_untested(self, metric: str) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.3f}"
        difference = f"{self.difference:+.3f}{spread} {metric}"
        return f"{self.method} against {self.against}: {difference} (n = {self.units}, not tested)."

    def _describe_evidence(self, test: str) -> str:
        """Interval, test and sample in brackets."""
        interval = f"95 % interval {self.interval[0]:+.3f} ... {self.interval[1]:+.3f}, " if self.interval else ""
        return f"({interval}{test}, {self.sample})"


def describe_reserve(comparisons: Sequence[Comparison]) -> str:
    """Say what too few units leave open: a test that is looked at again and again errs more often than it says.

    Args:
        comparisons: all comparisons of a sweep, over the same kind of unit.

    Returns:
        One or two sentences; empty if there are units enough, and all that were declared.
    """
    unfinished = [comparison for comparison in comparisons if comparison.units < comparison.declared]
    untested = [comparison for comparison in comparisons if comparison.verdict == "untested"]
    short = list(untested)
    for comparison in comparisons:
        if comparison.verdict not in ("open", "untested") and comparison.units < FEWEST_FOR_CLAIM:
            short.append(comparison)
    if not unfinished and not short:
        return ""
    fewest = min(unfinished or short, key=lambda comparison: comparison.units)
    count, over = fewest.units, fewest.over
    if unfinished:
        text = f"Preliminary: {count} of {fewest.declared} {over} have run."
    else:
        text = f"There are only {count} {over}." if count > 1 else f"There is only 1 {over.removesuffix('s')}."
    if untested:
        text += f" A test needs {FEWEST_FOR_INTERVAL} {over}, a claim {FEWEST_FOR_CLAIM}."
    elif short:
        text += f" A claim needs {FEWEST_FOR_CLAIM} {over}."
    return text


def compare_pair(
    method: str,
    against: str,
    scores: Sequence[float],
    others: Sequence[float],
    *,
    interval: tuple[float, float] | None = None,
    margin: float | None = None,
    **described: Any,
) -> Comparison:
    """A paired t-test over units, not yet corrected.

    Args:
        method: the first one.
        against: the second one.
        scores: scores of the first one by unit. (U,)
        others: scores of the second one, the same units in the same order. (U,)
        interval: from `compute_interval`.
        margin: differences below it do not matter; tested by two one-sided t-tests.
        **described: `over`, `runs` and `declared` of the comparison.

    Returns:
        The comparison. Differences that are the same for every unit have p = 1 if they are 0, else 0.

    Raises:
        ValueError: other numbers of units.
    """
    if len(scores) != len(others):
        raise ValueError(f"{method} has {len(scores)} seeds, {against} {len(others)}; both need the same ones.")
    values = np.asarray(scores, float) - np.asarray(others, float)
    enough = len(values) >= FEWEST_FOR_INTERVAL
    return Comparison(
        method,
        against,
        tuple(values.tolist()),
        p=_paired_p(values) if enough else None,
        interval=interval if enough else None,
        margin=margin,
        margin_p=_margin_p(values, margin) if enough and margin is not None else None,
        **described,
    )


def correct_comparisons(comparisons: Sequence[Comparison], *, untested: int = 0) -> list[Comparison]:
    """Correct comparisons that were declared together by Holm's method.

    Args:
        comparisons: from `compare_pair`; those of too few seeds count as p = 1.
        untested: comparisons that were declared with them and cannot be made; they count as p = 1.

    Returns:
        The same comparisons, in the same order.
    """
    p_values = [comparison.p for comparison in comparisons if comparison.p is not None]
    margin_p_values = [comparison.margin_p for comparison in comparisons if comparison.margin_p is not None]
    others = [1.0] * (len(comparisons) - len(p_values) + untested)
    p, margin_p = iter(apply_holm(p_values + others)), iter(apply_holm(margin_p_values + others))
    corrected = []
    for comparison in comparisons:
        corrected_p = None if comparison.p is None else next(p)
        corrected_margin_p = None if comparison.margin_p is None else next(margin_p)
        corrected.append(replace(comparison, p=corrected_p, margin_p=corrected_margin_p))
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


def compute_interval(
    labels: Array,
    first: Sequence[Array],
    second: Sequence[Array],
    *,
    scoring: Scoring,
    draws: int = 4000,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the 95 % interval of the mean difference of two methods, over seeds or teachers, and over examples.

    Every draw takes units with replacement and examples with replacement, the same ones for both methods. With D(e) the
    mean over all units on the examples drawn and D(e, u) that over the units drawn, a draw counts as

        D(e) + c (D(e, u) - D(e)),  c = sqrt(U / (U - 1)) t(0.975, U - 1) / z(0.975)

    since draws of few units spread too little: with c = 1, the interval of 5 seeds would miss in 16 % and not in 5 %.

    Args:
        labels: class ids or scores. (N,)
        first: logits of one method, of at least two units. (U of (N, C), or of (R, N, C) for several runs of each)
        second: logits of the other one, of the same units.
        scoring: metric, names and what the outputs mean.
        draws: number of samples.
        seed: random seed of the samples.

    Returns:
        The 2.5 and 97.5 % quantiles.
    """
    known_rows = scoring.predictions.has_label(labels)
    known_labels = labels[known_rows]

    def score_unit(logits: Array) -> Array:
        """Scores of all draws of examples, the mean over the runs of a unit: (draws,)."""
        scores = []
        for run in logits.reshape(-1, len(labels), logits.shape[-1])[:, known_rows]:
            samples = draw_samples(len(known_labels), draws, seed=seed)
            scores.append(score_samples(known_labels, run, samples, scoring=scoring))
        mean: Array = np.mean(scores, axis=0)
        return mean

    by_unit = [score_unit(ours) - score_unit(theirs) for ours, theirs in zip(first, second, strict=True)]
    differences = np.stack(by_unit, axis=1)  # (draws, U)
    count = differences.shape[1]
    units = np.random.default_rng([seed, 1]).integers(0, count, (draws, count))
    of_all, of_drawn = differences.mean(1), np.take_along_axis(differences, units, axis=1).mean(1)
    wider = np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975)
    low, high = np.quantile(of_all + wider * (of_drawn - of_all), [0.025, 0.975])
    return float(low), float(high)


def format_p(p: float) -> str:
    """Write a p value.

    Args:
        p: the value.

    Returns:
        Three digits.
    """
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def _paired_p(differences: Array) -> float:
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def _margin_p(differences: Array, margin: float) -> float:
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))
