"""Opening the folder of a run: it is empty, or its unfinished run goes on, or what is there may be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from innerdistill.recipe.identity import list_differences
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.yaml import read_yaml, write_yaml
from innerdistill.report.run_folder import PREDICTIONS, RUN, read_run
from innerdistill.support.files import acquire_lock, open_whole_file

RECIPE, LOCK = "recipe.yaml", ".lock"
# Only a folder that holds nothing else is ever replaced.
RUN_FILES = {
    RECIPE, "model", RUN, PREDICTIONS, "examples.json", "report.html", "tensorboard",
    "checkpoints", "baseline",
}  # fmt: skip


@contextmanager
def run_folder(recipe: Recipe) -> Iterator[Path]:
    """Open the folder of a run, for one process at a time.

    Args:
        recipe: names the folder and says whether a run may be replaced.

    Yields:
        The folder: with recipe.yaml alone, or with a run of this recipe that is to go on: an unfinished one, or one of
            which only the report is missing.

    Raises:
        ValueError: it holds something else and `overwrite` is off, something that is not a run, or another process
            works there.
    """
    folder = Path(recipe.output)
    _is_to_be_replaced(folder, recipe)  # before anything is written
    with locked(folder):
        if _is_to_be_replaced(folder, recipe):
            # The recipe last, by which a folder is known to be a run's.
            _delete(sorted(folder.iterdir(), key=lambda path: path.name == RECIPE))
        _delete(path for path in folder.iterdir() if _is_left_over(path.name))
        if not (folder / RECIPE).exists():
            with open_whole_file(folder / RECIPE) as path:
                path.write_text(write_yaml(recipe.model_dump(mode="json")), encoding="utf-8")
        yield folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Work in a folder alone.

    Args:
        folder: made if it is not there.

    Yields:
        Nothing.

    Raises:
        ValueError: another process works there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"output: another process is at work in {folder}; wait for it, or name another folder."
        ) from None
    except OSError as error:
        raise ValueError(f"output: {folder} cannot be written ({error.strerror}).") from None
    try:
        yield
        with suppress(PermissionError):  # of Windows, where an open file stays
            (folder / LOCK).unlink(missing_ok=True)
    finally:
        lock.release()


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether a run left everything that its recipe asks for.

    Args:
        folder: of the run.
        recipe: of the run.

    Returns:
        Whether its record is there, that of its baseline if it has one, and its ONNX files if they are wanted.
    """
    if not all((folder / part / RUN).is_file() for part in (".", *(["baseline"] if recipe.baseline else []))):
        return False
    return not recipe.onnx or "onnx" in read_run(folder)


def _is_to_be_replaced(folder: Path, recipe: Recipe) -> bool:
    """Look at a folder: True if what it holds is to be replaced, False if nothing is there or the run is to go on."""
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise ValueError(f"output: {folder} is not a folder that can be used ({error.strerror}).") from None
    present = {name for name in present if name != LOCK and not _is_left_over(name)}
    if not present:
        return False
    if foreign := sorted(present - RUN_FILES):
        raise ValueError(f"output: {folder} holds {foreign[0]!r}, which is not part of a run; name another folder.")
    if RECIPE not in present:
        raise ValueError(f"output: {folder} is not a run (it has no recipe.yaml); name another folder.")
    finished = is_finished(folder, recipe)
    try:
        others = list_differences(read_yaml(folder / RECIPE), recipe)
    except ValueError:
        others = ["its recipe.yaml, which cannot be read"]
    without_report = finished and not recipe.overwrite and not (folder / "report.html").exists()
    if not others and (not finished or without_report):
        return False
    if not recipe.overwrite:
        what = "a finished run" if finished else f"an unfinished run that differs in {', '.join(others[:3])}"
        raise ValueError(f"output: {folder} holds {what}; name another folder or set overwrite=true.")
    for key, used in _inputs(recipe):
        if folder.resolve() in Path(used).resolve().parents:
            raise ValueError(f"{key}: {used} lies inside {folder}, which overwrite=true would delete.")
    return True


def _is_left_over(name: str) -> bool:
    """Whether a file was being written when a process was killed."""
    return name.startswith(".") and ".partial-" in name


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def lock_beside(folder: Path, *, key: str) -> Iterator[None]:
    """Hold a lock that belongs to a folder, beside it.

    Args:
        folder: need not exist.
        key: recipe key, for messages.

    Yields:
        Nothing.

    Raises:
        ValueError: the place cannot be written.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        acquire_lock(lock, what=folder)
    except OSError as error:
        raise ValueError(f"{key}: {folder.parent} cannot be written ({error.strerror}).") from None
    try:
        yield
    finally:
        lock.release()


def _inputs(recipe: Recipe) -> list[tuple[str, str]]:
    """Everything a recipe reads, by key."""
    data = {f"data.{key}": getattr(recipe.data, key) for key in ("path", "train", "validation", "test", "unlabelled")}
    models = {"teacher.path": recipe.teacher.path, "teacher.base": recipe.teacher.base}
    found = {**data, **models, "teacher.folder": recipe.teacher.folder, "student.source": recipe.student.source}
    return [(key, value) for key, value in found.items() if value is not None]
