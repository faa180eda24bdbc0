"""The grid of a sweep: sweep.yaml -> methods x tasks x settings x seeds. Every cell has a recipe and a folder.

With `teachers`, every teacher is a setting, and has students with seeds of their own.

YAML file -> Sweep (checked) -> Cells, in the order in which they run
"""

from __future__ import annotations

import hashlib
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
TEACHER_SEED = "teacher.seed"  # in a setting: the key of several teachers
NUMBER_OF_SEEDS = 1_000_000  # derived seeds are below this


class Sweep(Section):
    """A grid of runs. Every key of a recipe can be swept."""

    recipe: dict[str, Any] = Field(description="Recipe that all runs have in common.")
    methods: dict[str, dict[str, Any]] = Field(min_length=1, description="Changes of the recipe by method name.")
    tasks: dict[str, dict[str, Any]] = Field({"": {}}, min_length=1, description="Changes of the recipe by task name.")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="List of values by key of the recipe.")
    teachers: list[int] = Field(
        default_factory=list,
        description="Seeds of several teachers. Each has students of its own: `seeds` then numbers them, and their "
        "random seeds are derived from both.",
    )
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
    def values_by_key(self) -> dict[str, list[Any]]:
        """Values of all swept keys, those of `teachers` among them."""
        return {TEACHER_SEED: list(self.teachers), **self.grid} if self.teachers else self.grid

    @property
    def number_of_settings(self) -> int:
        """Combinations of the swept values: settings of every task."""
        return math.prod(map(len, self.values_by_key.values()))

    @property
    def number_of_teachers(self) -> int:
        """Seeds of the teacher that are swept; 1 without them."""
        return len(self.values_by_key.get(TEACHER_SEED, [None]))

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


def derive_seed(teacher: int, number: int) -> int:
    """Derive the random seed of a student: SHA-256("teacher number") modulo 1,000,000, the same for every method.

    Two teachers that shared the seeds of their students would not be independent draws.

    Args:
        teacher: seed of the teacher.
        number: number of the student, one of the sweep's `seeds`.

    Returns:
        An integer from 0 to 999,999.

    >>> derive_seed(1, 1)
    897946
    """
    digest = hashlib.sha256(f"{teacher} {number}".encode()).hexdigest()
    return int(digest, 16) % NUMBER_OF_SEEDS


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
        _check_teachers(sweep)
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
    for task, setting, number, method in itertools.product(
        sweep.tasks, _list_settings(sweep), sweep.seeds, sweep.methods
    ):
        seed = derive_seed(setting[TEACHER_SEED], number) if sweep.teachers else number
        cell = _plan_cell(sweep, task, setting, seed, method)
        first = cell.folder.relative_to(sweep.output).parts[0]
        if first in SWEEP_FILES:
            raise ValueError(f"the sweep keeps {first} in its folder itself: give the method or task another name.")
        if cell.folder in cells:
            raise ValueError(
                f"two cells of the sweep would be in {cell.folder}: give methods, tasks and seeds other names."
            )
        cells[cell.folder] = cell
    if (sweep.teachers or sweep.number_of_teachers > 1) and any(
        cell.recipe.teacher.base is None for cell in cells.values()
    ):
        key = "teachers" if sweep.teachers else f"grid.{TEACHER_SEED}"
        raise ValueError(f"{key}: teacher.path is one teacher, whatever its seed; give teacher.base.")
    for _, group in itertools.groupby(cells.values(), key=lambda cell: cell.group):
        _check_shared(list(group))
    return list(cells.values())


def _list_settings(sweep: Sweep) -> list[dict[str, Any]]:
    values_by_key = sweep.values_by_key
    return [dict(zip(values_by_key, values, strict=True)) for values in itertools.product(*values_by_key.values())]


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
    for key, values in {**lists, "teachers": sweep.teachers, "seeds": sweep.seeds}.items():
        if not values and key != "teachers":
            raise ValueError(f"{key}: it has no values.")
        written = [repr(value) for value in values]  # 1 is not true, and 0 is a value too
        for value in written:
            if written.count(value) > 1:
                raise ValueError(f"{key}: {value} stands there twice.")


def _check_teachers(sweep: Sweep) -> None:
    """The seeds of several teachers are given in one place, and no two students have the same seed."""
    if not sweep.teachers:
        return
    tasks = {f"tasks.{task}": dict(_dotted(changes)) for task, changes in sweep.tasks.items()}
    methods = {f"methods.{method}": dict(_dotted(changes)) for method, changes in sweep.methods.items()}
    for place, changes in {"grid": sweep.grid, **tasks, **methods}.items():
        if TEACHER_SEED in changes:
            raise ValueError(f"{place}.{TEACHER_SEED}: the list `teachers` has the seeds of the teachers already.")
    students: dict[int, tuple[int, int]] = {}
    for teacher, number in itertools.product(sweep.teachers, sweep.seeds):
        first = students.setdefault(derive_seed(teacher, number), (teacher, number))
        if first != (teacher, number):
            raise ValueError(
                f"seeds: student {number} of teacher {teacher} and student {first[1]} of teacher {first[0]} would have "
                "the same random seed; give one of them another number."
            )


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
