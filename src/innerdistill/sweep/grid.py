"""The grid of a sweep: sweep.yaml -> methods x tasks x settings x seeds, every cell a recipe of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from innerdistill.recipe.identity import list_differences, select_shared_keys
from innerdistill.recipe.recipe import Recipe, Section, load_recipe, read_content, sentence
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.output_folder import is_finished
from innerdistill.report.run_folder import PREDICTIONS, read_run
from innerdistill.support.files import slugify
from innerdistill.sweep.methods import TEACHER_SEED, Cell

SET_BY_SWEEP = {
    "seed": "a sweep has the list `seeds`.",
    "output": "a sweep has its own `output`, in which every run has a folder.",
    "overwrite": "in a sweep a run whose recipe has changed is always made again.",
}
SWEEP_FILE, FAILED = "sweep.yaml", "failed.json"  # what was asked for, and why cells are missing, by their folder
SWEEP_FILES = {SWEEP_FILE, FAILED, "report.html", "report.md", "table.tex", "cells.csv", "figures"}
SECTIONS = ("data", "teacher", "teacher.trainer", "student", "losses", "schedule", "trainer", "internal_trainer")


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
    keep_models: bool = Field(True, description="false: a finished run loses its model; all else stays")
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
        changed = self.changed_keys()
        return changed is not None and not changed

    def changed_keys(self) -> list[str] | None:
        """In what its recipe differs from that of the complete run in its folder; None if there is none."""
        try:
            found = read_run(self.cell.folder)["recipe"]
        except ValueError:
            return None
        complete = is_finished(self.cell.folder, self.recipe) and (self.cell.folder / PREDICTIONS).is_file()
        return list_differences(found, self.recipe) if complete else None


def load_sweep(path: str | Path, *, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep and apply overrides.

    Args:
        path: YAML file.
        overrides: strings `dotted.key=value`, for example `recipe.data.path=/data/CoLA` or `seeds=[1, 2]`.

    Returns:
        The checked sweep.

    Raises:
        ValueError: unreadable file, unknown key, an empty grid, a comparison of a method that is not there or that is
            made twice, a key that the sweep itself sets, a grid that would take back what a method says.
    """
    try:
        sweep = Sweep.model_validate(read_content(path, overrides=overrides))
    except ValidationError as error:
        raise ValueError(f"{path}: {sentence(error, Sweep)}") from None
    for method in itertools.chain.from_iterable(sweep.compare):
        if method not in sweep.methods:
            raise ValueError(f"{path}: compare: no method {method!r}; the methods are {', '.join(sweep.methods)}.")
    for number, (method, against) in enumerate(sweep.compare):
        if method == against or {method, against} in [set(pair) for pair in sweep.compare[:number]]:
            raise ValueError(f"{path}: compare: {method!r} with {against!r}: expected two methods, and each pair once.")
    for key, values in {**{f"grid.{key}": values for key, values in sweep.grid.items()}, "seeds": sweep.seeds}.items():
        if not values:
            raise ValueError(f"{path}: {key}: it has no values.")
        written = [repr(value) for value in values]  # 1 is not true, and 0 is a value too
        if twice := next((one for one in written if written.count(one) > 1), None):
            raise ValueError(f"{path}: {key}: {twice} stands there twice.")
    if not all(sweep.methods):
        raise ValueError(f"{path}: methods: one of them has no name.")
    _check_keys(sweep, where=str(path))
    return sweep


def _check_keys(sweep: Sweep, *, where: str) -> None:
    """No key is given in a place from where it would not reach the runs."""
    named = {**{f"tasks.{task}": dict(_dotted(keys)) for task, keys in sweep.tasks.items()},
             **{f"methods.{method}": dict(_dotted(keys)) for method, keys in sweep.methods.items()}}  # fmt: skip
    for place, keys in {"recipe": sweep.recipe, "grid": sweep.grid, **named}.items():
        for key in (key for key in keys if key in SET_BY_SWEEP):
            raise ValueError(f"{where}: {place}.{key}: {SET_BY_SWEEP[key]}")
    for (place, keys), section in itertools.product(named.items(), sweep.grid):
        if place.startswith("methods.") and section in keys:
            raise ValueError(f"{where}: grid.{section} would take back {place}.{section}; give it in one place.")
        if lost := next((key for key in keys if key.startswith(f"{section}.")), None):
            raise ValueError(
                f"{where}: grid.{section} would take back {place}.{lost}; name keys inside it in the grid."
            )


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
        folder = Path(sweep.output, *(slugify(part) for part in parts if part))
        first = folder.relative_to(sweep.output).parts[0]
        if first in SWEEP_FILES:
            raise ValueError(f"the sweep keeps {first} in its folder itself: give the method or task another name.")
        if folder in planned:
            raise ValueError(f"two cells of the sweep would be in {folder}: give methods, tasks and seeds other names.")
        own = {"seed": seed, "overwrite": True, "output": str(folder)}
        named = [*_dotted(sweep.tasks[task]), *_dotted(sweep.methods[method])]
        changes = [*named, *setting.items(), *own.items()]
        overrides = [f"{key}={write_yaml(value, one_line=True)}" for key, value in changes]
        try:
            recipe = load_recipe(sweep.recipe, overrides=overrides)
        except ValueError as error:
            raise ValueError(f"cell {'/'.join(filter(None, parts))}: {error}") from None
        planned[folder] = Planned(Cell(task, method, setting, seed, folder, recipe.data.note or ""), recipe)
    if len(sweep.grid.get(TEACHER_SEED, [])) > 1 and any(one.recipe.teacher.base is None for one in planned.values()):
        raise ValueError(f"grid.{TEACHER_SEED}: teacher.path is one teacher, whatever its seed; give teacher.base.")
    for _, group in itertools.groupby(planned.values(), key=lambda entry: entry.cell.group):
        _check_shared(list(group))
    return list(planned.values())


def _check_shared(planned: Sequence[Planned]) -> None:
    """Methods that are compared have the same data and teacher; said before anything runs."""
    first = planned[0]
    for other in planned[1:]:
        ours, theirs = (select_shared_keys(entry.recipe) for entry in (first, other))
        if keys := [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]:
            hint = keys[0].startswith("trainer.") and f"; to change the students' alone, set teacher.{keys[0]} for all"
            raise ValueError(
                f"methods {first.cell.method!r} and {other.cell.method!r} have other values of {keys[0]}, so not the "
                f"same data and teacher, and cannot be compared{hint or '; make it one of tasks or grid'}."
            )


def _dotted(changes: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Changes of a method or a task, key by key.

    What is said of a part of a section leaves the rest of it as it is; an empty section clears it.

    >>> _dotted({"schedule.name": "sid", "schedule": {"threshold": 0.1}, "trainer": {}, "layer_map": {1: 2}})
    [('schedule.name', 'sid'), ('schedule.threshold', 0.1), ('trainer', {}), ('layer_map', {1: 2})]
    """
    found = []
    for name, value in changes.items():
        key = f"{prefix}{name}"
        found += _dotted(value, f"{key}.") if isinstance(value, dict) and value and key in SECTIONS else [(key, value)]
    return found
