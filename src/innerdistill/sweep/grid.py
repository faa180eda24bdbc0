"""The grid of a sweep: sweep.yaml -> methods x tasks x settings x seeds. Every cell has a recipe and a folder.

YAML file -> Sweep (checked) -> Cells, in the order in which they run
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.recipe.loading import describe_validation_error, load_recipe, read_content, set_key
from innerdistill.recipe.recipe import Recipe, Section
from innerdistill.recipe.renames import translate_old_values
from innerdistill.support.files import slugify

SET_BY_SWEEP = {
    "seed": "a sweep has the list `seeds`.",
    "output": "a sweep has its own `output`, in which every run has a folder.",
    "overwrite": "in a sweep a run whose recipe has changed is always re-run.",
}
SWEEP_FILE, FAILED = "sweep.yaml", "failed.json"  # what was asked for, and why cells are missing, by their folder
LATENCY = "latency.json"  # how fast its models are
BLOCKS = "blocks"  # folder of the runs of finished blocks
SWEEP_FILES = {SWEEP_FILE, FAILED, LATENCY, BLOCKS, "report.html", "report.md", "table.tex", "cells.csv", "figures"}
SECTIONS = ("data", "teacher", "teacher.trainer", "student", "losses", "schedule", "trainer", "internal_trainer")
TEACHER_SEED = "teacher.seed"  # in a grid: the key of several teachers


class Sweep(Section):
    """A grid of runs. Every key of a recipe can be swept."""

    recipe: dict[str, Any] = Field(description="Recipe that all runs have in common.")
    methods: dict[str, dict[str, Any]] = Field(min_length=1, description="Changes of the recipe by method name.")
    tasks: dict[str, dict[str, Any]] = Field({"": {}}, min_length=1, description="Changes of the recipe by task name.")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="List of values by key of the recipe.")
    seeds: list[int] = Field(min_length=1, description="Random seeds. Every method runs with each of them.")
    compare: list[tuple[str, str]] = Field(
        default_factory=list, description="Declared comparisons: pairs of a method and its baseline."
    )
    margin: float | None = Field(
        None, gt=0, description="Difference in score below which two methods count as equivalent."
    )
    keep_models: bool = Field(True, description="Whether models of finished runs stay on disk.")
    output: str = Field("runs/sweep", description="Folder of the sweep, with a folder for every run.")

    @property
    def folder(self) -> Path:
        """Folder of the sweep."""
        return Path(self.output)

    @property
    def number_of_settings(self) -> int:
        """Combinations of the grid's values: settings of every task."""
        return math.prod(map(len, self.grid.values()))

    @property
    def number_of_teachers(self) -> int:
        """Seeds of the teacher in the grid; 1 without them."""
        return len(self.grid.get(TEACHER_SEED, [None]))

    @property
    def number_of_cells(self) -> int:
        """Runs of the whole grid."""
        return len(self.tasks) * self.number_of_settings * len(self.seeds) * len(self.methods)


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
    """

    task: str
    method: str
    setting: Mapping[str, Any]
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def group(self) -> str:
        """What it is compared within: task and setting."""
        return name_group(self.task, self.setting)

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


def is_sweep(path: str | Path) -> bool:
    """Whether a YAML file is a sweep, which has a `recipe` inside.

    Args:
        path: path of the file.

    Returns:
        True for a sweep.

    Raises:
        ValueError: the file cannot be read.
    """
    return "recipe" in read_content(path)


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


def load_sweep(path: str | Path, *, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep and apply overrides.

    Args:
        path: YAML file.
        overrides: strings `dotted.key=value`, for example `recipe.data.path=/data/CoLA` or `seeds=[1, 2]`.

    Returns:
        The checked sweep.

    Raises:
        ValueError: unreadable file, unknown key, empty grid, comparison of an unknown method or declared twice, a key
            that the sweep itself sets, a grid that would override a method.
    """
    return _check_sweep(read_content(path, overrides=overrides), where=str(path))


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
    return _check_sweep(content, where=str(path))


def _check_sweep(content: Mapping[str, Any], *, where: str) -> Sweep:
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{where}: {describe_validation_error(error, Sweep)}") from None
    try:
        _check_comparisons(sweep)
        _check_values(sweep)
        _check_keys(sweep)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return sweep


def plan_cells(sweep: Sweep) -> list[Cell]:
    """List all cells of a sweep: seed by seed, so that every method has as many when it is stopped.

    Args:
        sweep: the sweep.

    Returns:
        One entry per cell.

    Raises:
        ValueError: a cell's recipe does not pass, or two cells would have the same folder.
    """
    cells: dict[Path, Cell] = {}
    settings = [dict(zip(sweep.grid, values, strict=True)) for values in itertools.product(*sweep.grid.values())]
    for task, setting, seed, method in itertools.product(sweep.tasks, settings, sweep.seeds, sweep.methods):
        cell = _plan_cell(sweep, task, setting, seed, method)
        first = cell.folder.relative_to(sweep.output).parts[0]
        if first in SWEEP_FILES:
            raise ValueError(f"the sweep keeps {first} in its folder itself: give the method or task another name.")
        if cell.folder in cells:
            raise ValueError(
                f"two cells of the sweep would be in {cell.folder}: give methods, tasks and seeds other names."
            )
        cells[cell.folder] = cell
    if sweep.number_of_teachers > 1 and any(cell.recipe.teacher.base is None for cell in cells.values()):
        raise ValueError(f"grid.{TEACHER_SEED}: teacher.path is one teacher, whatever its seed; give teacher.base.")
    for _, group in itertools.groupby(cells.values(), key=lambda cell: cell.group):
        _check_shared(list(group))
    return list(cells.values())


def _plan_cell(sweep: Sweep, task: str, setting: Mapping[str, Any], seed: int, method: str) -> Cell:
    """Later parts of a sweep win: its recipe, the task, the method, the setting, and what the sweep itself sets."""
    values = [f"{key}={value}" for key, value in setting.items()]
    parts = [part for part in (task, *values, method, f"seed-{seed}") if part]
    folder = Path(sweep.output, *map(slugify, parts))
    changes = [*_dotted(sweep.tasks[task]), *_dotted(sweep.methods[method]), *setting.items()]
    changes += [("seed", seed), ("overwrite", True), ("output", str(folder))]
    content = read_content(sweep.recipe)
    for key, value in changes:
        set_key(content, key, value)
    try:
        recipe = load_recipe(content)
    except ValueError as error:
        raise ValueError(f"cell {'/'.join(parts)}: {error}") from None
    return Cell(task, method, setting, seed, recipe, folder)


def _check_comparisons(sweep: Sweep) -> None:
    """Every declared comparison is of two methods of the sweep, and declared once."""
    if not all(sweep.methods):
        raise ValueError("methods: one of them has no name.")
    declared: list[set[str]] = []
    for method, against in sweep.compare:
        for name in (method, against):
            if name not in sweep.methods:
                raise ValueError(f"compare: no method {name!r}; the methods are {', '.join(sweep.methods)}.")
        if method == against or {method, against} in declared:
            raise ValueError(f"compare: {method!r} with {against!r}: expected two methods, and each pair once.")
        declared.append({method, against})


def _check_values(sweep: Sweep) -> None:
    """Every list of values has some, and none of them twice."""
    lists = {f"grid.{key}": values for key, values in sweep.grid.items()}
    for key, values in {**lists, "seeds": sweep.seeds}.items():
        if not values:
            raise ValueError(f"{key}: it has no values.")
        written = [repr(value) for value in values]  # 1 is not true, and 0 is a value too
        for value in written:
            if written.count(value) > 1:
                raise ValueError(f"{key}: {value} stands there twice.")


def _check_keys(sweep: Sweep) -> None:
    """No key is given in a place from where it would not reach the runs."""
    tasks = {f"tasks.{task}": dict(_dotted(changes)) for task, changes in sweep.tasks.items()}
    methods = {f"methods.{method}": dict(_dotted(changes)) for method, changes in sweep.methods.items()}
    places: dict[str, Mapping[str, Any]] = {"recipe": sweep.recipe, "grid": sweep.grid, **tasks, **methods}
    for place, changes in places.items():
        for key in changes:
            if key in SET_BY_SWEEP:
                raise ValueError(f"{place}.{key}: {SET_BY_SWEEP[key]}")
    for (place, changes), section in itertools.product({**tasks, **methods}.items(), sweep.grid):
        if place in methods and section in changes:
            raise ValueError(f"grid.{section} would take back {place}.{section}; give it in one place.")
        for key in changes:
            if key.startswith(f"{section}."):
                raise ValueError(f"grid.{section} would take back {place}.{key}; name keys inside it in the grid.")


def _check_shared(cells: Sequence[Cell]) -> None:
    """Methods that are compared have the same data and teacher; said before anything runs."""
    first = cells[0]
    ours = select_shared_keys(first.recipe)
    for other in cells[1:]:
        theirs = select_shared_keys(other.recipe)
        for key in {**ours, **theirs}:
            if ours.get(key) == theirs.get(key):
                continue
            hint = "make it one of tasks or grid"
            if key.startswith("trainer."):
                hint = f"to change the students' alone, set teacher.{key} for all"
            raise ValueError(
                f"methods {first.method!r} and {other.method!r} have other values of {key}, so not the same data and "
                f"teacher, and cannot be compared; {hint}."
            )


def _dotted(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Changes of a method or a task, key by key.

    What is said of a part of a section leaves the rest of it as it is; an empty section clears it.

    >>> list(_dotted({"schedule.name": "sid", "schedule": {"threshold": 0.1}, "trainer": {}, "layer_map": {1: 2}}))
    [('schedule.name', 'sid'), ('schedule.threshold', 0.1), ('trainer', {}), ('layer_map', {1: 2})]
    """
    for name, value in changes.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and key in SECTIONS:
            yield from _dotted(value, f"{key}.")
        else:
            yield key, value
