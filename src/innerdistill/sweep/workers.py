"""The cells of a sweep, each `innerdistill distill` in a process of its own, several at a time."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from innerdistill.recipe.yaml import write_yaml
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import USELESS_TEACHER
from innerdistill.support.progress import is_notebook, open_bar
from innerdistill.sweep.grid import Cell

VISIBLE = "CUDA_VISIBLE_DEVICES"

logger = logging.getLogger(__name__)


def run_cells(
    missing: Sequence[Cell],
    failed: dict[Path, str],
    *,
    workers: int,
    total: int,
    check: Callable[[Cell], None],
    console: Console | None = None,
) -> None:
    """Run cells, with a bar over the whole grid and the time that is left.

    Args:
        missing: cells to run.
        failed: causes by folder; gets one in a sentence for every cell that fails, and loses that of one that does not.
        workers: number of cells at a time; they share the cores, and each has a GPU of its own if there are enough.
        total: number of cells of the grid.
        check: function that is called with every cell that has run; what it raises stops the others.
        console: terminal or log that shows the progress.

    Raises:
        ValueError: a cell has a useless teacher; the others are stopped.
    """
    kind = NotebookProgress if is_notebook() else CellProgress
    with kind(total, total - len(missing), console=console) as progress, ThreadPoolExecutor(workers) as pool:
        running, begun = Running(assign_devices(workers)), time.monotonic()
        waiting = {pool.submit(_run_cell, cell, workers, running, progress): cell for cell in missing}
        try:
            for count, done in enumerate(as_completed(waiting), start=1):
                cell = waiting[done]
                if (cause := done.result()) is None:
                    failed.pop(cell.folder, None)
                    check(cell)
                else:
                    failed[cell.folder] = cause
                    if cause.startswith(USELESS_TEACHER):  # the other cells that have this teacher would stop too
                        raise ValueError(f"{cell.folder}: {cause} In a sweep, this key belongs under `recipe:`.")
                    logger.warning("%s: %s", cell.folder, cause)
                progress.count_cell(cell, seconds_left=(time.monotonic() - begun) / count * (len(missing) - count))
        except BaseException:  # Ctrl-C, SIGTERM, a run that cannot be compared: what runs ends after a checkpoint
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
            raise


class CellProgress(Progress):
    """A bar over the whole grid with the time that is left, and below it the cells that run; a line each in a log."""

    def __init__(self, total: int, finished: int, *, console: Console | None = None) -> None:
        """No cell runs yet.

        Args:
            total: number of cells of the grid.
            finished: number of cells that are finished.
            console: terminal or log that shows the progress.
        """
        self._shown: dict[Path, str] = {}
        self._is_log = console is not None and not console.is_terminal
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        super().__init__(*columns, TextColumn("{task.fields[left]}"), console=console)
        self._bar = self.add_task("cells", total=total, completed=finished, left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Get what a terminal shows.

        Yields:
            The bar, then a line for each cell that runs.
        """
        yield from super().get_renderables()
        yield from map(Text, list(self._shown.values()))

    def start_cell(self, cell: Cell) -> None:
        """Show that a cell runs.

        Args:
            cell: the cell.
        """
        log = cell.folder.with_suffix(".log")
        self._shown[cell.folder] = f"running: {cell.name} ({log})"
        if self._is_log:
            self.console.print(f"{cell.name} started: {log}", soft_wrap=True)

    def end_cell(self, cell: Cell) -> None:
        """Show a cell no longer.

        Args:
            cell: the cell.
        """
        self._shown.pop(cell.folder, None)

    def count_cell(self, cell: Cell, *, seconds_left: float) -> None:
        """Show that one more cell has run.

        Args:
            cell: the cell.
            seconds_left: time in seconds that the others are expected to take.
        """
        left = f"{timedelta(seconds=round(seconds_left))} left"
        self.update(self._bar, advance=1, left=left)
        if self._is_log:
            done = f"{self.tasks[0].completed:.0f} of {self.tasks[0].total:.0f} cells"
            self.console.print(f"{done}, {left}: {cell.folder}", soft_wrap=True)


class NotebookProgress:
    """The same in a notebook, where rich shows nothing without ipywidgets: one bar, which names the cells that run."""

    def __init__(self, total: int, finished: int, *, console: Console | None = None) -> None:
        """No cell runs yet.

        Args:
            total: number of cells of the grid.
            finished: number of cells that are finished.
            console: not used.
        """
        self._shown: dict[Path, str] = {}
        self._bar = open_bar("runs", total=total, done=finished)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def start_cell(self, cell: Cell) -> None:
        """Show that a cell runs.

        Args:
            cell: the cell.
        """
        self._shown[cell.folder] = cell.name
        self._show()

    def end_cell(self, cell: Cell) -> None:
        """Show a cell no longer.

        Args:
            cell: the cell.
        """
        self._shown.pop(cell.folder, None)
        self._show()

    def count_cell(self, cell: Cell, *, seconds_left: float) -> None:
        """Show that one more cell has run.

        Args:
            cell: the cell.
            seconds_left: not used; the bar has an estimate of its own.
        """
        self._bar.update()

    def _show(self) -> None:
        running = "; ".join(list(self._shown.values()))
        self._bar.set_postfix_str(f"running: {running}" if running else "")


def assign_devices(workers: int) -> list[str | None]:
    """Assign a GPU to each worker, as CUDA_VISIBLE_DEVICES names it: one process does not use several.

    Args:
        workers: number of workers.

    Returns:
        One entry per worker, in turn over the GPUs that are there; None where there is none.
    """
    import torch  # noqa: PLC0415 - takes seconds, and a sweep that is wrong answers at once

    given = os.environ.get(VISIBLE)
    devices = given.split(",") if given is not None else [str(number) for number in range(torch.cuda.device_count())]
    return [devices[worker % len(devices)] if devices else None for worker in range(workers)]


class Running:
    """The cells that run, so that all of them can be stopped; none begins afterwards."""

    def __init__(self, devices: Sequence[str | None] = (None,)) -> None:
        """Begin with no running cell.

        Args:
            devices: GPUs of the workers, from `assign_devices`.
        """
        self.free_devices: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for device in devices:
            self.free_devices.put(device)
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
        """Ask all cells to stop after a checkpoint."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.terminate()  # does nothing to one that has ended


def _run_cell(cell: Cell, workers: int, running: Running, progress: CellProgress | NotebookProgress) -> str | None:
    """One cell in a process of its own: what it leaves in memory, or how it dies, is not the sweep's business."""
    folder = cell.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = folder.with_suffix(".yaml")
    with open_whole_file(recipe) as path:
        path.write_text(write_yaml(cell.recipe.model_dump(mode="json")), encoding="utf-8")
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    device = running.free_devices.get()  # never waits: there are as many as workers
    if device is not None:
        environment[VISIBLE] = device
    command = [sys.executable, "-m", "innerdistill.cli.sweep_cell", str(recipe)]
    try:
        with folder.with_suffix(".log").open("w", encoding="utf-8") as log:
            process = running.start(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
            if process is None:
                return "the sweep was stopped"
            progress.start_cell(cell)
            with process:
                code = process.wait()  # standard input stays open until then
    finally:
        progress.end_cell(cell)
        running.free_devices.put(device)
    return None if code == 0 else _read_cause(code, folder.with_suffix(".log"))


def _read_cause(code: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    cause = next((line for line in reversed(lines) if line.startswith("innerdistill: ")), "")
    ended = f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"exit code {code}"
    return cause.removeprefix("innerdistill: ") or f"{ended}; see {log}"
