"""What a sweep declares: the content of sweep.yaml, with a type, a default and a meaning for every key."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from innerdistill.recipe.recipe import Section

SWEEP_FILE, FAILED = "sweep.yaml", "failed.json"  # what was asked for, and why cells are missing, by their folder
LATENCY = "latency.json"  # how fast its models are
DATA_FILES = "data_files.json"  # checksums of the data that its runs have read
BLOCKS = "blocks"  # folder of the runs of finished blocks
TUNING = "tuning"  # folder of the tuning runs, and how the names of their blocks begin
REPORTS = {"report.html", "report.md", "table.tex", "cells.csv", "figures"}
SWEEP_FILES = {SWEEP_FILE, FAILED, LATENCY, DATA_FILES, BLOCKS} | REPORTS
SECTIONS = ("data", "teacher", "teacher.trainer", "student", "losses", "schedule", "trainer", "internal_trainer")
TEACHER_SEED = "teacher.seed"  # in a setting: the key of several teachers
NUMBER_OF_SEEDS = 1_000_000  # derived seeds are below this


class Tuning(Section):
    """Tuning runs: every method tries the same values of some keys, and keeps the best on the selection split."""

    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Keys of the recipe with the values that every method tries, in all combinations.",
    )
    seeds: list[int] = Field(
        default_factory=list, description="Random seeds of the tuning runs, which are not reported."
    )
    teacher: int | None = Field(
        None, description="Seed of the tuning runs' teacher (default: `teacher.seed` of the recipe)."
    )
    recipe: dict[str, Any] = Field(
        default_factory=dict, description="Changes of the recipe in tuning runs only, such as fewer steps."
    )

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """What is chosen from: values by key, in the order in which they are listed; none without tuning."""
        values = itertools.product(*self.grid.values()) if self.grid else []
        return [dict(zip(self.grid, combination, strict=True)) for combination in values]


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
    tune: Tuning = Tuning()
    compare: list[tuple[str, str]] = Field(
        default_factory=list, description="Declared comparisons: pairs of a method and its baseline."
    )
    margin: float | None = Field(
        None, gt=0, description="Difference in score below which two methods count as equivalent."
    )
    share: float | None = Field(
        None, gt=0, description="Share of its teacher's score that a student is asked to keep, such as 0.98."
    )
    keep_models: bool = Field(
        True,
        description="Whether models of finished runs stay on disk. If not, one of each size stays until it is timed.",
    )
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


def list_dotted(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Changes of a method or a task, key by key.

    What is said of a part of a section leaves the rest of it as it is; an empty section clears it.

    >>> list(list_dotted({"schedule.name": "sid", "schedule": {"threshold": 0.1}, "trainer": {}, "layer_map": {1: 2}}))
    [('schedule.name', 'sid'), ('schedule.threshold', 0.1), ('trainer', {}), ('layer_map', {1: 2})]
    """
    for name, value in changes.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and key in SECTIONS:
            yield from list_dotted(value, f"{key}.")
        else:
            yield key, value
