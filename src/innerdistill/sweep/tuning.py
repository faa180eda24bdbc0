"""Tuning: the values of some keys that suit each method best, chosen on the selection split by runs nobody reports.

tuning cells -> their runs, in a block per combination of values -> a Curve for each place and method -> cells with the
chosen values

The choice is computed from the records of the runs whenever it is needed, so it is the same on every machine that has
these blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.stored_run import StoredRun
from innerdistill.sweep.declaration import TEACHER_SEED, Sweep, Tuning
from innerdistill.sweep.grid import Cell, name_place, name_teacher, plan_cells, plan_tuning_cells
from innerdistill.sweep.methods import SELECTION
from innerdistill.sweep.store import CellRun, RunStore
from innerdistill.training.schedules import SCHEDULES

FEWEST_SEEDS = 3  # fewer give an interval that is wider than any curve
OF_INTERNAL_STAGES = ("schedule.threshold", "schedule.epochs_per_layer", "schedule.classification_always")


@dataclass(frozen=True)
class Curve:
    """Scores of one method over the tried combinations of values, in one place.

    Attributes:
        place: task and setting; empty if there is only one.
        method: name of the method.
        metric: name of the primary metric.
        combinations: values by key, in the order of the grid.
        runs: finished runs by combination, one per tuning seed.
    """

    place: str
    method: str
    metric: str
    combinations: Sequence[Mapping[str, Any]]
    runs: Sequence[Sequence[StoredRun]]

    @property
    def scores(self) -> list[list[float]]:
        """Primary score on the selection split, by combination and seed."""
        return [[run.record.scores[SELECTION].student.primary for run in runs] for runs in self.runs]

    @property
    def means(self) -> list[float]:
        """Mean over the tuning seeds, by combination."""
        return [math.fsum(scores) / len(scores) for scores in self.scores]

    @property
    def half_widths(self) -> list[float] | None:
        """Half of the 95 % t interval over the tuning seeds, by combination; None for too few seeds."""
        seeds = len(self.scores[0])
        if seeds < FEWEST_SEEDS:
            return None
        quantile = float(stats.t.ppf(0.975, seeds - 1))
        return [quantile * float(stats.sem(scores)) for scores in self.scores]

    @property
    def best(self) -> int:
        """Position of the chosen combination: the highest mean, and of several the one that is listed first."""
        return self.means.index(max(self.means))

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The chosen values by key."""
        return self.combinations[self.best]

    @property
    def keys_at_end(self) -> list[str]:
        """Keys whose chosen value is the lowest or the highest of numbers, so that one beyond may be better."""
        keys = []
        for key, value in self.chosen.items():
            tried = [combination[key] for combination in self.combinations]
            if all(map(_is_number, tried)) and value in (min(tried), max(tried)):
                keys.append(key)
        return keys


@dataclass(frozen=True)
class PlannedSweep:
    """The cells of a sweep with what its tuning has found.

    Attributes:
        tuning: tuning cells; none without tuning.
        tuned: those that are finished.
        curves: one per place and method; none until all tuning cells are finished.
        cells: the other cells; until the tuning is finished, with the first values of the tuned keys.
    """

    tuning: list[Cell]
    tuned: list[CellRun]
    curves: list[Curve]
    cells: list[Cell]

    @property
    def is_tuned(self) -> bool:
        """Whether nothing is left to tune, so that the cells have their final recipes."""
        return len(self.tuned) == len(self.tuning)


def plan_sweep_cells(sweep: Sweep, store: RunStore | None = None) -> PlannedSweep:
    """List the cells of a sweep, with the values that its tuning runs have chosen.

    Args:
        sweep: the sweep.
        store: its finished runs; None looks for them in its folder.

    Returns:
        Tuning cells and others.

    Raises:
        ValueError: as `plan_cells`; a tuned key that a method does not have or that would change the teacher; a stored
            run that is damaged.
    """
    tuning = plan_tuning_cells(sweep)
    if not tuning:
        return PlannedSweep([], [], [], plan_cells(sweep))
    first = plan_cells(sweep)
    _check_methods(sweep)
    _check_teacher(sweep, tuning, first)
    tuned = (store or RunStore(sweep)).select_finished(tuning)
    if len(tuned) < len(tuning):
        return PlannedSweep(tuning, tuned, [], first)
    curves = _draw_up_curves(sweep, tuned)
    chosen = {(curve.place, curve.method): curve.chosen for curve in curves}
    return PlannedSweep(tuning, tuned, curves, plan_cells(sweep, chosen))


def _draw_up_curves(sweep: Sweep, tuned: Sequence[CellRun]) -> list[Curve]:
    runs: dict[tuple[str, str], list[list[StoredRun]]] = {}
    combinations = sweep.tune.combinations
    for entry in tuned:
        tried, setting = _split_setting(sweep, entry.cell)
        place = name_place(entry.cell.task, setting)
        by_combination = runs.setdefault((place, entry.cell.method), [[] for _ in combinations])
        by_combination[combinations.index(tried)].append(entry.run)
    curves = []
    for (place, method), by_combination in runs.items():
        metric = by_combination[0][0].record.get_metric(SELECTION)
        curves.append(Curve(place, method, metric, combinations, by_combination))
    return curves


def _split_setting(sweep: Sweep, cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tried values of a tuning cell, and the rest of its setting."""
    tried = {key: cell.setting[key] for key in sweep.tune.grid}
    return tried, {key: value for key, value in cell.setting.items() if key not in tried}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_methods(sweep: Sweep) -> None:
    """Every method has the tuned keys, or the comparison would favour those that have."""
    for cell, key in itertools.product(plan_cells(sweep.model_copy(update={"tune": Tuning()})), sweep.tune.grid):
        if (lacks := _find_lack(cell.recipe, key)) is not None:
            raise ValueError(f"tune.grid.{key}: the method {cell.method!r} has no {lacks}; tune a key that all have.")


def _find_lack(recipe: Recipe, key: str) -> str | None:
    """What a recipe lacks for a key to have an effect; None if it has one."""
    schedule, section = SCHEDULES[recipe.schedule.name], key.partition(".")[0]
    if not schedule.has_internal_stages and (section == "internal_trainer" or key in OF_INTERNAL_STAGES):
        return "internal stages"
    if not schedule.compares_layers and (section == "layer_map" or key == "teacher.internal"):
        return "internal losses"
    if section == "temperature" and (not schedule.reads_teacher or not recipe.losses["soft_labels"]):
        return "soft labels"
    if section == "losses" and not _has_loss(recipe, key.partition(".")[2]):
        return f"loss {key.partition('.')[2]!r}" if "." in key else "losses of its own"
    return None


def _has_loss(recipe: Recipe, name: str) -> bool:
    from innerdistill.losses.registry import LOSSES  # noqa: PLC0415 - takes seconds, and few sweeps tune a weight

    schedule = SCHEDULES[recipe.schedule.name]
    if not recipe.losses.get(name) or name not in LOSSES:
        return False
    return schedule.compares_layers if LOSSES[name].is_internal else schedule.reads_teacher


def _check_teacher(sweep: Sweep, tuning: Sequence[Cell], cells: Sequence[Cell]) -> None:
    """The tuned keys leave data and teacher as they are, and no reported teacher is tuned on."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, key in itertools.product(tuning, sweep.tune.grid):
        shared = select_shared_keys(cell.recipe)
        place = name_place(cell.task, {name: value for name, value in cell.setting.items() if name != key})
        if first.setdefault((key, place), shared) != shared:
            advice = "tune a key of the students alone"
            if key.startswith("trainer."):
                advice = f"set teacher.{key} under `recipe`, which the teacher then has instead"
            raise ValueError(f"tune.grid.{key}: the teacher's fine-tuning or the data would change with it; {advice}.")
    if any(cell.recipe.teacher.base is None for cell in tuning):
        if sweep.tune.teacher is not None:
            raise ValueError(
                f"tune.teacher: {name_teacher(tuning)} is one teacher, whatever its seed; leave tune.teacher out."
            )
        return
    reported = {cell.recipe.teacher.seed for cell in cells}
    seeds = {cell.recipe.teacher.seed for cell in tuning}
    if TEACHER_SEED in sweep.values_by_key and seeds & reported:
        raise ValueError(
            f"tune.teacher: {min(seeds & reported)} is the seed of a teacher that is reported; name another one."
        )


def list_tuning_facts(sweep: Sweep) -> Mapping[str, Any]:
    """List what tuning runs have in place of the other runs' values.

    Args:
        sweep: a sweep with tuning.

    Returns:
        Values by dotted key.
    """
    facts = dict(sweep.tune.recipe)
    if sweep.tune.teacher is not None:
        facts[TEACHER_SEED] = sweep.tune.teacher
    return facts
