"""The mean of values of runs on examples, with the noise of both: two-way crossed mean squares.

Every run answers the same examples, so runs and examples are crossed. Shapes: U units (seeds or teachers), N examples.
Examples that belong together come in as one: `labelled_examples.sum_groups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from innerdistill.evaluation.differences import FEW_DIFFERENT

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

FEWEST_FOR_INTERVAL = 5  # units; fewer tell too little about their spread
LEVEL = 0.05
ROUNDING = 1e-9  # pseudo-values that differ by less are equal


@dataclass(frozen=True)
class Estimate:
    """A mean with its variance over runs and examples.

    Attributes:
        mean: mean over all runs and examples, in the units of the values.
        variance: variance of the mean; 0 if the values are all equal.
        df: degrees of freedom of the variance, by Satterthwaite 1946.
    """

    mean: float
    variance: float
    df: float

    @property
    def standard_error(self) -> float:
        """Square root of the variance, in the units of the values."""
        return float(np.sqrt(self.variance))

    def compute_half_width(self, level: float = 1 - LEVEL) -> float:
        """Compute half the width of the interval of the mean.

        Args:
            level: how often it shall hold the true mean, from 0 to 1.

        Returns:
            t((1 + level) / 2, df) sqrt(V), in the units of the values.
        """
        return float(stats.t.ppf((1 + level) / 2, self.df)) * self.standard_error

    def compute_one_sided_p(self, distance: float) -> float:
        """Compute how probable a mean is that lies this far above the true one.

        Args:
            distance: the mean less the supposed true one, in the units of the values.

        Returns:
            P(T > distance / sqrt(V)); 0, 0.5 or 1 without any variance.
        """
        return _exceed(distance, self.variance, self.df)

    @property
    def has_interval(self) -> bool:
        """Whether the values vary, so that their spread is known."""
        return self.variance > ROUNDING**2

    @property
    def p(self) -> float:
        """Two-sided p-value of a true mean of 0."""
        return 2 * self.compute_one_sided_p(abs(self.mean))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean. It leaves 0 out exactly where p < 0.05."""
        half = self.compute_half_width()
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class CrossedEstimate(Estimate):
    """A mean over units and examples. Its interval is never narrower than that of a t-test over units.

    Attributes:
        units: U.
        examples: N, or the number of groups of examples.
        unit_variance: variance of the means over examples, divided by U: the noise of units, other noise included.
        example_variance: variance of the means over units, divided by N: the noise of examples, other noise included.
        interaction_variance: what both include of one another: units that differ in which examples they get right.
        different: number of examples, or groups, that any run answers differently.
        is_constant: whether all values are the same, and not 0: then nothing is known about their spread.
    """

    units: int
    examples: int
    unit_variance: float
    example_variance: float
    interaction_variance: float
    different: int
    is_constant: bool

    @property
    def has_interval(self) -> bool:
        """Whether there are units enough for an interval, and values that vary or should."""
        return super().has_interval and self.units >= FEWEST_FOR_INTERVAL and not self.is_constant

    def compute_half_width(self, level: float = 1 - LEVEL) -> float:
        """Compute half the width of the interval of the mean.

        Args:
            level: how often it shall hold the true mean, from 0 to 1.

        Returns:
            The larger one of t sqrt(V) with the degrees of freedom of V, and t sqrt(a) with U - 1.
        """
        if self.unit_variance == 0:
            return super().compute_half_width(level)
        of_units = float(stats.t.ppf((1 + level) / 2, self.units - 1)) * self.unit_variance**0.5
        return max(super().compute_half_width(level), of_units)

    def compute_one_sided_p(self, distance: float) -> float:
        """Compute how probable a mean is that lies this far above the true one.

        Args:
            distance: the mean less the supposed true one, in the units of the values.

        Returns:
            The larger one of both tests' p-values.
        """
        if self.unit_variance == 0:
            return super().compute_one_sided_p(distance)
        return max(super().compute_one_sided_p(distance), _exceed(distance, self.unit_variance, self.units - 1))

    def find_detectable(self, comparisons: int = 1, *, power: float = 0.8) -> float:
        """Find the smallest true mean that would be found in most repetitions.

        Args:
            comparisons: number m of declared comparisons, of which this is one.
            power: share of the repetitions that find it, from 0 to 1.

        Returns:
            (t(1 - 0.05 / (2 m), df) + t(power, df)) sqrt(V), in the units of the values.
        """
        quantiles = stats.t.ppf([1 - LEVEL / (2 * comparisons), power], self.df)
        return float(quantiles.sum()) * self.standard_error


def estimate_crossed(values: Array, *, different: Flags, is_accuracy: bool) -> CrossedEstimate:
    """Estimate a mean over units and examples from the mean squares of a two-way crossed layout.

    With a and b the variances of the means of units and of examples, divided by their numbers, and c the mean square of
    the interaction divided by U N:

        V  = max(a, c) + max(b, c) - c
        df = max(U - 1, V^2 / (a^2 / (U - 1) + b^2 / (N - 1) + c^2 / ((U - 1) (N - 1))))

    For accuracy with fewer than 10 examples answered differently, 2 / N^2 is added to b. For one unit V is b, the
    squared standard error over examples. Source: Satterthwaite 1946.

    Args:
        values: differences of two methods' pseudo-values, by unit and example. (U, N)
        different: whether any run answers an example differently. (N,)
        is_accuracy: whether the values are differences of correctness.

    Returns:
        The estimate.
    """
    units, examples = values.shape
    of_units, of_examples, mean = values.mean(1), values.mean(0), float(values.mean())
    is_level = bool(np.ptp(values) < ROUNDING)
    if is_level:
        a = b = c = 0.0
    else:
        residuals = values - of_units[:, None] - of_examples + mean
        a, b = _divide_variance(of_units), _divide_variance(of_examples)
        c = float(np.square(residuals).sum()) / max(1, (units - 1) * (examples - 1) * units * examples)
    if is_accuracy and different.sum() < FEW_DIFFERENT:
        b += 2 / examples**2
    variance = max(a, c) + max(b, c) - c
    degrees = (units - 1, examples - 1, (units - 1) * (examples - 1))
    return CrossedEstimate(
        mean=mean,
        variance=variance,
        df=max(1, units - 1, combine_degrees(variance, (a, b, c), degrees)),
        units=units,
        examples=examples,
        unit_variance=a,
        example_variance=b,
        interaction_variance=c,
        different=int(different.sum()),
        is_constant=is_level and abs(mean) >= ROUNDING,
    )


def combine_degrees(variance: float, parts: Sequence[float], degrees: Sequence[int]) -> float:
    """Combine degrees of freedom: V^2 / sum (part^2 / degrees).

    Args:
        variance: V.
        parts: variances that V is computed from.
        degrees: degrees of freedom of each.

    Returns:
        Degrees of freedom of V, by Satterthwaite 1946; 0 if no part has any.
    """
    total = sum(part**2 / degree for part, degree in zip(parts, degrees, strict=True) if degree)
    return variance**2 / total if total else 0.0


def _divide_variance(means: Array) -> float:
    """Variance of a mean of these means; 0 for one of them, where nothing is known."""
    return float(means.var(ddof=1)) / len(means) if len(means) > 1 else 0.0


def _exceed(distance: float, variance: float, df: float) -> float:
    if variance == 0:
        return 0.5 if distance == 0 else float(distance < 0)
    return float(stats.t.sf(distance / variance**0.5, df))
