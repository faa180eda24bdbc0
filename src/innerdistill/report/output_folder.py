"""Opening the folder of a run for writing: it is empty, or holds a run to resume, or one that may be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from innerdistill.recipe.identity import TARGETS, TEACHER_NAME, list_differences
from innerdistill.recipe.recipe import IN_MEMORY, Recipe
from innerdistill.recipe.yaml import read_yaml, write_yaml
from innerdistill.report.run_folder import (
    BASELINE_FOLDER,
    CHECKPOINTS,
    EXAMPLES,
    MODEL,
    PREDICTIONS,
    RECIPE,
    REPORT,
    RUN,
    TENSORBOARD,
    has_part,
    has_record,
    list_missing,
)
from innerdistill.support.files import acquire_lock, open_whole_file

LOCK = ".lock"
TEACHER, STUDENT = "a fine-tuned teacher", "the run of a student"
# Only a folder that holds nothing else is ever replaced.
RUN_FILES = {RECIPE, MODEL, RUN, PREDICTIONS, EXAMPLES, REPORT, TENSORBOARD, CHECKPOINTS, BASELINE_FOLDER}


@contextmanager
def open_run_folder(recipe: Recipe, *, of_teacher: bool = False, in_cache: bool = False) -> Iterator[Path]:
    """Open the folder of a run, for one process at a time.

    Args:
        recipe: recipe of the run; it names the folder and says whether a run there may be replaced.
        of_teacher: whether the run fine-tunes a teacher; False for a student.
        in_cache: whether the run is a cached teacher, the only one that belongs in the cache.

    Yields:
        The folder: with recipe.yaml alone, or with a run of this recipe to resume, which may lack its report only.

    Raises:
        ValueError: the folder holds another trained or a finished run, and `overwrite` is off. Or it holds something
            that is not a run, belongs to the cache of teachers, or another process works there.
    """
    folder = Path(recipe.output)
    if not in_cache:
        check_outside_cache(recipe)
    _decide_to_replace(folder, recipe, of_teacher=of_teacher)  # before anything is written
    with lock_folder(folder):
        if _decide_to_replace(folder, recipe, of_teacher=of_teacher):
            # The recipe last: without it nobody would know the folder as a run's.
            _delete(sorted(folder.iterdir(), key=lambda path: path.name == RECIPE))
        _delete(path for path in folder.iterdir() if _is_left_over(path.name))
        if not (folder / RECIPE).exists():
            with open_whole_file(folder / RECIPE) as path:
                path.write_text(write_yaml(recipe.model_dump(mode="json")), encoding="utf-8")
        yield folder


def check_run_folder(recipe: Recipe, *, of_teacher: bool = False) -> None:
    """Check that a run may be written into its folder. Changes nothing.

    Args:
        recipe: recipe of the run.
        of_teacher: whether the run fine-tunes a teacher; False for a student.

    Raises:
        ValueError: as `open_run_folder`, unless another process works there.
    """
    check_outside_cache(recipe)
    _decide_to_replace(Path(recipe.output), recipe, of_teacher=of_teacher)


def check_outside_cache(recipe: Recipe) -> None:
    """Check that a run is not written into the cache of teachers: other runs would take it for a teacher.

    Args:
        recipe: recipe of the run.

    Raises:
        ValueError: its `output` is `teacher.folder` or has the name of an entry there, or is a cached teacher, whatever
            `overwrite` says.
    """
    folder, cache = Path(recipe.output).resolve(), Path(recipe.teacher.folder).resolve()
    inside = folder.relative_to(cache).parts if folder.is_relative_to(cache) else None
    if inside == () or (inside and (TEACHER_NAME.fullmatch(inside[0]) or inside[0] == TARGETS)):
        raise ValueError(
            f"output: {recipe.output} belongs to {recipe.teacher.folder}, the cache of teachers (teacher.folder), "
            "which runs never overwrite; name another folder."
        )
    for teacher in filter(_is_cached_teacher, (folder, *folder.parents)):
        raise ValueError(f"output: {teacher} is a cached teacher, which runs never overwrite; name another folder.")


def _is_cached_teacher(folder: Path) -> bool:
    """Whether a folder is a teacher in some cache, by its name and its recipe, which names a base and overwrites."""
    if not TEACHER_NAME.fullmatch(folder.name):
        return False
    try:
        content = read_yaml(folder / RECIPE)
        teacher = Recipe.model_validate(content).teacher
    except ValueError:  # no recipe, or none of a run
        return False
    return teacher.base is not None and content.get("overwrite") is True and Path(content["output"]).name == folder.name


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other process works there.

    Args:
        folder: created if it is not there.

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


def _decide_to_replace(folder: Path, recipe: Recipe, *, of_teacher: bool) -> bool:
    """True if what the folder holds is to be replaced; False if it is empty, or holds a run to resume."""
    if not _holds_run(folder):
        return False
    try:
        differences = list_differences(read_yaml(folder / RECIPE), recipe)
    except ValueError:
        differences = ["its recipe.yaml, which cannot be read"]
    try:
        other_model = _find_other_model(folder, recipe, of_teacher=of_teacher)
        missing = list_missing(folder, recipe)
    except ValueError:  # a damaged record
        if not recipe.overwrite:
            raise
        other_model, missing = "", []
    is_damaged = RUN not in missing and PREDICTIONS in missing
    if not differences and missing and not is_damaged and not other_model:
        return False
    if not recipe.overwrite and not _is_untrained(folder):
        is_whole = set(missing) <= {REPORT} and not other_model
        state = other_model or f"an unfinished run that differs in {', '.join(differences[:3])}"
        if is_damaged:
            state = f"a run without its {PREDICTIONS}"
        elif is_whole:
            state = "a finished run"
        in_python = "in Python overwrite=True, or Run.load to open it" if is_whole else "in Python overwrite=True"
        advice = f"name another folder or set overwrite=true ({in_python})"
        if other_model == TEACHER:
            teacher = f"teacher.path={folder / MODEL}"
            advice = f"name another one for its student. To use this teacher, replace teacher.base by {teacher}"
        raise ValueError(f"output: {folder} holds {state}; {advice}.")
    for key, path in _list_inputs(recipe):
        if folder.resolve() in Path(path).resolve().parents:
            raise ValueError(f"{key}: {path} lies inside {folder}, which overwrite=true would delete.")
    return True


def _is_untrained(folder: Path) -> bool:
    """Whether a run ended before its first checkpoint: nothing was trained, and its recipe is in the package's form."""
    present = {path.name for path in folder.iterdir() if not _is_left_over(path.name)}
    if not present <= {LOCK, RECIPE, TENSORBOARD, CHECKPOINTS}:
        return False
    if any(path.is_dir() for path in (folder / CHECKPOINTS).glob("*")):
        return False
    try:
        return set(read_yaml(folder / RECIPE)) == set(Recipe.model_fields)  # one written by hand has fewer keys
    except ValueError:
        return False


def _find_other_model(folder: Path, recipe: Recipe, *, of_teacher: bool) -> str:
    """Find out whether a folder holds a teacher where a student is wanted, or a student where a teacher is wanted."""
    if has_record(folder):
        is_teacher = not has_part(folder, "teacher")
        return "" if is_teacher == of_teacher else TEACHER if is_teacher else STUDENT
    # A teacher's checkpoints are in the cache, whose recipes overwrite.
    return STUDENT if of_teacher and not recipe.overwrite and (folder / CHECKPOINTS).exists() else ""


def _holds_run(folder: Path) -> bool:
    """Whether a folder holds a run, and not nothing; anything else is refused."""
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise ValueError(f"output: {folder} is not a folder that can be used ({error.strerror}).") from None
    present = {name for name in present if name != LOCK and not _is_left_over(name)}
    if foreign := sorted(present - RUN_FILES):
        raise ValueError(f"output: {folder} holds {foreign[0]!r}, which is not part of a run; name another folder.")
    if present and RECIPE not in present:
        raise ValueError(f"output: {folder} is not a run (it has no recipe.yaml); name another folder.")
    return bool(present)


def _is_left_over(name: str) -> bool:
    """Whether a process was killed while it wrote this file."""
    return name.startswith(".") and ".partial-" in name


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def lock_beside(folder: Path, *, key: str) -> Iterator[None]:
    """Hold the lock of a folder in a file beside it; wait for another process that holds it.

    Args:
        folder: need not exist.
        key: key of the recipe, for error messages.

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


def _list_inputs(recipe: Recipe) -> list[tuple[str, str]]:
    """Every path or name that a recipe reads, with its key."""
    files = ("path", "train", "validation", "selection", "test", "unlabelled")
    paths = {f"data.{key}": getattr(recipe.data, key) for key in files}
    paths |= {"teacher.path": recipe.teacher.path, "teacher.base": recipe.teacher.base}
    paths |= {"teacher.internal": recipe.teacher.find_internal()}
    paths |= {"teacher.folder": recipe.teacher.folder, "student.source": recipe.student.source}
    return [(key, path) for key, path in paths.items() if path not in (None, IN_MEMORY)]
