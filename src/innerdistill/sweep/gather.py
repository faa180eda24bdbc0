"""Cells of a sweep -> groups of runs, all of the same data, teacher and versions, with their declared comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.recipe import load_recipe
from innerdistill.report.run_folder import PREDICTIONS, measured_by, read_predictions, read_run
from innerdistill.sweep.groups import Compared, Group, OverTeachers, places
from innerdistill.sweep.methods import SPLIT, TEACHER_SEED, Cell, Method, named
from innerdistill.sweep.statistics import FEWEST_FOR_INTERVAL, Comparison, compare_pair, corrected, two_level_interval

OTHER_START = "(another model under student.source, or another kind of processor)"


def gather(
    cells: Sequence[Cell],
    *,
    compare: Sequence[tuple[str, str]] = (),
    margin: float | None = None,
    settings: int = 1,
    seeds: int = 0,
    teachers: int = 1,
) -> list[Group]:
    """Read the runs of a sweep.

    Args:
        cells: that have run.
        compare: declared comparisons, corrected together within each task, over all its settings.
        margin: for equivalence.
        settings: of every task that were declared, those included of which no cell has run.
        seeds: that were declared; 0 if that is not known.
        teachers: that were declared as seeds of the teacher; if they are enough for an interval, they are what methods
            are compared over.

    Returns:
        Groups, in the order of the cells.

    Raises:
        ValueError: cells of other data, another teacher, another start or other versions than those beside them.
    """
    groups: dict[str, Group] = {}
    for cell in cells:
        group = groups.setdefault(cell.group, Group(cell.group, cell.task, cell.setting))
        if cell.note not in group.note:
            group.note = f"{group.note} {cell.note}".strip()
        method = group.methods.setdefault(cell.method, Method(cell.method))
        method.runs[cell.seed], method.folders[cell.seed] = read_run(cell.folder), cell.folder
    found = list(groups.values())
    _check_alike(found)
    if teachers >= FEWEST_FOR_INTERVAL:
        _put_beside(found)
    else:  # so few say nothing of others: every one is compared within
        teachers = 1
    for task in dict.fromkeys(group.task for group in found):
        family = [place for place in places(found) if place.task == task]
        for place in family:
            place.untested = [pair for pair in compare if not place.units(*pair)]
            tested = [pair for pair in compare if pair not in place.untested]
            declared = teachers if place.over == "teachers" else seeds
            place.comparisons = [_compare(place, *pair, margin=margin, declared=declared) for pair in tested]
        not_there = max(0, settings // teachers - len(family))
        untested = sum(len(place.untested) for place in family) + len(compare) * not_there
        made = iter(corrected([one for place in family for one in place.comparisons], untested=untested))
        for place in family:
            place.comparisons = [next(made) for _ in place.comparisons]
    return found


def _put_beside(groups: Sequence[Group]) -> None:
    """Groups that differ in the seed of their teacher only are compared together."""
    known: dict[str, OverTeachers] = {}
    for group in groups:
        others = {key: value for key, value in group.setting.items() if key != TEACHER_SEED}
        name = named(group.task, others)
        group.beside = known.setdefault(name, OverTeachers(name, group.task, others))
        same = [other for other in group.beside.groups if _teacher(other) == _teacher(group)]
        if same:
            raise ValueError(f"{same[0].name} and {group.name} have the same teacher, which would count as two.")
        group.beside.groups.append(group)


def _teacher(group: Group) -> str:
    return str(group.any_run["teacher"]["fingerprint"])


def _check_alike(groups: Sequence[Group]) -> None:
    """Numbers of different data, teachers, starts or versions are not put into one table or figure."""
    known: dict[tuple[str, str], tuple[Path, Any]] = {}
    for group in groups:
        for folder, run in group.runs():
            recipe = load_recipe(run["recipe"])
            asked = repr(select_shared_keys(recipe))  # in every table, and of settings that share them
            begun = repr((asked, recipe.student.model_dump(), recipe.seed))
            facts = {
                ("data", asked): run["data"]["fingerprint"],
                ("teacher", asked): (run["teacher"] or {}).get("fingerprint"),
                (f"weights at the start {OTHER_START}", begun): run["student"].get("start"),  # older runs do not say
                ("versions", ""): run["versions"],
            }
            for key, value in facts.items():
                if value is None:
                    continue
                first, wanted = known.setdefault(key, (folder, value))
                if value != wanted:
                    raise ValueError(
                        f"{folder} and {first} were made with different {key[0]}; delete the one that is out of date "
                        "and run the sweep again."
                    )


def _compare(place: Compared, name: str, against: str, *, margin: float | None, declared: int) -> Comparison:
    """One declared comparison in one place, over the units that both methods have; not yet corrected."""
    units, metric = place.units(name, against), place.metric

    def score(unit: Sequence[tuple[Group, int]], method: str) -> float:
        runs = [group.methods[method].runs[seed] for group, seed in unit]
        return float(np.mean([run["scores"][SPLIT]["student"][metric] for run in runs]))

    def read(unit: Sequence[tuple[Group, int]], method: str) -> list[dict[str, np.ndarray]]:
        found = []
        for folder in (group.methods[method].folders[seed] for group, seed in unit):
            try:
                found.append(read_predictions(folder / PREDICTIONS, SPLIT))
            except ValueError as error:
                raise ValueError(f"{error} Delete {folder} and run the sweep again.") from None
        return found

    interval = None
    if len(units) >= FEWEST_FOR_INTERVAL:
        columns = [[read(unit, method) for unit in units] for method in (name, against)]
        logits = [[np.stack([run["student"] for run in unit]) for unit in of_method] for of_method in columns]
        (group, _), *_ = units[0]
        interval = two_level_interval(columns[0][0][0]["label"], *logits, **measured_by(group.any_run))
    runs = [len(unit) for unit in units]
    return compare_pair(
        name,
        against,
        *([score(unit, method) for unit in units] for method in (name, against)),
        interval=interval,
        margin=margin,
        over=place.over,
        runs=(min(runs), max(runs)),
        declared=declared,
    )
