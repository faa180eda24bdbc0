"""Notes under the table of scores of a sweep: other orders on selection, and what methods differ in besides."""

from __future__ import annotations

import itertools
from typing import Any

from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import SELECTION, SPLIT

# Keys of which tables say where methods differ in them.
NAMED_KEYS = (
    "teacher.internal",
    "student.source",
    "student.head",
    "student.layers",
    "checkpoint",
    "trainer.learning_rate",
)


def compare_orders(group: Group) -> list[str]:
    """Say so where selection and validation order the methods differently; equal scores have no order.

    Args:
        group: runs of a task and setting.

    Returns:
        Two sentences; none where both have one order.
    """
    by_selection = _rank_methods(group, SELECTION)
    by_validation = _rank_methods(group, SPLIT)
    for better, worse in itertools.combinations(by_selection, 2):
        if by_selection[better] > by_selection[worse] and by_validation[better] < by_validation[worse]:
            return [
                "Selection and validation order the methods differently.",
                f"Best first, on selection: {'; '.join(by_selection)}. On validation: {'; '.join(by_validation)}.",
            ]
    return []


def _rank_methods(group: Group, split: str) -> dict[str, float]:
    """Mean score by method as tables show it, the best first."""
    scores = {}
    for name, method in group.methods.items():
        scores[name] = round(method.score(group.get_metric(split), split).mean, 4)
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def list_differences(group: Group) -> list[str]:
    """List how methods differ besides what is compared: start, checkpoint, learning rate; by their first runs.

    Args:
        group: runs of a task and setting.

    Returns:
        A sentence for each key in which they differ.
    """
    differences = []
    for key in NAMED_KEYS:
        methods: dict[str, list[str]] = {}
        for method in group.methods.values():
            value: Any = method.first_record.recipe.model_dump(mode="json")
            for part in key.split("."):
                value = value.get(part)
            methods.setdefault("not set" if value is None else str(value), []).append(method.name)
        if len(methods) > 1:
            values = ", ".join(f"{value} ({'; '.join(names)})" for value, names in methods.items())
            differences.append(f"Methods differ in {key}: {values}.")
    return differences
