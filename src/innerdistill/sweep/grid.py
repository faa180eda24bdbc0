"""The grid of a sweep: sweep.yaml -> methods x tasks x settings x seeds. Every cell has a recipe and a folder.

With `teachers`, every teacher is a setting, and has students with seeds of their own.

YAML file -> Sweep (checked) -> Cells, in the order in which they run
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.loading import describe_validation_error, find_override, load_recipe, read_content, set_key
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.renames import translate_old_values
from innerdistill.support.files import slugify
from innerdistill.support.messages import name_key
from innerdistill.sweep.check_sweep import check_sweep
from innerdistill.sweep.declaration import (
    SWEEP_FILE,
    SWEEP_FILES,
    TEACHER_SEED,
    TUNING,
    Sweep,
    derive_seed,
    list_dotted,
)


@dataclass(frozen=True)
class Cell:
    """A place in the grid: one run.

    Attributes:
        task: name of the data set; empty if there is only one.
        method: name of the method.
        setting: values of the swept keys.
        seed: random seed of the student.
        recipe: recipe of the run.
        folder: folder of the run.
        is_tuning: whether it is a tuning run, which is not reported.
    """

    task: str
    method: str
    setting: Mapping[str, Any]
    seed: int
    recipe: Recipe
    folder: Path
    is_tuning: bool = False

    @property
    def group(self) -> str:
        """What it is compared within: task and setting."""
        return name_group(self.task, self.setting)

    @property
    def name(self) -> str:
        """What it is called where its progress is shown."""
        return ", ".join([*filter(None, [self.group]), self.method, f"seed {self.seed}"])

    @property
    def note(self) -> str:
        """`data.note` of its recipe; empty if there is none."""
        return self.recipe.data.note or ""


def name_group(task: str, setting: Mapping[str, Any]) -> str:
    """Write a task and values of swept keys in one line, as a command line has them.

    Args:
        task: name of the data set; empty if there is only one.
        setting: values by key.

    Returns:
        Such as `cola, data.train_rows=null`.
    """
    values = (f"{key}={'null' if value is None else value}" for key, value in setting.items())
    return ", ".join([*filter(None, [task]), *values])


def name_place(task: str, setting: Mapping[str, Any]) -> str:
    """Name a task and setting without the seed of the teacher: each method has one tuned value there.

    Args:
        task: name of the data set; empty if there is only one.
        setting: values by key.

    Returns:
        As `name_group`.
    """
    return name_group(task, {key: value for key, value in setting.items() if key != TEACHER_SEED})


def is_sweep(source: str | Path | Mapping[str, Any]) -> bool:
    """Whether a YAML file is a sweep, which has a `recipe` inside.

    Args:
        source: path of the file, or its content as a mapping.

    Returns:
        True for a sweep.

    Raises:
        ValueError: the file cannot be read.
    """
    return "recipe" in read_content(source)


def is_recipe(path: str | Path) -> bool:
    """Whether a YAML file is a recipe: it has keys of one, and no `recipe` inside.

    Args:
        path: path of the file.

    Returns:
        True for a recipe.

    Raises:
        ValueError: the file cannot be read.
    """
    content = read_content(path)
    return "recipe" not in content and not Recipe.model_fields.keys().isdisjoint(content.keys() - {"output"})


def load_sweep(source: str | Path | Mapping[str, Any], *, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep and apply overrides.

    Args:
        source: path of a YAML file, or the same content as a mapping.
        overrides: strings `dotted.key=value`, for example `recipe.data.path=/data/CoLA` or `seeds=[1, 2]`.

    Returns:
        The checked sweep.

    Raises:
        ValueError: unreadable file, unknown key, empty grid, comparison of an unknown method or declared twice, a key
            that the sweep itself sets, a grid that would override a method.
    """
    where, overrides = "sweep" if isinstance(source, Mapping) else str(source), list(overrides)
    return _check_content(read_content(source, overrides=overrides), where=where, overrides=overrides)


def read_sweep(folder: Path) -> Sweep:
    """Read the sweep whose runs a folder holds; an earlier version may have written it.

    Args:
        folder: folder of the sweep.

    Returns:
        The checked sweep, with this folder as its output.

    Raises:
        ValueError: as `load_sweep`.
    """
    path = folder / SWEEP_FILE
    content = {**translate_old_values(read_content(path)), "output": str(folder)}
    return _check_content(content, where=str(path))


def _check_content(content: Mapping[str, Any], *, where: str, overrides: Sequence[str] = ()) -> Sweep:
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as error:
        origin = find_override(error, overrides) or where
        raise ValueError(f"{origin}: {describe_validation_error(error, Sweep)}") from None
    with name_key(where):
        check_sweep(sweep)
    return sweep


def plan_cells(sweep: Sweep, tuned: Mapping[tuple[str, str], Mapping[str, Any]] | None = None) -> list[Cell]:
    """List all cells of a sweep: seed by seed, so that every method has as many when it is stopped.

    Args:
        sweep: the sweep.
        tuned: chosen values of the tuned keys, by place and method; before tuning, cells have their first values.

    Returns:
        One entry per cell, without tuning runs.

    Raises:
        ValueError: a cell's recipe does not pass, or two cells would have the same folder.
    """
    cells: list[Cell] = []
    for task, setting, number, method in itertools.product(
        sweep.tasks, _list_settings(sweep.values_by_key), sweep.seeds, sweep.methods
    ):
        seed = derive_seed(setting[TEACHER_SEED], number) if sweep.teachers else number
        changes: Mapping[str, Any] = {}
        if sweep.tune.grid:
            changes = sweep.tune.combinations[0] if tuned is None else tuned[name_place(task, setting), method]
        cells.append(_plan_cell(sweep, task, setting, seed, method, changes=changes))
    _check_folders(sweep, cells)
    if (sweep.teachers or sweep.number_of_teachers > 1) and any(cell.recipe.teacher.base is None for cell in cells):
        key = "teachers" if sweep.teachers else f"grid.{TEACHER_SEED}"
        raise ValueError(f"{key}: {name_teacher(cells)} is one teacher, whatever its seed; give teacher.base.")
    for _, group in itertools.groupby(cells, key=lambda cell: cell.group):
        _check_shared(list(group))
    return cells


def plan_tuning_cells(sweep: Sweep) -> list[Cell]:
    """List the tuning runs of a sweep: every method with every combination and tuning seed, in every place.

    Args:
        sweep: the sweep.

    Returns:
        One entry per run, whose setting has the values; none without tuning.

    Raises:
        ValueError: as `plan_cells`.
    """
    tune, cells = sweep.tune, []
    values_by_key = {key: values for key, values in sweep.values_by_key.items() if key != TEACHER_SEED}
    settings = _list_settings({**values_by_key, **tune.grid}) if tune.grid else []
    changes = dict(list_dotted(tune.recipe))
    if tune.teacher is not None:
        changes[TEACHER_SEED] = tune.teacher
    for task, setting, seed, method in itertools.product(sweep.tasks, settings, tune.seeds, sweep.methods):
        tried = {key: setting[key] for key in tune.grid}
        cells.append(_plan_cell(sweep, task, setting, seed, method, changes={**changes, **tried}, is_tuning=True))
    _check_folders(sweep, cells)
    for _, group in itertools.groupby(cells, key=lambda cell: cell.group):
        _check_shared(list(group))
    return cells


def name_teacher(cells: Sequence[Cell]) -> str:
    """Name the key of a teacher that is not fine-tuned here.

    Args:
        cells: cells of a sweep, any of which has such a teacher.

    Returns:
        `teacher.path`, or the key of columns with its outputs.
    """
    without_base = next(cell.recipe for cell in cells if cell.recipe.teacher.base is None)
    return without_base.data.outputs_key or "teacher.path"


def select_teachers(cells: Sequence[Cell], teachers: Sequence[int]) -> list[Cell]:
    """Select the cells of some teachers, with every task, setting and method.

    Args:
        cells: cells of a sweep.
        teachers: seeds of the teachers.

    Returns:
        Their cells.

    Raises:
        ValueError: no cell has a teacher with this seed.
    """
    known = {cell.recipe.teacher.seed: None for cell in cells if cell.recipe.teacher.base is not None}
    if not known:
        raise ValueError(
            f"--block: {name_teacher(cells)} is one teacher, so the sweep is one block; leave the option out."
        )
    for teacher in teachers:
        if teacher not in known:
            seeds = ", ".join(map(str, known))
            raise ValueError(f"--block: the sweep has no teacher with seed {teacher}; its teachers have {seeds}.")
    return [cell for cell in cells if cell.recipe.teacher.base is not None and cell.recipe.teacher.seed in teachers]


def _list_settings(values_by_key: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values_by_key, values, strict=True)) for values in itertools.product(*values_by_key.values())]


def _plan_cell(
    sweep: Sweep,
    task: str,
    setting: Mapping[str, Any],
    seed: int,
    method: str,
    *,
    changes: Mapping[str, Any],
    is_tuning: bool = False,
) -> Cell:
    """Later parts of a sweep win: its recipe, the task, the method, the setting, and what the sweep itself sets."""
    values = [f"{key}={value}" for key, value in setting.items()]
    parts = [part for part in (TUNING * is_tuning, task, *values, method, f"seed-{seed}") if part]
    folder = Path(sweep.output, *map(slugify, parts))
    content = read_content(sweep.recipe)
    for key, value in [
        *list_dotted(sweep.tasks[task]),
        *list_dotted(sweep.methods[method]),
        *setting.items(),
        *changes.items(),
        *{"seed": seed, "overwrite": True, "output": str(folder)}.items(),
    ]:
        set_key(content, key, value)
    with name_key(f"cell {'/'.join(parts)}"):
        recipe = load_recipe(content)
    return Cell(task, method, setting, seed, recipe, folder, is_tuning)


def _check_folders(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Every cell has a folder of its own, which is none of the sweep's files."""
    folders = set()
    for cell in cells:
        first = cell.folder.relative_to(sweep.output).parts[0]
        if first in SWEEP_FILES or (first == TUNING and sweep.tune.grid and not cell.is_tuning):
            raise ValueError(f"{first!r} is a name that the sweep uses for its own files; rename the method or task.")
        if cell.folder in folders:
            raise ValueError(f"two runs of the sweep would have the folder {cell.folder}; rename a method or task.")
        folders.add(cell.folder)


def _check_shared(cells: Sequence[Cell]) -> None:
    """Methods that are compared have the same data and teacher; said before anything runs."""
    first = cells[0]
    ours = select_shared_keys(first.recipe)
    for other in cells[1:]:
        theirs = select_shared_keys(other.recipe)
        for key in {**ours, **theirs}:
            if ours.get(key) == theirs.get(key):
                continue
            hint = "move the key to tasks or grid"
            if key.startswith("trainer."):
                hint = f"to change only the students, set teacher.{key} for all methods"
            raise ValueError(
                f"methods {first.method!r} and {other.method!r} cannot be compared: they differ in {key}, so in data "
                f"or teacher; {hint}."
            )
