"""Finished runs of a sweep -> groups of runs with the same data, teacher and versions, and their comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from innerdistill.evaluation.crossed import FEWEST_FOR_INTERVAL
from innerdistill.report.formatting import describe_groups
from innerdistill.sweep.alike import check_alike, identify_teacher
from innerdistill.sweep.declaration import TEACHER_SEED, Sweep
from innerdistill.sweep.grid import name_group
from innerdistill.sweep.groups import Compared, Group, OverTeachers, list_places
from innerdistill.sweep.methods import Method
from innerdistill.sweep.statistics import Comparison, compare_pair, correct_comparisons
from innerdistill.sweep.store import CellRun


def gather(sweep: Sweep, finished: Sequence[CellRun]) -> list[Group]:
    """Group the runs of a sweep and test its declared comparisons.

    Comparisons are corrected together within each task, over all its settings, those included of which no cell has run.
    Methods are compared over the sweep's `teachers`. Where the grid has their seeds, and enough for an interval, there
    is an estimate over teachers.

    Args:
        sweep: the sweep.
        finished: its finished cells.

    Returns:
        Groups, in the order of the cells.

    Raises:
        ValueError: runs of other data, another teacher, another start or other versions than those beside them.
    """
    groups = group_runs(finished)
    over_teachers = len(sweep.teachers) > 1 or sweep.number_of_teachers >= FEWEST_FOR_INTERVAL
    if over_teachers:
        _put_side_by_side(groups, are_seeds_shared=not sweep.teachers)
    for place in [*groups, *list_places(groups)]:
        place.asked = sweep.share
    for task in dict.fromkeys(group.task for group in groups):
        family = [place for place in list_places(groups) if place.task == task]
        expected = sweep.number_of_settings // (sweep.number_of_teachers if over_teachers else 1)
        _compare_family(sweep, family, places_without_runs=max(0, expected - len(family)))
    return groups


def group_runs(finished: Sequence[CellRun]) -> list[Group]:
    """Group the runs of a sweep, and refuse those that cannot be compared.

    Args:
        finished: finished cells.

    Returns:
        Groups without comparisons, in the order of the cells.

    Raises:
        ValueError: runs of other data, another teacher, another start or other versions than those beside them.
    """
    groups: dict[str, Group] = {}
    for entry in finished:
        cell = entry.cell
        group = groups.setdefault(cell.group, Group(cell.group, cell.task, cell.setting))
        for sentence in (describe_groups(entry.run.record), cell.note):
            if sentence not in group.note:
                group.note = f"{group.note} {sentence}".strip()
        group.methods.setdefault(cell.method, Method(cell.method)).runs[cell.seed] = entry.run
    check_alike(finished)
    return list(groups.values())


def _put_side_by_side(groups: Sequence[Group], *, are_seeds_shared: bool) -> None:
    """Groups that differ in the seed of their teacher only are compared together."""
    places: dict[str, OverTeachers] = {}
    for group in groups:
        others = {key: value for key, value in group.setting.items() if key != TEACHER_SEED}
        name = name_group(group.task, others)
        group.beside = places.setdefault(
            name, OverTeachers(name, group.task, others, are_seeds_shared=are_seeds_shared)
        )
        for other in group.beside.groups:
            if identify_teacher(other.first_record) == identify_teacher(group.first_record):
                raise ValueError(
                    f"{other.name} and {group.name} have the same teacher, which would count twice; leave one out."
                )
        group.beside.groups.append(group)


def _compare_family(sweep: Sweep, family: Sequence[Compared], *, places_without_runs: int) -> None:
    """Test the declared comparisons in the places of one task, with one correction over all of them."""
    for place in family:
        place.untested = [pair for pair in sweep.compare if not place.list_units(*pair)]
        tested = [pair for pair in sweep.compare if pair not in place.untested]
        place.comparisons = [_compare(sweep, place, *pair) for pair in tested]
    untested = sum(len(place.untested) for place in family) + len(sweep.compare) * places_without_runs
    together = [comparison for place in family for comparison in place.comparisons]
    remaining = iter(correct_comparisons(together, untested=untested))
    for place in family:
        place.comparisons = [next(remaining) for _ in place.comparisons]


def _compare(sweep: Sweep, place: Compared, method: str, against: str) -> Comparison:
    """One declared comparison in one place, over the units that both methods have; not yet corrected."""
    units = place.list_units(method, against)
    sizes = [len(unit) for unit in units]
    (group, _), *_ = units[0]
    return compare_pair(
        method,
        against,
        [place.read_unit(unit, method) for unit in units],
        [place.read_unit(unit, against) for unit in units],
        metric=place.metric,
        rarest=group.rarest_class,
        are_seeds_shared=place.are_seeds_shared,
        margin=sweep.margin,
        over=place.over,
        runs=(min(sizes), max(sizes)),
        declared=sweep.number_of_teachers if place.over == "teachers" else len(sweep.seeds),
    )
