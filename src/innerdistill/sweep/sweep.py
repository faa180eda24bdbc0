"""sweep: methods x tasks x settings x seeds, every cell one run of its own, then a table with statistics.

sweep.yaml -> grid: cells -> workers: `innerdistill distill`, each in a process of its own -> results/sweep_report
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.output_folder import locked
from innerdistill.support.files import open_whole_file, read_json, write_json
from innerdistill.support.messages import name_key
from innerdistill.sweep.gather import gather
from innerdistill.sweep.grid import FAILED, SWEEP_FILE, Planned, Sweep, load_sweep, plan_cells
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import TEACHER_SEED, Cell
from innerdistill.sweep.report import PAGE, write_sweep_report
from innerdistill.sweep.workers import run_cells

COMMENT = re.compile(r"^\s*#|\s#\s", re.MULTILINE)  # a sweep writes none

logger = logging.getLogger(__name__)


def run_sweep(sweep: Sweep, *, workers: int = 1, console: Console | None = None) -> tuple[list[Group], dict[Path, str]]:
    """Run the cells that are not finished, then write the report over all of them.

    Args:
        sweep: the sweep.
        workers: cells at a time; they share the cores and the GPUs.
        console: where the progress over the grid is shown.

    Returns:
        What was found, by task and setting, and the cause in a sentence for every cell that failed.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    planned = plan_cells(sweep)
    from innerdistill.run.assemble import check_names  # noqa: PLC0415 - takes seconds; what is wrong above is said at once

    for entry in planned:  # a name that nobody knows would fail in one cell after the other
        with name_key(f"cell {entry.cell.folder.relative_to(sweep.output)}"):
            check_names(entry.recipe)
    for key in (key for key in sweep.grid if not key.startswith(("data.", "teacher."))):
        if len({repr(select_shared_keys(entry.recipe).get(key)) for entry in planned}) > 1:
            logger.warning("grid.%s is the teacher's too: for every value one is fine-tuned", key)
    output = Path(sweep.output)
    by_hand = _is_written_by_hand(output, sweep)
    with locked(output):
        if not by_hand:
            with open_whole_file(output / SWEEP_FILE) as path:
                path.write_text(write_yaml(sweep.model_dump(mode="json")), encoding="utf-8")
        there = {entry.cell.folder for entry in planned if entry.is_finished()}
        finished = [entry.cell for entry in planned if entry.cell.folder in there]
        gather(finished)  # refuses what cannot be compared, here and after every run: not when hours have passed

        def check(cell: Cell) -> None:
            finished.append(cell)
            gather(finished)
            if not sweep.keep_models:
                _remove_models(cell.folder)

        for folder in [] if sweep.keep_models else there:
            _remove_models(folder)
        missing = [entry for entry in planned if entry.cell.folder not in there]
        if _say_what_changed(missing) and (output / PAGE).exists():  # it is of runs that are about to be replaced
            report_on(sweep, planned)
        # Until a cell has run again, what is known of it is what it failed of before.
        before, again = _failures(output), {entry.cell.folder for entry in missing}
        failed = {folder: cause for folder, cause in before.items() if folder in again}
        try:
            run_cells(missing, failed, workers=workers, total=len(planned), check=check, console=console)
        finally:  # what has failed by now is known, however the sweep ends
            causes = {str(folder.relative_to(output)): cause for folder, cause in failed.items()}
            (output / FAILED).unlink(missing_ok=True)
            if causes:
                write_json(output / FAILED, causes)
        return report_on(sweep, planned), failed


def _is_written_by_hand(output: Path, sweep: Sweep) -> bool:
    """Whether the folder's sweep.yaml has comments, so is the user's own, and says the same; else what is there is not.

    A folder that holds something else is refused, and so is one whose comments would be lost.
    """
    file = output / SWEEP_FILE
    if not file.is_file():
        others = sorted(path.name for path in output.iterdir() if path.name[0] != ".") if output.is_dir() else []
        if others:
            raise ValueError(f"output: {output} holds {others[0]!r} and no {SWEEP_FILE}; name another folder.")
        return False
    if not COMMENT.search(file.read_text(encoding="utf-8", errors="replace")):
        return False
    with suppress(ValueError):
        if load_sweep(file).model_copy(update={"output": sweep.output}) == sweep:
            return True
    raise ValueError(f"output: {file} was written by hand and says something else; name another folder.")


def runs_of(folders: Iterable[str | Path], *, method: str | None = None, seed: int | None = None) -> list[Path]:
    """Folders of runs, where a sweep stands for those of one method and one seed that are finished, one per task.

    Args:
        folders: of runs and of sweeps.
        method: of a sweep; may be left out where it has one.
        seed: of a sweep; None means its first.

    Returns:
        Folders of runs.

    Raises:
        ValueError: a method or seed that a sweep does not have, several settings, or no such run.
    """
    found: list[Path] = []
    places = [Path(folder) for folder in folders]
    if (method, seed) != (None, None) and not any((place / SWEEP_FILE).is_file() for place in places):
        raise ValueError("--method and --seed choose among the runs of a sweep, and no folder is one.")
    for folder in places:
        found += _chosen(folder, method, seed) if (folder / SWEEP_FILE).is_file() else [folder]
    return found


def _chosen(folder: Path, method: str | None, seed: int | None) -> list[Path]:
    sweep = load_sweep(folder / SWEEP_FILE).model_copy(update={"output": str(folder)})
    method = next(iter(sweep.methods)) if method is None and len(sweep.methods) == 1 else method
    seed = sweep.seeds[0] if seed is None else seed
    if method not in sweep.methods:
        raise ValueError(f"{folder} is a sweep: name one of its methods with --method: {', '.join(sweep.methods)}.")
    if seed not in sweep.seeds:
        raise ValueError(f"--seed: {folder} has no seed {seed}; its seeds are {', '.join(map(str, sweep.seeds))}.")
    if any(len(values) > 1 for values in sweep.grid.values()):
        raise ValueError(f"{folder} is a sweep over {', '.join(sweep.grid)}; name the folders of single runs in it.")
    chosen = [entry for entry in plan_cells(sweep) if (entry.cell.method, entry.cell.seed) == (method, seed)]
    found = [entry.cell.folder for entry in chosen if entry.is_finished()]
    if not found:
        raise ValueError(f"{folder}: no run of {method!r} with seed {seed} is finished.")
    for entry in chosen:
        if entry.cell.folder not in found:
            logger.warning("%s is left out: it is not finished.", entry.cell.folder)
    return found


def _remove_models(run: Path) -> None:
    """The model of a finished run and of its baseline go, each of them whole."""
    for model in (run / "model", run / "baseline" / "model"):
        removed = model.with_name(".model.partial-removed")
        shutil.rmtree(removed, ignore_errors=True)  # of a sweep that was killed here
        if model.is_dir():
            shutil.rmtree(model.rename(removed))


def _say_what_changed(missing: Sequence[Planned]) -> bool:
    """Whether finished runs have another recipe now."""
    changed = [keys for entry in missing if (keys := entry.changed_keys())]
    if changed:
        logger.warning("%d finished runs had another recipe and are made again: %s", len(changed), changed[0][0])
    return bool(changed)


def _failures(output: Path) -> dict[Path, str]:
    """Why cells are missing, as the sweep that ran last says."""
    found = None
    with suppress(ValueError, FileNotFoundError):  # without it only the causes are not known
        found = read_json(output / FAILED)
    return {output / name: str(cause) for name, cause in found.items()} if isinstance(found, dict) else {}


def report_on(sweep: Sweep, planned: Sequence[Planned] | None = None) -> list[Group]:
    """Write the report over the cells that are finished, with what is known of the others.

    Args:
        sweep: the sweep.
        planned: its cells, if they are known.

    Returns:
        What was found, by task and setting.

    Raises:
        ValueError: as `plan_cells` and `write_sweep_report`.
    """
    planned = plan_cells(sweep) if planned is None else planned
    output = Path(sweep.output)
    finished = [entry.cell for entry in planned if entry.is_finished()]
    without = {entry.cell.folder for entry in planned} - {cell.folder for cell in finished}
    failed = {folder: cause for folder, cause in _failures(output).items() if folder in without}
    return write_sweep_report(
        output,
        finished,
        compare=sweep.compare,
        margin=sweep.margin,
        failed=failed,
        missing=len(without) - len(failed),
        settings=len({entry.cell.group for entry in planned}) // len({entry.cell.task for entry in planned}),
        seeds=len(sweep.seeds),
        teachers=len(sweep.grid.get(TEACHER_SEED, [None])),
        content=sweep.model_dump(mode="json"),
    )
