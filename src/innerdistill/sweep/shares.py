"""What share of their teacher's score students keep: of the score, and of what lies above the constant answer.

Shapes: U units, N examples. Examples that belong together count as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers, join_answers
from innerdistill.evaluation.crossed import estimate_crossed
from innerdistill.evaluation.metrics import SHARES_OF_RIGHT
from innerdistill.evaluation.shares import Share, estimate_share, judge_share
from innerdistill.report.formatting import NOT_APPLICABLE, format_percent
from innerdistill.sweep.gates import count_collapsed, describe_obstacle
from innerdistill.sweep.groups import Compared, Unit
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM, find_different
from innerdistill.sweep.table import Table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """Pseudo-values of a method's students and of what they are measured by.

    Attributes:
        student: pseudo-values of students, the mean over those of a unit. (U, N)
        reference: those of their teachers, or of another method. (U, N)
        different: whether any student answers an example unlike the reference. (N,)
        is_accuracy: whether the pseudo-values are correctness.
        is_judged: whether an interval would hold: no run collapsed, and examples enough tell them apart.
    """

    student: Array
    reference: Array
    different: NDArray[np.bool_]
    is_accuracy: bool
    is_judged: bool

    def estimate(self, constant: Array | float = 0.0) -> Share | None:
        """Estimate the share; its interval is left out where it would not hold.

        Args:
            constant: pseudo-values of the constant answer, above which scores count. (N,)

        Returns:
            The share; None where the reference has no score to speak of.
        """
        found = estimate_share(
            self.student - constant, self.reference - constant, different=self.different, is_accuracy=self.is_accuracy
        )
        return found if found is None or self.is_judged else Share(found.share, None)

    def judge(self, asked: float, constant: Array | float = 0.0) -> str:
        """Judge whether a share is kept.

        Args:
            asked: the share, 1 for all of it.
            constant: pseudo-values of the constant answer, above which scores count. (N,)

        Returns:
            `shown`, `refused` or `not shown`; a dash where nothing can be claimed.
        """
        if not self.is_judged or len(self.student) < FEWEST_FOR_CLAIM:
            return NOT_APPLICABLE
        return judge_share(
            self.student - constant,
            self.reference - constant,
            asked,
            different=self.different,
            is_accuracy=self.is_accuracy,
        )


def compare_with_teacher(place: Compared, method: str) -> Kept:
    """Collect what a method's students and their teachers answer.

    Args:
        place: where methods are compared.
        method: name of a method that has run there.

    Returns:
        Pseudo-values of both.
    """
    units = place.list_units(method)
    teachers = [join_answers([unit[0][0].teacher_answers] * len(unit)) for unit in units]
    return _collect(place, units, [place.read_unit(unit, method) for unit in units], teachers)


def compare_with_method(place: Compared, method: str, reference: str) -> Kept | None:
    """Collect what the students of two methods answer, over the units that both have.

    Args:
        place: where methods are compared.
        method: name of a method.
        reference: name of the method that it is measured by.

    Returns:
        Pseudo-values of both; None if no seed has run with both.
    """
    units = place.list_units(method, reference)
    if not units:
        return None
    students, references = ([place.read_unit(unit, name) for unit in units] for name in (method, reference))
    return _collect(place, units, students, references)


def build_shares(place: Compared) -> Table | None:
    """Build the table of shares.

    Args:
        place: where methods are compared.

    Returns:
        A row for each method that has an interval; None if no method has any, or the teacher is at chance. None without
        labels or teacher outputs too.
    """
    if not place.is_above_chance or place.first_group.teacher is None or place.first_group.is_agreement:
        return None
    asked, constant = place.asked, place.first_group.constant_values
    header = ["method", "of the teacher's score", "95 % interval", "above the constant answer", "95 % interval"]
    if asked is not None:
        header += [f"keeps {100 * asked:g} %", f"keeps {100 * asked:g} % above the constant answer"]
    full = place.find_full_size()
    header += [f"of the score of {full}", "95 % interval"] if full else []
    rows = []
    for method in place.list_methods():
        kept = compare_with_teacher(place, method)
        of_score = kept.estimate()
        if of_score is None or of_score.interval is None:
            continue
        row = [method, *_format(of_score), *_format(kept.estimate(constant))]
        row += [kept.judge(asked), kept.judge(asked, constant)] if asked is not None else []
        if full:
            of_full = None if method == full else compare_with_method(place, method, full)
            row += _format(None if of_full is None else of_full.estimate())
        rows.append(tuple(row))
    return Table("Shares", tuple(header), tuple(rows), " ".join(_explain(place))) if rows else None


def describe_share(place: Compared, method: str) -> str:
    """Describe what share of its teacher's score a method keeps.

    Args:
        place: where methods are compared.
        method: name of a method that has run there.

    Returns:
        Such as `97.1 % (95.2 % ... 99.0 %)`; without the interval where it would not hold.
    """
    share, interval = _format(compare_with_teacher(place, method).estimate())
    return share if interval == NOT_APPLICABLE else f"{share} ({interval})"


def _explain(place: Compared) -> list[str]:
    notes = [
        f"Shares are those of mean scores. Fieller's intervals are over {place.over} and examples, each for its share.",
        "A dash: the share is not stable, or too few examples tell the models apart.",
    ]
    if place.asked is not None:
        notes.append(f"Whether a share is kept is judged at 5 %, one-sided, from {FEWEST_FOR_CLAIM} {place.over} on.")
    return notes


def _collect(
    place: Compared, units: Sequence[Unit], students: Sequence[Answers], references: Sequence[Answers]
) -> Kept:
    different, is_accuracy = find_different(students, references), place.metric in SHARES_OF_RIGHT
    student, reference = (np.stack([unit.pseudo_values.mean(0) for unit in side]) for side in (students, references))
    obstacle = describe_obstacle(
        estimate_crossed(student - reference, different=different, is_accuracy=is_accuracy),
        count_collapsed(students, references),
        different,
        metric=place.metric,
        rarest=units[0][0][0].rarest_class,
    )
    return Kept(student, reference, different, is_accuracy, not obstacle and not place.are_seeds_shared)


def _format(share: Share | None) -> tuple[str, str]:
    if share is None:
        return NOT_APPLICABLE, NOT_APPLICABLE
    if share.interval is None:
        return format_percent(share.share), NOT_APPLICABLE
    low, high = share.interval
    return format_percent(share.share), f"{format_percent(low)} ... {format_percent(high)}"
