"""Where the methods of a sweep are compared: within groups that share all but method and seed, or over teachers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers, collect_answers, count_rarest, join_answers
from innerdistill.evaluation.labelled_examples import LabelledExamples, sum_groups
from innerdistill.evaluation.metrics import show_metric
from innerdistill.evaluation.pseudo_values import compute_pseudo_values
from innerdistill.report.formatting import list_metrics
from innerdistill.report.record import RunRecord, Scores
from innerdistill.report.stored_run import StoredRun
from innerdistill.sweep.methods import SPLIT, Method, read_validation
from innerdistill.sweep.statistics import Comparison, Over
from innerdistill.sweep.wording import describe_comparison

Unit = Sequence[tuple["Group", int]]  # the runs that a test counts as one: group and seed of each
DECIMAL = re.compile(r"\d+\.\d+")


@dataclass
class Compared(ABC):
    """A place where declared comparisons are tested.

    Attributes:
        name: name of the place.
        task: name of the data set; empty if there is only one.
        setting: values of the swept keys.
        comparisons: declared comparisons that were tested.
        untested: declared comparisons of methods that have no seed in common.
        are_seeds_shared: whether it has several teachers, whose students all have the same seeds.
        asked: share of their teacher's score that students are asked to keep; None if none was given.
    """

    name: str
    task: str
    setting: Mapping[str, Any]
    comparisons: list[Comparison] = field(default_factory=list, kw_only=True)
    untested: list[tuple[str, str]] = field(default_factory=list, kw_only=True)
    are_seeds_shared: bool = field(default=False, kw_only=True)
    asked: float | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def over(self) -> Over:
        """What the units of a test are."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The primary metric."""

    @property
    def metric_name(self) -> str:
        """The primary metric's name for people."""
        return show_metric(self.metric)

    @property
    @abstractmethod
    def is_above_chance(self) -> bool:
        """Whether its teachers beat the constant answer by two standard errors; else nothing can be concluded."""

    @abstractmethod
    def list_units(self, *methods: str) -> list[Unit]:
        """List the units of a test.

        Args:
            *methods: names of methods.

        Returns:
            For each unit, group and seed of every run that all of the methods have.
        """

    @property
    @abstractmethod
    def first_group(self) -> Group:
        """One of its groups, for what all have in common."""

    @abstractmethod
    def list_methods(self) -> list[str]:
        """List the methods that have run.

        Returns:
            Their names, each once.
        """

    def find_full_size(self) -> str | None:
        """Find the method whose students have as many layers as the teacher.

        Returns:
            Its name; of several, the first; None if there is none.
        """
        teacher = self.first_group.first_record.teacher
        for name, method in self.first_group.methods.items():
            if teacher is not None and method.first_record.student.layers == teacher.layers:
                return name
        return None

    @staticmethod
    def read_unit(unit: Unit, method: str) -> Answers:
        """Read what the students of all runs of a unit answer.

        Args:
            unit: group and seed of each run.
            method: name of the method.

        Returns:
            Their answers to the validation examples.

        Raises:
            ValueError: predictions are missing or damaged, or of other examples.
        """
        return join_answers([group.methods[method].read_answers(seed) for group, seed in unit])

    def describe_comparisons(self) -> list[str]:
        """Describe the declared comparisons in words.

        Returns:
            A sentence for each.
        """
        if not self.is_above_chance:
            return ["The teacher is not clearly better than a constant answer: nothing is concluded here."]
        tested = [describe_comparison(comparison, self.metric_name) for comparison in self.comparisons]
        return tested + self.describe_untested()

    def describe_untested(self) -> list[str]:
        """Describe the declared comparisons that could not be tested.

        Returns:
            A sentence for each.
        """
        return [
            f"{method} against {against}: not tested, because no seed has run with both."
            for method, against in self.untested
        ]


@dataclass
class Group(Compared):
    """Runs of one task and setting, which differ in method and seed only, and share one teacher.

    Attributes:
        note: which examples count as one, and what the recipe says of the data.
        methods: methods by name.
        beside: the groups with other teachers that it is compared with; None where comparisons are tested within it.
    """

    note: str = ""
    methods: dict[str, Method] = field(default_factory=dict)
    beside: OverTeachers | None = None

    @property
    def over(self) -> Over:
        """Its units are seeds."""
        return "seeds"

    def list_units(self, *methods: str) -> list[Unit]:
        """List the seeds that all methods have run with, each a unit of one run."""
        return [[(self, seed)] for seed in self.list_shared_seeds(*methods)]

    @property
    def first_group(self) -> Group:
        """Itself."""
        return self

    def list_methods(self) -> list[str]:
        """List the methods that have run."""
        return list(self.methods)

    def list_runs(self) -> Iterator[StoredRun]:
        """List all runs, method by method.

        Yields:
            Finished runs.
        """
        for method in self.methods.values():
            yield from method.runs.values()

    def list_shared_seeds(self, *methods: str) -> list[int]:
        """List the seeds that all of some methods have run with.

        Args:
            *methods: names of methods.

        Returns:
            The seeds, ascending.
        """
        seeds = [set(self.methods[name].runs) if name in self.methods else set() for name in methods]
        return sorted(set[int].intersection(*seeds))

    @property
    def first_record(self) -> RunRecord:
        """Record of one of the runs, for what all have in common."""
        return next(iter(self.methods.values())).first_record

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.first_record.data.metric

    def get_metric(self, split: str) -> str:
        """Get the primary metric on a split: without labels, the agreement with the teacher.

        Args:
            split: name of the split.

        Returns:
            Its name.
        """
        return self.first_record.get_metric(split)

    @property
    def teacher(self) -> Scores | None:
        """Scores of the teacher; None where its outputs are columns that validation lacks."""
        return self.score_teacher(SPLIT)

    @property
    def first_scores(self) -> Scores:
        """Scores of one of the students: what they measure is the same for all models."""
        return self.first_record.scores[SPLIT].student

    @property
    def is_agreement(self) -> bool:
        """Whether validation has no labels, so that scores are the agreement with the teacher."""
        return self.first_scores.is_agreement

    def score_teacher(self, split: str) -> Scores | None:
        """Look up the scores of the teacher.

        Args:
            split: name of the split.

        Returns:
            Its scores on that split; None where its outputs are columns that the split lacks.
        """
        return next(self.list_runs()).score_teacher(split)

    @cached_property
    def _validation(self) -> dict[str, NDArray[Any]]:
        """Labels and outputs of the teacher on the validation examples."""
        return read_validation(next(self.list_runs()))

    @cached_property
    def examples(self) -> LabelledExamples:
        """The validation examples that have a label, N of them."""
        scoring = self.first_record.data.scoring
        examples = LabelledExamples.from_columns(self._validation, scoring=scoring)
        return scoring.select_labelled(examples)

    @cached_property
    def right_answers(self) -> NDArray[Any]:
        """The labels of these examples, numbered as the answers of models are, as an array (N,)."""
        return self.first_record.data.scoring.predictions.identify(self.examples.labels)

    @cached_property
    def rarest_class(self) -> int | None:
        """Validation examples of the rarest class that occurs, or groups of them; None where labels are no classes."""
        return count_rarest(self.examples, scoring=self.first_record.data.scoring)

    @cached_property
    def teacher_answers(self) -> Answers:
        """Predictions and pseudo-values of the teacher on the validation examples."""
        columns, scoring = self._validation, self.first_record.data.scoring
        examples = LabelledExamples.from_columns(columns, scoring=scoring)
        return collect_answers(examples, columns["teacher"], scoring=scoring)

    @cached_property
    def constant_values(self) -> NDArray[np.float64]:
        """Pseudo-values of the constant answer by example or group of examples, as an array (G,)."""
        scoring, labels = self.first_record.data.scoring, self.examples.labels
        values = compute_pseudo_values(labels, scoring.answer_constant(labels), scoring=scoring)
        return sum_groups(values, self.examples.groups)

    @property
    def has_several_seeds(self) -> bool:
        """Whether any method has run with several seeds, so that its scores have a standard deviation."""
        return any(len(method.runs) > 1 for method in self.methods.values())

    @property
    def metrics(self) -> list[str]:
        """Names, the primary one first."""
        return list_metrics(self.first_scores)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Layers of student and teacher that any method maps."""
        return sorted({pair for method in self.methods.values() for pair in method.distances})

    @property
    def is_above_chance(self) -> bool:
        """Whether its teacher beats the constant answer; True where nothing is known of it."""
        return self.teacher is None or self.teacher.beats_constant

    @property
    def warnings(self) -> dict[str, int]:
        """Number of runs by warning; warnings that differ only in their decimals count as one."""
        wording: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for run in self.list_runs():
            for sentence in run.record.warnings:
                counts[wording.setdefault(DECIMAL.sub("", sentence), sentence)] += 1
        return dict(counts)


@dataclass
class OverTeachers(Compared):
    """Groups that differ in the seed of their teacher only.

    Attributes:
        groups: one per teacher.
    """

    groups: list[Group] = field(default_factory=list)

    @property
    def over(self) -> Over:
        """Its units are teachers."""
        return "teachers"

    @property
    def first_group(self) -> Group:
        """That of the first teacher."""
        return self.groups[0]

    def list_methods(self) -> list[str]:
        """List the methods that have run with any teacher."""
        return list(dict.fromkeys(name for group in self.groups for name in group.methods))

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.groups[0].metric

    @property
    def is_above_chance(self) -> bool:
        """Whether all teachers beat the constant answer."""
        return all(group.is_above_chance for group in self.groups)

    def list_units(self, *methods: str) -> list[Unit]:
        """List the teachers, each a unit of the runs of its students.

        Where seeds are shared, only those count that all of these teachers have.
        """
        seeds_by_group = [(group, group.list_shared_seeds(*methods)) for group in self.groups]
        known = [(group, seeds) for group, seeds in seeds_by_group if seeds]
        if self.are_seeds_shared and known:
            shared = set.intersection(*(set(seeds) for _, seeds in known))
            known = [(group, sorted(shared)) for group, _ in known if shared]
        return [[(group, seed) for seed in seeds] for group, seeds in known]


def list_places(groups: Sequence[Group]) -> list[Compared]:
    """List where comparisons are tested.

    Args:
        groups: groups of a sweep.

    Returns:
        The groups, and in place of those that differ in their teacher only what they are compared in, each once.
    """
    places: list[Compared] = []
    for group in groups:
        place = group.beside or group
        if not any(place is other for other in places):
            places.append(place)
    return places
