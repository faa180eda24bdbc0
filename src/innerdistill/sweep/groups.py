"""Where the methods of a sweep are compared: within groups that share all but method and seed, or over teachers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from innerdistill.evaluation.scoring import beats_constant
from innerdistill.report.formatting import list_metrics
from innerdistill.report.record import Scores
from innerdistill.sweep.methods import SPLIT, Method
from innerdistill.sweep.statistics import Comparison

DECIMAL = re.compile(r"\d+\.\d+")


@dataclass
class Compared(ABC):
    """A place where declared comparisons are made.

    Attributes:
        name: of the place.
        task: name of the data set; empty if there is only one.
        setting: values of the swept keys.
        comparisons: what was declared, tested.
        untested: what was declared and could not be tested, since a method has not run with the seeds of the other.
    """

    name: str
    task: str
    setting: Mapping[str, Any]
    comparisons: list[Comparison] = field(default_factory=list, kw_only=True)
    untested: list[tuple[str, str]] = field(default_factory=list, kw_only=True)

    @property
    @abstractmethod
    def over(self) -> Literal["seeds", "teachers"]:
        """What the units are."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The primary metric."""

    @property
    @abstractmethod
    def is_above_chance(self) -> bool:
        """Whether its teachers beat the best constant answer by two standard errors; else nothing can be concluded."""

    @abstractmethod
    def units(self, *names: str) -> list[list[tuple[Group, int]]]:
        """What a test over this place counts, of some methods.

        Args:
            *names: of the methods.

        Returns:
            By unit the group and the seed of every run that all of the methods have.
        """

    def sentences(self) -> list[str]:
        """The declared comparisons in words."""
        if not self.is_above_chance:
            return ["The teacher is not clearly better than the best constant answer: nothing is concluded here."]
        return [comparison.sentence(self.metric) for comparison in self.comparisons] + self.not_run()

    def not_run(self) -> list[str]:
        """What was declared and could not be tested, in words."""
        return [
            f"{one} against {other}: declared, but not tested, since there is no seed with which both have run."
            for one, other in self.untested
        ]


@dataclass
class Group(Compared):
    """Runs of one task and setting, which differ in method and seed only, and share one teacher.

    Attributes:
        note: what the recipe says of the data.
        methods: by name.
        beside: the groups with other teachers that it is compared with; None where comparisons are made within it.
    """

    note: str = ""
    methods: dict[str, Method] = field(default_factory=dict)
    beside: OverTeachers | None = None

    @property
    def over(self) -> Literal["seeds", "teachers"]:
        """Its units are seeds."""
        return "seeds"

    def units(self, *names: str) -> list[list[tuple[Group, int]]]:
        """A run of each seed.

        Args:
            *names: of the methods.

        Returns:
            One pair by unit.
        """
        return [[(self, seed)] for seed in self.shared_seeds(*names)]

    def runs(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Folder and run.json of every run."""
        for method in self.methods.values():
            for seed, run in method.runs.items():
                yield method.folders[seed], run

    def shared_seeds(self, *names: str) -> list[int]:
        """Seeds that all of some methods have run with.

        Args:
            *names: of the methods.

        Returns:
            The seeds, ascending.
        """
        seeds = [set(self.methods[name].runs) if name in self.methods else set() for name in names]
        return sorted(set[int].intersection(*seeds))

    @property
    def any_run(self) -> dict[str, Any]:
        """One of the runs, for what all have in common."""
        return next(iter(self.methods.values())).first

    @property
    def metric(self) -> str:
        """The primary metric."""
        return str(self.any_run["data"]["metric"])

    @property
    def teacher(self) -> dict[str, Any]:
        """Scores of the teacher."""
        return dict(self.any_run["scores"][SPLIT]["teacher"])

    @property
    def metrics(self) -> list[str]:
        """Names, the primary one first."""
        return list_metrics(Scores.model_validate(self.teacher))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Layers of student and teacher that any method maps."""
        return sorted({pair for method in self.methods.values() for pair in method.distances})

    @property
    def is_above_chance(self) -> bool:
        """Whether its teacher does."""
        return beats_constant(self.teacher)

    @property
    def warnings(self) -> dict[str, int]:
        """What the runs say of their data and training, with the number of runs that say it, whatever its decimals."""
        said = [sentence for _, run in self.runs() for sentence in run["warnings"]]
        first = {DECIMAL.sub("", sentence): sentence for sentence in reversed(said)}
        return dict(Counter(first[DECIMAL.sub("", sentence)] for sentence in said))


@dataclass
class OverTeachers(Compared):
    """Groups that differ in the seed of their teacher only.

    Attributes:
        groups: one per teacher.
    """

    groups: list[Group] = field(default_factory=list)

    @property
    def over(self) -> Literal["seeds", "teachers"]:
        """Its units are teachers."""
        return "teachers"

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.groups[0].metric

    @property
    def is_above_chance(self) -> bool:
        """Whether all teachers do."""
        return all(group.is_above_chance for group in self.groups)

    def units(self, *names: str) -> list[list[tuple[Group, int]]]:
        """The runs of each teacher.

        Args:
            *names: of the methods.

        Returns:
            As many pairs by unit as the teacher's students of each method.
        """
        found = [[(group, seed) for seed in group.shared_seeds(*names)] for group in self.groups]
        return [unit for unit in found if unit]


def places(groups: Sequence[Group]) -> list[Compared]:
    """Where comparisons are made.

    Args:
        groups: of a sweep.

    Returns:
        The groups, and in place of those that differ in their teacher only what they are compared in, each once.
    """
    return list({id(place): place for group in groups for place in [group.beside or group]}.values())
