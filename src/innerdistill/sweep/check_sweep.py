"""Is a sweep well declared? Every mistake is said before anything is planned, in a sentence that names the key."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from innerdistill.support.messages import suggest_name
from innerdistill.sweep.declaration import TEACHER_SEED, Sweep, Tuning, derive_seed, list_dotted

SET_BY_SWEEP = {
    "seed": "a sweep has the list `seeds`.",
    "output": "a sweep has its own `output`, in which every run has a folder.",
    "overwrite": "in a sweep a run whose recipe has changed is always re-run.",
}


def check_sweep(sweep: Sweep) -> None:
    """Check a sweep as far as that is possible without its recipes.

    Args:
        sweep: the sweep.

    Raises:
        ValueError: comparison of an unknown method or declared twice, a value listed twice, a key that the sweep
            itself sets or that is given in two places.
    """
    _check_comparisons(sweep)
    _check_values(sweep)
    _check_teachers(sweep)
    _check_keys(sweep)
    if sweep.tune != Tuning():
        _check_tuning(sweep)


def _list_places(sweep: Sweep) -> dict[str, Mapping[str, Any]]:
    """Changes of the recipe by the place where the sweep makes them: dotted keys with their values."""
    places: dict[str, Mapping[str, Any]] = {"grid": sweep.grid}
    places |= {f"tasks.{task}": dict(list_dotted(changes)) for task, changes in sweep.tasks.items()}
    return places | {f"methods.{method}": dict(list_dotted(changes)) for method, changes in sweep.methods.items()}


def _check_comparisons(sweep: Sweep) -> None:
    """Every declared comparison is of two methods of the sweep, and declared once."""
    if not all(sweep.methods):
        raise ValueError("methods: one of them has an empty name.")
    declared: list[set[str]] = []
    for method, against in sweep.compare:
        for name in (method, against):
            if name not in sweep.methods:
                raise ValueError(f"compare: no method {name!r}. {suggest_name(name, sweep.methods, kind='methods')}")
        if method == against or {method, against} in declared:
            raise ValueError(f"compare: {method!r} with {against!r}: expected two methods, and each pair once.")
        declared.append({method, against})


def _check_values(sweep: Sweep) -> None:
    """Every list of values has some, and none of them twice."""
    lists = {f"grid.{key}": values for key, values in sweep.grid.items()}
    tuned = {f"tune.grid.{key}": values for key, values in sweep.tune.grid.items()}
    optional = {"teachers": sweep.teachers, "tune.seeds": sweep.tune.seeds}
    for key, values in {**lists, **tuned, **optional, "seeds": sweep.seeds}.items():
        if not values and key not in optional:
            raise ValueError(f"{key}: it has no values.")
        written = [repr(value) for value in values]  # 1 is not true, and 0 is a value too
        for value in written:
            if written.count(value) > 1:
                raise ValueError(f"{key}: {value} is listed twice.")


def _check_teachers(sweep: Sweep) -> None:
    """The seeds of several teachers are given in one place, and no two students have the same seed."""
    if not sweep.teachers:
        return
    for place, changes in _list_places(sweep).items():
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
    places = _list_places(sweep)
    tuning = {"tune.grid": sweep.tune.grid, "tune.recipe": sweep.tune.recipe}
    for place, changes in {"recipe": sweep.recipe, **places, **tuning}.items():
        for key in changes:
            if key in SET_BY_SWEEP:
                raise ValueError(f"{place}.{key}: {SET_BY_SWEEP[key]}")
    del places["grid"]
    for (place, changes), section in itertools.product(places.items(), sweep.grid):
        if place.startswith("methods.") and section in changes:
            raise ValueError(f"grid.{section} would overwrite {place}.{section}; give it in one place.")
        for key in changes:
            if key.startswith(f"{section}."):
                raise ValueError(f"grid.{section} would overwrite {place}.{key}; name keys inside it in the grid.")


def _check_tuning(sweep: Sweep) -> None:
    """What is tuned is given nowhere else, with seeds and a teacher that are not reported."""
    tune = sweep.tune
    if not tune.grid:
        raise ValueError("tune.grid: expected a key with the values to try, such as trainer.learning_rate.")
    for key, values in tune.grid.items():
        if len(values) < 2:
            raise ValueError(f"tune.grid.{key}: expected at least two values to choose from.")
    if not tune.seeds:
        raise ValueError("tune.seeds: name the seeds of the tuning runs; they are not reported.")
    places = {**_list_places(sweep), "tune.recipe": dict(list_dotted(tune.recipe))}
    for (place, changes), tuned in itertools.product(places.items(), tune.grid):
        for key in changes:
            if f"{key}.".startswith(f"{tuned}.") or f"{tuned}.".startswith(f"{key}."):
                raise ValueError(f"tune.grid.{tuned}: {place}.{key} sets it already; give it in one place.")
    for outer, inner in itertools.permutations(tune.grid, 2):
        if inner.startswith(f"{outer}."):
            raise ValueError(f"tune.grid.{outer}: tune.grid.{inner} is a part of it; give it in one place.")
    reported = _list_seeds(sweep)
    for seed in tune.seeds:
        if seed in reported:
            raise ValueError(f"tune.seeds: {seed} is a seed of the sweep's own runs; tune with others.")


def _list_seeds(sweep: Sweep) -> set[int]:
    """Seeds of the students that are reported, and the numbers that they are derived from."""
    derived = {derive_seed(teacher, number) for teacher in sweep.teachers for number in sweep.seeds}
    return {*sweep.seeds, *derived}
