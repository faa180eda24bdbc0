"""sweep: methods x tasks x settings x seeds, every cell one run of its own, then a table with statistics.

Read this first.

1. grid: sweep.yaml becomes a recipe for every cell.
2. store: which cells are finished?
3. workers: the others run, each `innerdistill distill` in a process of its own.
4. tuning: its runs come first, and their best values go into the recipes of the other cells.
5. blocks: finished runs are written into few files; gather_blocks puts those of several machines into one sweep.
6. latency: one student of each size is timed.
7. gather: groups of runs, and their comparisons.
8. report: tables, figures and page.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from innerdistill.evaluation.crossed import FEWEST_FOR_INTERVAL
from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.output_folder import check_outside_cache, lock_folder
from innerdistill.report.run_folder import MODEL
from innerdistill.report.stored_run import FolderRun, StoredRun
from innerdistill.support.files import open_whole_file, read_json, write_json
from innerdistill.support.messages import name_key
from innerdistill.support.progress import quiet_libraries
from innerdistill.sweep.alike import check_alike
from innerdistill.sweep.data_files import check_data_files
from innerdistill.sweep.declaration import FAILED, SWEEP_FILE, TUNING, Sweep, derive_seed
from innerdistill.sweep.grid import Cell, read_sweep, select_teachers
from innerdistill.sweep.groups import Group
from innerdistill.sweep.latency import measure_sweep, select_untimed
from innerdistill.sweep.report import PAGE, write_sweep_report
from innerdistill.sweep.results import SweepResults
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM
from innerdistill.sweep.store import CellRun, RunStore
from innerdistill.sweep.tuning import PlannedSweep, plan_sweep_cells
from innerdistill.sweep.workers import run_cells

COMMENT = re.compile(r"^\s*#|\s#\s", re.MULTILINE)  # a sweep writes none

logger = logging.getLogger(__name__)


def run_sweep(
    sweep: Sweep, *, workers: int = 1, blocks: Sequence[int | str] = (), console: Console | None = None
) -> SweepResults:
    """Run the cells that are not finished, then write the report over all of them.

    Args:
        sweep: the sweep.
        workers: cells at a time; they share the cores and the GPUs.
        blocks: seeds of the teachers whose cells are run, or `tuning` for the tuning runs alone; none means all.
        console: where the progress over the grid is shown.

    Returns:
        What was found by task and setting, the report, and the cause in a sentence for every cell that failed.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    planned = plan_sweep_cells(sweep)
    _select_blocks(planned, blocks)  # refuses those that are not there
    from innerdistill.run.assemble import check_names  # noqa: PLC0415 - takes seconds; what is wrong above is said at once
    from innerdistill.run.hub import refuse_upload_of_sweep  # noqa: PLC0415
    from innerdistill.run.preview import check_extras  # noqa: PLC0415

    for cell in [*planned.tuning, *planned.cells]:  # a name that nobody knows would fail in one cell after the other
        with name_key(f"cell {cell.folder.relative_to(sweep.folder)}"):
            check_names(cell.recipe)
            refuse_upload_of_sweep(cell.recipe)
            check_extras(cell.recipe)
            check_outside_cache(cell.recipe)
    _warn_of_several_teachers(sweep, planned.cells)
    _announce_few_seeds(sweep)
    with quiet_libraries(), open_sweep_folder(sweep):
        runner = Runner(sweep, planned, workers=workers, console=console)
        if not planned.is_tuned:
            _announce_tuning(planned)
        tuned = runner.run(planned.tuning, planned.tuning) if planned.tuning else []
        planned = plan_sweep_cells(sweep, runner.store)
        if planned.is_tuned:
            finished = runner.run(_select_blocks(planned, blocks), planned.cells, others=tuned)
            measure_sweep(sweep.folder, [entry.run for entry in finished])
            if not sweep.keep_models:
                for entry in finished:
                    _remove_models(entry.cell.folder)
        return SweepResults(sweep.folder, report_on(sweep), runner.failed)


class Runner:
    """Runs cells that are missing, and stores what is finished.

    Attributes:
        store: finished runs of the sweep.
        failed: cause by folder of the cells that have failed, now or in an earlier command.
    """

    def __init__(self, sweep: Sweep, planned: PlannedSweep, *, workers: int, console: Console | None) -> None:
        """Nothing runs yet.

        Args:
            sweep: the sweep.
            planned: its cells.
            workers: cells at a time.
            console: where the progress is shown.
        """
        self.sweep, self.store = sweep, RunStore(sweep)
        self.failed = _read_failures(sweep, [*planned.tuning, *planned.cells])
        self._workers, self._console = workers, console

    def run(self, chosen: Sequence[Cell], cells: Sequence[Cell], *, others: Sequence[CellRun] = ()) -> list[CellRun]:
        """Run the chosen cells that are not finished.

        Args:
            chosen: cells to run.
            cells: all cells, of which some may be finished without being chosen.
            others: finished runs of other cells, whose data and versions must be the same.

        Returns:
            All cells that are finished now.

        Raises:
            ValueError: runs that cannot be compared, or a data file that has changed; the others are stopped.
        """
        finished = self.store.select_finished(cells)
        for entry in finished:
            self.failed.pop(entry.cell.folder, None)
        missing = _select_missing(cells, finished)
        folders = {cell.folder for cell in chosen}
        to_run = [cell for cell in missing if cell.folder in folders]

        def settle() -> None:
            """Refuse what cannot be compared, here and after every run: not when hours have passed."""
            check_alike([*others, *finished])
            self.store.write_finished_blocks(cells, finished)
            self._remove_needless_models(finished)

        check_data_files(self.sweep.folder, cells, has_runs=bool(finished or others))
        settle()
        for sentence in self.store.list_outdated(missing):
            logger.warning("%s", sentence)
        if _warn_of_changes(self.store, to_run) and (self.sweep.folder / PAGE).exists():
            report_on(self.sweep)  # the page is of runs that are about to be replaced

        def check(cell: Cell) -> None:
            finished.append(CellRun(cell, FolderRun(cell.folder)))
            settle()

        try:
            run_cells(
                to_run,
                self.failed,
                workers=self._workers,
                total=len(chosen),
                check=check,
                console=self._console,
            )
        finally:  # what has failed by now is known, however the sweep ends
            _write_failures(self.sweep, self.failed)
        return finished

    def _remove_needless_models(self, finished: Sequence[CellRun]) -> None:
        """Remove models that the sweep does not keep; one of each size stays until it is timed."""
        needless = [entry for entry in finished if entry.cell.is_tuning or not self.sweep.keep_models]
        untimed = select_untimed(self.sweep.folder, [entry.run for entry in needless if not entry.cell.is_tuning])
        for entry in needless:
            if entry.cell.folder / MODEL not in untimed:
                _remove_models(entry.cell.folder)


@contextmanager
def open_sweep_folder(sweep: Sweep) -> Iterator[None]:
    """Open the folder of a sweep for writing, for one process at a time; its sweep.yaml is written first.

    Args:
        sweep: the sweep.

    Yields:
        Nothing.

    Raises:
        ValueError: the folder holds something else, or another process works there.
    """
    by_hand = _is_written_by_hand(sweep)
    with lock_folder(sweep.folder):
        if not by_hand:
            with open_whole_file(sweep.folder / SWEEP_FILE) as path:
                path.write_text(write_yaml(sweep.model_dump(mode="json")), encoding="utf-8")
        yield


def report_on(sweep: Sweep) -> list[Group]:
    """Write the report over the cells that are finished, with what is known of the others.

    Args:
        sweep: the sweep.

    Returns:
        The runs with their comparisons, by task and setting.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    store = RunStore(sweep)
    planned = plan_sweep_cells(sweep, store)
    finished = store.select_finished(planned.cells) if planned.is_tuned else []
    missing = _select_missing([*planned.tuning, *planned.cells], [*planned.tuned, *finished])
    failed = _read_failures(sweep, missing)
    _write_failures(sweep, failed)  # blocks of other machines may have what failed here
    outdated = store.list_outdated(missing) if planned.is_tuned else []
    return write_sweep_report(sweep, finished, failed=failed, outdated=outdated, planned=planned)


def choose_runs(
    folders: Iterable[str | Path], *, method: str | None = None, seed: int | None = None
) -> list[StoredRun]:
    """Choose runs, where a sweep stands for those of one method and one seed that are finished, one per task.

    Args:
        folders: folders of runs and of sweeps.
        method: method of a sweep; may be left out where it has one.
        seed: seed of a sweep; None means its first.

    Returns:
        Finished runs.

    Raises:
        ValueError: a method or seed that a sweep does not have, several settings, or no such run.
    """
    places = [Path(folder) for folder in folders]
    if (method, seed) != (None, None) and not any((place / SWEEP_FILE).is_file() for place in places):
        raise ValueError("--method and --seed choose among the runs of a sweep, and no folder is one.")
    runs: list[StoredRun] = []
    for folder in places:
        runs += _choose_runs_of_sweep(folder, method, seed) if (folder / SWEEP_FILE).is_file() else [FolderRun(folder)]
    return runs


def _choose_runs_of_sweep(folder: Path, method: str | None, seed: int | None) -> list[StoredRun]:
    sweep = read_sweep(folder)
    method = next(iter(sweep.methods)) if method is None and len(sweep.methods) == 1 else method
    seed = sweep.seeds[0] if seed is None else seed
    if method not in sweep.methods:
        raise ValueError(f"{folder} is a sweep: name one of its methods with --method: {', '.join(sweep.methods)}.")
    if seed not in sweep.seeds:
        raise ValueError(f"--seed: {folder} has no seed {seed}; its seeds are {', '.join(map(str, sweep.seeds))}.")
    if sweep.number_of_settings > 1:
        swept = ", ".join(sweep.values_by_key)
        raise ValueError(f"{folder} is a sweep over {swept}; name the folders of single runs in it.")
    if sweep.teachers:
        seed = derive_seed(sweep.teachers[0], seed)
    planned = plan_sweep_cells(sweep)
    chosen = [cell for cell in planned.cells if planned.is_tuned and (cell.method, cell.seed) == (method, seed)]
    finished = RunStore(sweep).select_finished(chosen)
    if not finished:
        raise ValueError(f"{folder}: no run of {method!r} with seed {seed} is finished.")
    for cell in _select_missing(chosen, finished):
        logger.warning("%s is left out: it is not finished.", cell.folder)
    return [entry.run for entry in finished]


def _select_missing(cells: Sequence[Cell], finished: Sequence[CellRun]) -> list[Cell]:
    folders = {entry.cell.folder for entry in finished}
    return [cell for cell in cells if cell.folder not in folders]


def _warn_of_several_teachers(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Say which swept keys change the teacher too, though they do not name it."""
    for key in sweep.grid:
        if key.startswith(("data.", "teacher.")):
            continue
        if len({repr(select_shared_keys(cell.recipe).get(key)) for cell in cells}) > 1:
            logger.warning("grid.%s also changes the teacher: one is fine-tuned for every value.", key)


def _announce_few_seeds(sweep: Sweep) -> None:
    """Say before hours have passed that there are too few seeds for what the report is asked."""
    seeds = len(sweep.seeds)
    if sweep.number_of_teachers > 1 or seeds >= FEWEST_FOR_INTERVAL:
        return
    needed = f"a test needs {FEWEST_FOR_INTERVAL} seeds, a claim {FEWEST_FOR_CLAIM}"
    if seeds == 1:
        logger.info("seeds: one seed shows no spread between runs; %s.", needed)
    elif sweep.compare:
        logger.info("seeds: %d seeds show a spread, but %s.", seeds, needed)


def _is_written_by_hand(sweep: Sweep) -> bool:
    """Whether the folder's sweep.yaml has comments, so is the user's own, and says the same; else what is there is not.

    A folder that holds something else is refused, and so is one whose comments would be lost.
    """
    output = sweep.folder
    file = output / SWEEP_FILE
    if not file.is_file():
        others = sorted(path.name for path in output.iterdir() if path.name[0] != ".") if output.is_dir() else []
        if others:
            raise ValueError(f"output: {output} holds {others[0]!r} and no {SWEEP_FILE}; name another folder.")
        return False
    if not COMMENT.search(file.read_text(encoding="utf-8", errors="replace")):
        return False
    with suppress(ValueError):
        if read_sweep(output) == sweep.model_copy(update={"output": str(output)}):
            return True
    raise ValueError(f"output: {file} was written by hand and says something else; name another folder.")


def _remove_models(run: Path) -> None:
    """Remove the models of a finished run and of its baseline."""
    for model in (run / "model", run / "baseline" / "model"):
        removed = model.with_name(".model.partial-removed")
        shutil.rmtree(removed, ignore_errors=True)  # a killed sweep left it
        if model.is_dir():
            shutil.rmtree(model.rename(removed))


def _warn_of_changes(store: RunStore, missing: Sequence[Cell]) -> bool:
    """Whether finished runs have another recipe now."""
    changes = [store.list_changes(cell) for cell in missing]
    changed = [keys for keys in changes if keys]
    if changed:
        logger.warning("%d finished runs had another recipe and are re-run: %s", len(changed), changed[0][0])
    return bool(changed)


def _select_blocks(planned: PlannedSweep, blocks: Sequence[int | str]) -> list[Cell]:
    """The cells of some blocks, apart from tuning runs, which all need; of all blocks if none is named."""
    if TUNING in blocks and not planned.tuning:
        raise ValueError(f"--block: the sweep has no block {TUNING}, since it has no key `tune`.")
    teachers = [block for block in blocks if isinstance(block, int)]
    if not blocks:
        return planned.cells
    return select_teachers(planned.cells, teachers) if teachers else []


def _announce_tuning(planned: PlannedSweep) -> None:
    logger.warning(
        "%d tuning runs come first; if another machine has finished some, gather its blocks and they are left out",
        len(planned.tuning) - len(planned.tuned),
    )


def _read_failures(sweep: Sweep, cells: Sequence[Cell]) -> dict[Path, str]:
    """Why some cells are missing, by their folders, as the sweep that ran last says."""
    try:
        causes = read_json(sweep.folder / FAILED)
    except (ValueError, FileNotFoundError):  # without it only the causes are not known
        return {}
    if not isinstance(causes, dict):
        return {}
    folders = {cell.folder for cell in cells}
    by_folder = {sweep.folder / name: str(cause) for name, cause in causes.items()}
    return {folder: cause for folder, cause in by_folder.items() if folder in folders}


def _write_failures(sweep: Sweep, failed: Mapping[Path, str]) -> None:
    (sweep.folder / FAILED).unlink(missing_ok=True)
    if failed:
        causes = {str(folder.relative_to(sweep.folder)): cause for folder, cause in failed.items()}
        write_json(sweep.folder / FAILED, causes)
