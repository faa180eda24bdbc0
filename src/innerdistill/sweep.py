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
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from innerdistill.results.opening import different_keys, is_finished, locked
from innerdistill.results.run_folder import read_run
from innerdistill.results.sweep_report import write_sweep_report
from innerdistill.results.sweep_results import Cell, Group, gather

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
        parts = [task, *(f"{key}={value}" for key, value in setting.items()), method, f"seed-{seed}"]
        folder = Path(sweep.output, *(_file_name(part) for part in parts if part))
        if folder in planned:
            raise ValueError(f"two cells of the sweep would be in {folder}: give methods, tasks and seeds other names.")
        own = {"seed": seed, "overwrite": True, "output": str(folder)}
        changes = [*sweep.tasks[task].items(), *sweep.methods[method].items(), *setting.items(), *own.items()]
        overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in changes]
        try:
            recipe = load_recipe(sweep.recipe, overrides=overrides)
        except ValueError as error:
            raise ValueError(f"cell {'/'.join(filter(None, parts))}: {error}") from None
        planned[folder] = Planned(Cell(task, method, setting, seed, folder), recipe)
    for _, group in itertools.groupby(planned.values(), key=lambda entry: entry.cell.group):
        _check_shared(list(group))
    return list(planned.values())


def _check_shared(planned: Sequence[Planned]) -> None:
    """Methods that are compared have the same data and teacher; said before anything runs."""
    first = planned[0]
    for other in planned[1:]:
        ours, theirs = (dict(_shared(entry.recipe)) for entry in (first, other))
        if keys := [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]:
            hint = keys[0].startswith("trainer.") and f"; to change the students' alone, set teacher.{keys[0]} for all"
            raise ValueError(
                f"methods {first.cell.method!r} and {other.cell.method!r} have other values of {keys[0]}, so not the "
                f"same data and teacher, and cannot be compared{hint or '; make it one of tasks or grid'}."
            )


def _shared(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """What data and teacher of a run depend on, by key."""
    yield from ((f"data.{key}", value) for key, value in recipe.data.model_dump().items())
    yield from ((f"teacher.{key}", getattr(recipe.teacher, key)) for key in ("path", "base"))
    if recipe.teacher.base is not None:  # fine-tuned with the students' settings where it has none of its own
        yield from ((f"teacher.{key}", getattr(recipe.teacher, key)) for key in ("epochs", "seed"))
        yield from ((key, getattr(recipe, key)) for key in ("group_by_length", "pad_to_max_length", "checkpoint"))
        yield from ((f"trainer.{key}", value) for key, value in {**recipe.trainer, **recipe.teacher.trainer}.items())


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
    for key in (key for key in sweep.grid if not key.startswith(("data.", "teacher."))):
        if len({repr(dict(_shared(entry.recipe)).get(key)) for entry in planned}) > 1:
            logger.warning("grid.%s is the teacher's too: for every value one is fine-tuned", key)
    with locked(Path(sweep.output)):
        with whole_file(Path(sweep.output, SWEEP_FILE)) as path:
            path.write_text(yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        failed = _run_cells(planned, sweep, workers=workers, console=console)
        return write_report_of(sweep, failed=failed), failed


def _run_cells(planned: Sequence[Planned], sweep: Sweep, *, workers: int, console: Console | None) -> dict[Path, str]:
    """Run what is missing; the cause by folder for cells that failed."""
    there = {entry.cell.folder for entry in planned if entry.is_finished()}
    missing = [entry for entry in planned if entry.cell.folder not in there]
    finished = [entry.cell for entry in planned if entry.cell.folder in there]
    gather(finished)  # refuses what cannot be compared, here and after every run: not when hours have passed
    failed: dict[Path, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress, ThreadPoolExecutor(workers) as pool:
        bar = progress.add_task("cells", total=len(planned), completed=len(planned) - len(missing))
        running = Running()
        waiting = {pool.submit(_run, entry, workers, running): entry for entry in missing}
        try:
            for done in as_completed(waiting):
                cell = waiting[done].cell
                if (cause := done.result()) is None:
                    finished.append(cell)
                    gather([other for other in finished if other.group == cell.group])
                else:
                    failed[cell.folder] = cause
                    logger.warning("%s: %s", cell.folder, cause)
                progress.update(bar, advance=1, description=str(cell.folder.relative_to(sweep.output)))
        except BaseException:  # Ctrl-C, SIGTERM, a run that cannot be compared: what runs ends after a checkpoint
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
            raise
    return failed


class Running:
    """The cells that run, so that all of them can be stopped; none begins afterwards."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes] | None:
        """Start a cell, out of reach of the terminal's Ctrl-C, which is for the sweep to pass on.

        Args:
            command: words.
            **options: of Popen.

        Returns:
            The process; None if the sweep has been stopped.
        """
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(command, start_new_session=True, **options)  # noqa: S603
            self._processes.add(process)
            return process

    def stop(self) -> None:
        """Ask all cells to end after a checkpoint."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.terminate()  # does nothing to one that has ended


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


def _run(planned: Planned, workers: int, running: Running) -> str | None:
    """One cell in a process of its own: what it leaves in memory, or how it dies, is not the sweep's business."""
    folder = planned.cell.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = folder.with_suffix(".yaml")
    with whole_file(recipe) as path:
        path.write_text(yaml.safe_dump(planned.recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    command = [sys.executable, "-m", "innerdistill.cell", str(recipe)]
    with folder.with_suffix(".log").open("w", encoding="utf-8") as log:
        process = running.start(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
        if process is None:
            return "the sweep was stopped"
        with process:
            code = process.wait()  # standard input stays open until then
    if code == 0:
        return None
    said = folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()
    cause = next((line for line in reversed(said) if line.startswith("innerdistill: ")), "")
    ended = f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"exit code {code}"
    return cause.removeprefix("innerdistill: ") or f"{ended}; see {folder.with_suffix('.log')}"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.") or "-"
