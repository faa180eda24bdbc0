"""The numbers of a grid: which groups of a sweep differ in one number only, to be drawn and described along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from innerdistill.evaluation.metrics import show_metric
from innerdistill.report.formatting import format_share
from innerdistill.sweep.declaration import TEACHER_SEED
from innerdistill.sweep.grid import name_group
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import SELECTION, Method
from innerdistill.sweep.shares import describe_share
from innerdistill.sweep.trend import describe_trend

SIZE, ROWS = "student.num_layers", "data.train_rows"


@dataclass(frozen=True)
class Swept:
    """Groups that differ in the value of one key only, which is a number.

    Attributes:
        key: dotted key of a recipe.
        title: the task and the other settings; empty if there are none.
        groups: groups in the order of the values.
    """

    key: str
    title: str
    groups: list[Group]

    def describe(self) -> list[str]:
        """Describe how small a student can be, or how a difference changes with the number of training examples.

        Returns:
            For layers, a sentence per method: the share of the teacher's score that it keeps. For training examples, a
            sentence per declared comparison. Empty for other keys, and where a teacher is at chance.
        """
        if self.key == ROWS and all(group.is_above_chance for group in self.groups):
            return self._describe_trends()
        if not self._is_about_size():
            return []
        names: dict[str, Method] = {}
        for group in self.groups:
            names |= group.methods
        return [f"{self._prefix()}{self._describe_method(name)}" for name in names]

    def _describe_trends(self) -> list[str]:
        sizes = [float(group.first_record.data.rows["train"]) for group in self.groups]
        sentences = []
        for comparison in self.groups[0].comparisons:
            sentence = describe_trend(self.groups, sizes, comparison.method, comparison.against)
            sentences += [f"{self._prefix()}{sentence}"] if sentence else []
        return sentences

    def name_smallest(self) -> list[str]:
        """Name the size to choose by the score on selection, as Breiman et al. 1984 choose trees.

        Returns:
            A sentence about the smallest size within a standard error of the best. A second one if the teacher may not
            be the best of its size. Empty if the key is not the number of layers, or without teacher outputs.
        """
        if not self._is_about_size():
            return []
        first = self.groups[0]
        of_selection, teacher = first.get_metric(SELECTION), first.score_teacher(SELECTION)
        if teacher is None:
            return []
        error = teacher.standard_error
        students: list[tuple[Group, Method]] = []
        for group in self.groups:
            students += [(group, method) for method in group.methods.values()]
        on_selection = [method.score(of_selection, SELECTION).mean for _, method in students]
        enough = [
            student for student, score in zip(students, on_selection, strict=True) if score >= max(on_selection) - error
        ]
        fewest = min(group.setting[self.key] for group, _ in enough)
        smallest = [student for student in enough if student[0].setting[self.key] == fewest]
        group, method = max(smallest, key=lambda student: student[1].score(of_selection, SELECTION).mean)
        share = describe_share(group, method.name)
        text = f"within a standard error ({error:.3f}) of the best {show_metric(of_selection)} on selection"
        sentence = f"{self._prefix()}The smallest student {text}: {method.name} with {_count_layers(fewest)}. "
        sentence += f"It keeps {share} of the teacher's {first.metric_name} on validation."
        return [sentence, *self._compare_at_full_size(students)]

    def _compare_at_full_size(self, students: Sequence[tuple[Group, Method]]) -> list[str]:
        """A student of the teacher's size that scores clearly higher."""
        first = self.groups[0]
        metric, teacher = first.metric, first.teacher
        record = first.first_record.teacher
        assert record is not None
        assert teacher is not None
        scores = []
        for group, method in students:
            if group.setting[self.key] == record.layers:
                scores.append((method.score(metric).mean, method.name))
        if not scores or max(scores)[0] <= teacher.values[metric] + teacher.standard_error:
            return []
        score, name = max(scores)
        return [
            f"{self._prefix()}With the teacher's {record.layers} layers, {name} scores {score:.3f} and the teacher "
            f"{teacher.values[metric]:.3f} ± {teacher.standard_error:.3f} (not tested). A better teacher of this size "
            "may exist."
        ]

    def _is_about_size(self) -> bool:
        if self.key != SIZE or any(group.teacher is None or group.is_agreement for group in self.groups):
            return False
        return all(group.is_above_chance for group in self.groups)

    def _prefix(self) -> str:
        return f"{self.title}: " if self.title else ""

    def _describe_method(self, name: str) -> str:
        groups = [group for group in reversed(self.groups) if name in group.methods]
        teacher = groups[0].teacher
        assert teacher is not None
        seeds = [len(group.methods[name].runs) for group in groups]
        few_to_many = " to ".join(map(str, dict.fromkeys((min(seeds), max(seeds)))))
        facts = [f"{few_to_many} seed{'s' * (max(seeds) > 1)} each"]
        if collapsed := sum(group.methods[name].collapsed for group in groups):
            facts.append(f"{collapsed} student{'s' * (collapsed > 1)} predict{'s' * (collapsed == 1)} one class")
        facts.append(f"a constant answer has {format_share(teacher.constant, teacher)}")
        shares = ", ".join(self._describe_share(group, name) for group in groups)
        return f"Share of the teacher's {groups[0].metric_name}, {name}: {shares} ({'; '.join(facts)})."

    def _describe_share(self, group: Group, name: str) -> str:
        return f"{describe_share(group, name)} with {_count_layers(group.setting[self.key])}"


def _count_layers(layers: int) -> str:
    return f"{layers} layer{'s' if layers != 1 else ''}"


def find_swept_numbers(groups: Sequence[Group]) -> list[Swept]:
    """Find groups that can be drawn along one key of the grid, within one task and other settings.

    Args:
        groups: groups of a sweep.

    Returns:
        One entry for each key, task and other setting with at least two values. For training examples, null means all.
    """
    swept = []
    for key in dict.fromkeys(key for group in groups for key in group.setting if key != TEACHER_SEED):
        along = [group for group in groups if key in group.setting and group.beside is None]
        if key != ROWS and not all(is_number(group.setting[key]) for group in along):
            continue
        by_title: dict[str, list[Group]] = {}
        for group in along:
            others = {name: value for name, value in group.setting.items() if name != key}
            by_title.setdefault(name_group(group.task, others), []).append(group)
        for title, members in by_title.items():
            if key != ROWS:
                members.sort(key=lambda group, key=key: group.setting[key])  # type: ignore[misc]
            if len(members) > 1:
                swept.append(Swept(key, title, members))
    return swept


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are not.

    Args:
        value: value of a grid.

    Returns:
        True for a number.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)
