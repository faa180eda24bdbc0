"""sweep: methods x tasks x settings x seeds, every cell one run of its own, then a table with statistics.

sweep.yaml -> cells -> `innerdistill distill`, each in a process of its own -> results/sweep_report
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from innerdistill.config import Recipe, Section, load_recipe, read_content, sentence
from innerdistill.files import whole_file
from innerdistill.results.opening import different_keys, is_finished
from innerdistill.results.run_folder import read_run
from innerdistill.results.sweep_report import write_sweep_report
from innerdistill.results.sweep_results import Cell, Group

SWEEP_FILE = "sweep.yaml"  # in the folder of a sweep: what was asked for

logger = logging.getLogger(__name__)


class Sweep(Section):
    """A grid of runs. Every key of a recipe can be swept."""

    recipe: dict[str, Any] = Field(description="what all runs have in common: keys of a recipe")
    methods: dict[str, dict[str, Any]] = Field(min_length=1, description="name: changes, as dotted keys of a recipe")
    tasks: dict[str, dict[str, Any]] = Field({"": {}}, min_length=1, description="the same for data sets")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="dotted key of a recipe: list of values")
    seeds: list[int] = Field(min_length=1, description="every method runs with each of them")
    compare: list[tuple[str, str]] = Field(
        default_factory=list, description="declared comparisons: pairs of a method and what it is compared with"
    )
    margin: float | None = Field(None, gt=0, description="of the score; differences below it do not matter")
    output: str = Field("runs/sweep", description="folder of the sweep; every cell has a folder in it")


@dataclass(frozen=True)
class Planned:
    """A cell before it has run.

    Attributes:
        cell: its place in the grid and its folder.
        recipe: of the run.
    """

    cell: Cell
    recipe: Recipe

    def is_finished(self) -> bool:
        """Whether its folder holds a complete run of exactly this recipe."""
        try:
            found = read_run(self.cell.folder)["recipe"]
        except ValueError:
            return False
        return is_finished(self.cell.folder, self.recipe) and not different_keys(found, self.recipe)


def load_sweep(path: str | Path, *, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep and apply overrides.

    Args:
        path: YAML file.
        overrides: strings `dotted.key=value`, for example `recipe.data.path=/data/CoLA` or `seeds=[1, 2]`.

    Returns:
        The checked sweep.

    Raises:
        ValueError: unreadable file, unknown key, an empty grid, a comparison of a method that is not there.
    """
    try:
        sweep = Sweep.model_validate(read_content(path, overrides=overrides))
    except ValidationError as error:
        raise ValueError(f"{path}: {sentence(error, Sweep)}") from None
    for method in itertools.chain.from_iterable(sweep.compare):
        if method not in sweep.methods:
            raise ValueError(f"{path}: compare: no method {method!r}; the methods are {', '.join(sweep.methods)}.")
    for key, values in sweep.grid.items():
        if not values:
            raise ValueError(f"{path}: grid.{key}: it has no values.")
    return sweep


def plan_cells(sweep: Sweep) -> list[Planned]:
    """All cells of a sweep: seed by seed, so that every method has as many when it is stopped.

    Args:
        sweep: the sweep.

    Returns:
        One entry per cell.

    Raises:
        ValueError: a cell's recipe does not pass, or two cells would have the same folder.
    """
    planned: dict[Path, Planned] = {}
    settings = [dict(zip(sweep.grid, values, strict=True)) for values in itertools.product(*sweep.grid.values())]
    for task, setting, seed, method in itertools.product(sweep.tasks, settings, sweep.seeds, sweep.methods):
        changes = {**sweep.tasks[task], **sweep.methods[method], **setting, "seed": seed, "overwrite": True}
        parts = [task, *(f"{key}={value}" for key, value in setting.items()), method, f"seed-{seed}"]
        folder = Path(sweep.output, *(_file_name(part) for part in parts if part))
        if folder in planned:
            raise ValueError(f"two cells of the sweep would be in {folder}: give methods, tasks and seeds other names.")
        changes["output"] = str(folder)
        overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in changes.items()]
        try:
            recipe = load_recipe(sweep.recipe, overrides=overrides)
        except ValueError as error:
            raise ValueError(f"cell {'/'.join(filter(None, parts))}: {error}") from None
        planned[folder] = Planned(Cell(task, method, setting, seed, folder), recipe)
    return list(planned.values())


def run_sweep(sweep: Sweep, *, workers: int = 1, console: Console | None = None) -> tuple[list[Group], dict[Path, str]]:
    """Run the cells that are not finished, then write the report over all of them.

    Args:
        sweep: the sweep.
        workers: cells at a time; they share the cores.
        console: where the progress over the grid is shown.

    Returns:
        What was found, by task and setting, and the cause in a sentence for every cell that failed.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    planned = plan_cells(sweep)
    missing = [cell for cell in planned if not cell.is_finished()]
    Path(sweep.output).mkdir(parents=True, exist_ok=True)
    with whole_file(Path(sweep.output, SWEEP_FILE)) as path:
        path.write_text(yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    failed: dict[Path, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress, ThreadPoolExecutor(workers) as pool:
        bar = progress.add_task("cells", total=len(planned), completed=len(planned) - len(missing))
        running: set[subprocess.Popen[bytes]] = set()
        waiting = {pool.submit(_run, cell, workers, running): cell for cell in missing}
        try:
            for done in as_completed(waiting):
                folder = waiting[done].cell.folder
                if (cause := done.result()) is not None:
                    failed[folder] = cause
                    logger.warning("%s: %s", folder, cause)
                progress.update(bar, advance=1, description=str(folder.relative_to(sweep.output)))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)  # interrupted: what has not begun does not begin
            if getattr(error, "signal", None) == signal.SIGTERM:  # Ctrl-C reaches them by itself
                for process in list(running):
                    process.terminate()  # after a checkpoint
            raise
    return write_report_of(sweep, failed=failed), failed


def write_report_of(sweep: Sweep, *, failed: Mapping[Path, str] | None = None) -> list[Group]:
    """Write the report over the cells that are finished.

    Args:
        sweep: the sweep.
        failed: cause by folder of the cells that failed just now.

    Returns:
        What was found, by task and setting.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    planned = plan_cells(sweep)
    finished = [entry.cell for entry in planned if entry.is_finished()]
    return write_sweep_report(
        Path(sweep.output),
        finished,
        compare=sweep.compare,
        margin=sweep.margin,
        failed=failed,
        missing=len(planned) - len(finished) - len(failed or {}),
        content=sweep.model_dump(mode="json"),
    )


def _run(planned: Planned, workers: int, running: set[subprocess.Popen[bytes]]) -> str | None:
    """One cell in a process of its own: what it leaves in memory, or how it dies, is not the sweep's business."""
    folder = planned.cell.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = folder.with_suffix(".yaml")
    with whole_file(recipe) as path:
        path.write_text(yaml.safe_dump(planned.recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    command = [sys.executable, "-m", "innerdistill.cell", str(recipe)]
    with (
        folder.with_suffix(".log").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment) as process,  # noqa: S603
    ):
        running.add(process)
        code = process.wait()  # standard input stays open until then
        running.discard(process)
    if code == 0:
        return None
    said = folder.with_suffix(".log").read_text(encoding="utf-8").splitlines()
    cause = next((line for line in reversed(said) if line.startswith("innerdistill: ")), "")
    ended = f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"exit code {code}"
    return cause.removeprefix("innerdistill: ") or f"{ended}; see {folder.with_suffix('.log')}"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.") or "-"
