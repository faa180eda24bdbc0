"""The numbers of a grid: which groups of a sweep differ in one of them only, to be drawn and said along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from innerdistill.results.card import kept
from innerdistill.results.sweep_results import Group


@dataclass(frozen=True)
class Swept:
    """Groups that differ in the value of one key only, which is a number.

    Attributes:
        key: dotted.
        title: the task and the other settings; empty if there are none.
        groups: in the order of the values.
    """

    key: str
    title: str
    groups: list[Group]

    def sentences(self) -> list[str]:
        """How small a student can be: what each method keeps of the teacher's score; empty for other keys."""
        if self.key != "student.num_layers" or not all(group.is_above_chance for group in self.groups):
            return []
        metric, found = self.groups[0].metric, []
        for name in dict.fromkeys(name for group in self.groups for name in group.methods):
            having = [group for group in reversed(self.groups) if name in group.methods]
            shares = [kept(group.methods[name].score(metric).mean, group.teacher[metric]) for group in having]
            first, *others = (
                f"{share} with {group.setting[self.key]}" for share, group in zip(shares, having, strict=True)
            )
            said = first.replace(" with ", f" of the teacher's {metric} with ")
            layer = "layer" if having[0].setting[self.key] == 1 else "layers"
            found.append(
                ", ".join([f"{self.title}: " * bool(self.title) + f"{name} keeps {said} {layer}", *others]) + "."
            )
        return found


def swept_numbers(groups: Sequence[Group]) -> list[Swept]:
    """What can be drawn against a number: groups along every key of the grid, within one task and the other settings.

    Args:
        groups: of a sweep.

    Returns:
        Those of at least two values; of training rows, null means all.
    """
    found = []
    for key in dict.fromkeys(key for group in groups for key in group.setting):
        having = [group for group in groups if key in group.setting]
        if key != "data.train_rows" and not all(is_number(group.setting[key]) for group in having):
            continue

        def rest(group: Group, key: str = key) -> tuple[str, str]:
            return group.task, repr({name: value for name, value in group.setting.items() if name != key})

        for (task, _), members in groupby(sorted(having, key=rest), key=rest):
            alike = list(members)
            others = {name: value for name, value in alike[0].setting.items() if name != key}
            title = ", ".join([*filter(None, [task]), *(f"{name}={value}" for name, value in others.items())])
            if key != "data.train_rows":
                alike.sort(key=lambda group, key=key: group.setting[key])  # type: ignore[misc]
            found.append(Swept(key, title, alike))
    return [swept for swept in found if len(swept.groups) > 1]


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none.

    Args:
        value: of a grid.

    Returns:
        Whether it is.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)
