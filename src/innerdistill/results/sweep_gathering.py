"""Cells of a sweep -> groups of runs, all of the same data, teacher and versions, with their declared comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from innerdistill.config import load_recipe, shared_keys
from innerdistill.results.run_folder import measured_by, read_predictions, read_run
from innerdistill.results.statistics import FEWEST_FOR_INTERVAL, Comparison, compare_pair, corrected, two_level_interval
from innerdistill.results.sweep_results import SPLIT, Cell, Group, Method

PREDICTIONS = "predictions.parquet"
OTHER_START = "(another model under student.source, or another kind of processor)"


def gather(
    cells: Sequence[Cell],
    *,
    compare: Sequence[tuple[str, str]] = (),
    margin: float | None = None,
    settings: int = 1,
    seeds: int = 0,
) -> list[Group]:
    """Read the runs of a sweep.

    Args:
        cells: that have run.
        compare: declared comparisons, corrected together within each task, over all its settings.
        margin: for equivalence.
        settings: of every task that were declared, those included of which no cell has run.
        seeds: that were declared; 0 if that is not known.

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
    _check_alike(list(groups.values()))
    for group in groups.values():
        group.untested = [pair for pair in compare if not group.shared_seeds(*pair)]
        group.comparisons = [_compare(group, *pair, margin, seeds) for pair in compare if pair not in group.untested]
    for task in dict.fromkeys(group.task for group in groups.values()):
        family = [group for group in groups.values() if group.task == task]
        untested = sum(len(group.untested) for group in family) + len(compare) * max(0, settings - len(family))
        found = iter(corrected([one for group in family for one in group.comparisons], untested=untested))
        for group in family:
            group.comparisons = [next(found) for _ in group.comparisons]
    return list(groups.values())


def _check_alike(groups: Sequence[Group]) -> None:
    """Numbers of different data, teachers, starts or versions are not put into one table or figure."""
    known: dict[tuple[str, str], tuple[Path, Any]] = {}
    for group in groups:
        for folder, run in group.runs():
            recipe = load_recipe(run["recipe"])
            asked = repr(shared_keys(recipe))  # in every table, and of settings that share them
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


def _compare(group: Group, name: str, against: str, margin: float | None, declared: int) -> Comparison:
    """One declared comparison within one task and setting, over the seeds that both methods have; not yet corrected."""
    methods, seeds = (group.methods[name], group.methods[against]), group.shared_seeds(name, against)
    metric = group.metric
    scores = [[method.runs[seed]["scores"][SPLIT]["student"][metric] for seed in seeds] for method in methods]
    interval = None
    if len(seeds) >= FEWEST_FOR_INTERVAL:
        read = [[read_predictions(method.folders[seed] / PREDICTIONS, SPLIT) for seed in seeds] for method in methods]
        logits = [np.stack([columns["student"] for columns in of_seeds]) for of_seeds in read]
        interval = two_level_interval(read[0][0]["label"], *logits, **measured_by(group.any_run))
    return compare_pair(name, against, *scores, interval=interval, margin=margin, declared=declared)
