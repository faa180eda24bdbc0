"""The share of its teacher's score that a student keeps, with an interval.

Shapes: U units, N examples. Examples that belong together come in as one: `labelled_examples.sum_groups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from innerdistill.evaluation.crossed import LEVEL, CrossedEstimate, estimate_crossed

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

LARGEST_ERROR = 0.5  # standard error of the teacher's score, as a part of it, up to which a share is given
FURTHEST = 10.0  # an interval that reaches further says nothing
Judgement = Literal["shown", "refused", "not shown"]


@dataclass(frozen=True)
class Share:
    """A share of a score.

    Attributes:
        share: the student's mean score divided by the teacher's; 1 means all of it.
        interval: 95 % interval by Fieller 1954; None for too few units, or where it would have no end.
    """

    share: float
    interval: tuple[float, float] | None


def estimate_share(student: Array, teacher: Array, *, different: Flags, is_accuracy: bool) -> Share | None:
    """Estimate what share of its teacher's score a student keeps.

    The interval holds all shares rho with |mean(student - rho teacher)| inside the half width of its 95 % interval.
    Source: Fieller 1954.

    Args:
        student: pseudo-values of students, or what lies above those of the constant answer. (U, N)
        teacher: the same of their teachers. (U, N)
        different: whether any student answers an example unlike its teacher. (N,)
        is_accuracy: whether the pseudo-values are correctness.

    Returns:
        The share; None where the teacher's score is below two of its standard errors, so that no share is stable.
    """
    of_teacher = estimate_crossed(teacher, different=different, is_accuracy=False)
    if of_teacher.mean <= 0 or of_teacher.standard_error > LARGEST_ERROR * of_teacher.mean:
        return None

    def estimate_rest(share: float) -> CrossedEstimate:
        return estimate_crossed(student - share * teacher, different=different, is_accuracy=is_accuracy)

    def measure_excess(share: float) -> float:
        """Above 0 where the share is outside the interval."""
        rest = estimate_rest(share)
        return abs(rest.mean) - rest.compute_half_width()

    share = float(student.mean()) / of_teacher.mean
    at_share = estimate_rest(share)
    if not at_share.has_interval:
        return Share(share, None)
    ends = []
    for direction in (-1, 1):
        step = at_share.compute_half_width() / of_teacher.mean
        while measure_excess(share + direction * step) <= 0 and step < FURTHEST:
            step *= 2
        if step >= FURTHEST:
            return Share(share, None)
        ends.append(float(brentq(measure_excess, share, share + direction * step)))
    return Share(share, (ends[0], ends[1]))


def judge_share(student: Array, teacher: Array, asked: float, *, different: Flags, is_accuracy: bool) -> Judgement:
    """Judge whether students keep the share that they were asked to.

    It is shown if mean(student - asked teacher) exceeds the one-sided half width of its 95 % interval, and refused if
    it is below minus that.

    Args:
        student: pseudo-values of students, or what lies above those of the constant answer. (U, N)
        teacher: the same of their teachers. (U, N)
        asked: the share, 1 for all of it.
        different: whether any student answers an example unlike its teacher. (N,)
        is_accuracy: whether the pseudo-values are correctness.

    Returns:
        What the examples and units show.
    """
    rest = estimate_crossed(student - asked * teacher, different=different, is_accuracy=is_accuracy)
    if not rest.has_interval or rest.compute_one_sided_p(abs(rest.mean)) >= LEVEL:
        return "not shown"
    return "shown" if rest.mean > 0 else "refused"
