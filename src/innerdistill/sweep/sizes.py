"""The numbers of a grid: which groups of a sweep differ in one of them only, to be drawn and said along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from innerdistill.report.formatting import format_share
from innerdistill.sweep.grid import TEACHER_SEED, name_group
from innerdistill.sweep.groups import Group


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
        names = dict.fromkeys(name for group in self.groups for name in group.methods)
        return [(f"{self.title}: " if self.title else "") + self._kept_by(name) for name in names]

    def smallest(self) -> list[str]:
        """The size to choose by the score on selection, where the number is that of layers; empty for other keys.

        The smallest one within a standard error of the best, as Breiman et al. 1984 choose trees.
        """
        if self.key != "student.num_layers" or not all(group.is_above_chance for group in self.groups):
            return []
        metric = self.groups[0].metric
        sizes = [(group, method) for group in self.groups for method in group.methods.values()]
        error = self.groups[0].any_run["scores"]["selection"]["teacher"]["standard_error"]
        best = max(method.score(metric, "selection").mean for _, method in sizes)
        enough = [pair for pair in sizes if pair[1].score(metric, "selection").mean >= best - error]
        least = min(group.setting[self.key] for group, _ in enough)
        group, method = max(
            (pair for pair in enough if pair[0].setting[self.key] == least),
            key=lambda pair: pair[1].score(metric, "selection").mean,
        )
        of = f"{self.title}: " if self.title else ""
        share = format_share(method.score(metric).mean, group.teacher[metric])
        said = [
            f"{of}The smallest within a standard error ({error:.3f}) of the best {metric} on selection has {least} "
            f"layers, by {method.name}; it keeps {share} of the "
            "teacher's on validation."
        ]
        layers, teacher = group.any_run["teacher"]["layers"], group.teacher
        scores = [(method.score(metric).mean, method.name) for one, method in sizes if one.setting[self.key] == layers]
        if scores and max(scores)[0] > teacher[metric] + teacher["standard_error"]:
            score, name = max(scores)
            said.append(
                f"{of}With the teacher's {layers} layers {name} scores {score:.3f}, the teacher "
                f"{teacher[metric]:.3f} ± {teacher['standard_error']:.3f} (not tested): it may not be the best of its "
                "size."
            )
        return said

    def _kept_by(self, name: str) -> str:
        having = [group for group in reversed(self.groups) if name in group.methods]
        metric, shares = self.groups[0].metric, []
        for group in having:
            score, best = group.methods[name].score(metric), group.teacher[metric]
            error = "" if score.deviation is None else f" ± {100 * score.deviation / best:.1f}"
            shares.append(f"{100 * score.mean / best:.1f}{error} % with {group.setting[self.key]}")
        seeds = [len(group.methods[name].runs) for group in having]
        said = [f"{' to '.join(map(str, dict.fromkeys((min(seeds), max(seeds)))))} seed{'s' * (max(seeds) > 1)} each"]
        if collapsed := sum(group.methods[name].collapsed for group in having):
            said.append(f"{collapsed} students give one answer")
        said.append(
            f"the best constant answer has {format_share(having[0].teacher['constant'], having[0].teacher[metric])}"
        )
        return f"Of the teacher's {metric} {name} keeps, by layers, {', '.join(shares)} ({'; '.join(said)})."


def swept_numbers(groups: Sequence[Group]) -> list[Swept]:
    """What can be drawn against a number: groups along every key of the grid, within one task and the other settings.

    Args:
        groups: of a sweep.

    Returns:
        Those of at least two values and one teacher, but for its seeds; of training rows, null means all.
    """
    found: list[Swept] = []
    for key in dict.fromkeys(key for group in groups for key in group.setting if key != TEACHER_SEED):
        having = [group for group in groups if key in group.setting and group.beside is None]
        if key != "data.train_rows" and not all(is_number(group.setting[key]) for group in having):
            continue
        alike: dict[str, list[Group]] = {}
        for group in having:
            others = {name: value for name, value in group.setting.items() if name != key}
            alike.setdefault(name_group(group.task, others), []).append(group)
        for title, members in alike.items():
            if key != "data.train_rows":
                members.sort(key=lambda group, key=key: group.setting[key])  # type: ignore[misc]
            found.append(Swept(key, title, members))
    return [swept for swept in found if len(swept.groups) > 1]


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none.

    Args:
        value: of a grid.

    Returns:
        Whether it is.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)
