"""What a sweep will do and how long it takes: the sum over its cells. What cells share is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innerdistill.run.assemble import assemble
from innerdistill.run.plan import plan_run
from innerdistill.support.messages import name_key
from innerdistill.sweep.declaration import TEACHER_SEED, Sweep
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.store import RunStore
from innerdistill.sweep.tuning import plan_sweep_cells


@dataclass
class PlannedRuns:
    """The runs of a sweep that differ in their seed only, or their teacher's.

    Attributes:
        task: name of the data set; empty if there is only one.
        setting: values of the swept keys, without the teacher's seed.
        method: name of the method, with `tuning` for tuning runs.
        runs: number of runs.
        finished: how many of them are finished.
        seconds: expected time of one run in seconds, without what runs share; None if all are finished.
    """

    task: str
    setting: Mapping[str, Any]
    method: str
    runs: int = 0
    finished: int = 0
    seconds: float | None = None

    @property
    def seconds_left(self) -> float:
        """Expected time of the runs that are not finished, in seconds."""
        return (self.runs - self.finished) * (self.seconds or 0.0)


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep and their times.

    Attributes:
        rows: the runs, by task, setting and method.
        shared: expected seconds of what runs share, such as a fine-tuned teacher, by its folder in the cache and its
            teacher.
    """

    rows: list[PlannedRuns]
    shared: dict[str, float]

    @property
    def seconds(self) -> float:
        """Expected time of the sweep in seconds, one run at a time."""
        return sum(row.seconds_left for row in self.rows) + sum(self.shared.values())


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """Plan the cells of a sweep that are not finished, its tuning runs too.

    Of runs that differ only in their seed, their teacher's seed or the tuned value, the first one is planned.

    Args:
        sweep: the sweep.

    Returns:
        Runs and times.

    Raises:
        ValueError: a cell that cannot run.
    """
    store = RunStore(sweep)
    planned = plan_sweep_cells(sweep, store)
    finished = {entry.cell.folder for entry in planned.tuned}
    if planned.is_tuned:
        finished |= {entry.cell.folder for entry in store.select_finished(planned.cells)}
    rows: dict[str, PlannedRuns] = {}
    shared: dict[str, float] = {}
    shared_by_row: dict[str, dict[str, float]] = {}
    for cell in [*planned.tuning, *planned.cells]:
        setting = {key: value for key, value in cell.setting.items() if key not in (TEACHER_SEED, *sweep.tune.grid)}
        method = f"{cell.method}, tuning" if cell.is_tuning else cell.method
        name = repr((cell.task, setting, method))
        row = rows.setdefault(name, PlannedRuns(cell.task, setting, method))
        row.runs += 1
        if cell.folder in finished:
            row.finished += 1
            continue
        if row.seconds is None:
            row.seconds, shared_by_row[name] = _plan_cell(cell, sweep)
        for folder, seconds in shared_by_row[name].items():
            of_teacher = f"{folder}, {TEACHER_SEED}={cell.recipe.teacher.seed}"
            shared[of_teacher] = max(seconds, shared.get(of_teacher, 0.0))
    return SweepPlan(list(rows.values()), shared)


def _plan_cell(cell: Cell, sweep: Sweep) -> tuple[float, dict[str, float]]:
    """Seconds of a run without what it shares, and seconds of that by its folder in the cache."""
    with name_key(f"cell {cell.folder.relative_to(sweep.folder)}"):
        parts = plan_run(assemble(cell.recipe))
    shared: dict[str, float] = {}
    for part in parts:
        if part.shared is not None:
            shared[part.shared] = max(part.seconds, shared.get(part.shared, 0.0))
    return sum(part.seconds for part in parts if part.shared is None), shared
