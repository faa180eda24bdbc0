"""The runs of one method of a sweep: means and standard deviations over seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.answers import Answers, collect_answers
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.losses.names import COSINES
from innerdistill.report.record import LayerDistance, RunRecord, TrainedStage
from innerdistill.report.stored_run import StoredRun

SPLIT, SELECTION = "validation", "selection"
COUNTS = (
    "teacher_right_student_right",
    "teacher_right_student_wrong",
    "teacher_wrong_student_right",
    "teacher_wrong_student_wrong",
)


@dataclass(frozen=True)
class Value:
    """A number over seeds.

    Attributes:
        values: one per seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """For tables."""
        return f"{self.mean:.4f}" + ("" if self.deviation is None else f" ± {self.deviation:.4f}")


@dataclass(frozen=True)
class Method:
    """The runs of one method in one group.

    Attributes:
        name: name of the method.
        runs: finished runs by seed.
    """

    name: str
    runs: dict[int, StoredRun] = field(default_factory=dict)
    _answers: dict[int, Answers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read_answers(self, seed: int) -> Answers:
        """Read what a student answers to the validation examples.

        Args:
            seed: seed of its run.

        Returns:
            Its answers, which are read once.

        Raises:
            ValueError: the run's predictions are missing or damaged.
        """
        if seed not in self._answers:
            run = self.runs[seed]
            columns = read_validation(run)
            scoring = run.record.data.scoring
            examples = LabelledExamples.from_columns(columns, scoring=scoring)
            self._answers[seed] = collect_answers(examples, columns["student"], scoring=scoring)
        return self._answers[seed]

    def list_answers(self) -> list[Answers]:
        """Read what the students of all seeds answer to the validation examples.

        Returns:
            Their answers, in the order of the runs.
        """
        return [self.read_answers(seed) for seed in self.runs]

    @property
    def records(self) -> list[RunRecord]:
        """Records of the runs, in the order of the seeds."""
        return [run.record for run in self.runs.values()]

    @property
    def first_record(self) -> RunRecord:
        """Record of the first seed, for what all seeds have in common."""
        return next(iter(self.runs.values())).record

    def score(self, metric: str, split: str = SPLIT) -> Value:
        """Score the students.

        Args:
            metric: name of the metric.
            split: split on which it was measured.

        Returns:
            One value per seed.
        """
        return Value(tuple(record.scores[split].student.values[metric] for record in self.records))

    @property
    def steps(self) -> float:
        """Optimiser steps of a run, the mean over seeds."""
        return float(np.mean([record.steps for record in self.records]))

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the training of a run, the mean over seeds."""
        return float(np.mean([sum_cpu_seconds(record) for record in self.records]))

    @cached_property
    def agreement(self) -> Value | None:
        """Agreement with the teacher, as the problem type measures it; None where its outputs were not given."""
        if not all(SPLIT in record.agreement for record in self.records):
            return None
        return Value(tuple(record.get_agreement(SPLIT) for record in self.records))

    @cached_property
    def right_and_wrong(self) -> dict[str, Value] | None:
        """Numbers of examples by right and wrong of teacher and student; None where answers are not right or wrong."""
        counts: dict[str, list[float]] = {name: [] for name in COUNTS}
        for record in self.records:
            agreement = record.agreement.get(SPLIT, {})
            if not agreement.keys() >= counts.keys():
                return None
            for name in COUNTS:
                counts[name].append(agreement[name])
        return {name: Value(tuple(values)) for name, values in counts.items()}

    @cached_property
    def distances(self) -> dict[tuple[int, int], LayerDistance]:
        """Distances after training by layers of student and teacher, the mean over seeds."""
        by_seed = [record.distances.after for record in self.records if record.distances is not None]
        means: dict[tuple[int, int], LayerDistance] = {}
        for layer, first in by_seed[0].items() if by_seed else ():
            of_seeds = [after[layer] for after in by_seed]
            divergences = [distance.attention_kl for distance in of_seeds]
            of_tokens = [distance.token_cosine for distance in of_seeds if distance.token_cosine is not None]
            of_cls = [distance.cls_cosine for distance in of_seeds if distance.cls_cosine is not None]
            finite = [divergence for divergence in divergences if divergence is not None]
            means[layer, first.teacher_layer] = LayerDistance(
                teacher_layer=first.teacher_layer,
                attention_kl=float(np.mean(finite)) if len(finite) == len(divergences) else None,
                cls_cosine=float(np.mean(of_cls)) if of_cls else None,
                token_cosine=float(np.mean(of_tokens)) if of_tokens else None,
            )
        return means

    @cached_property
    def cosines(self) -> list[float]:
        """Training cosine loss of the top layer at the end of each internal stage, the mean over seeds.

        Empty if there are none, or runs of other numbers of stages.
        """
        by_seed = [_list_last_cosines(record.stages) for record in self.records]
        if len(set(map(len, by_seed))) > 1 or not by_seed[0]:
            return []
        means: list[float] = np.mean(by_seed, axis=0).tolist()
        return means

    @property
    def collapsed(self) -> int:
        """Number of students that predict one class."""
        return sum(bool(record.scores[SPLIT].student.collapsed) for record in self.records)


def read_validation(run: StoredRun) -> dict[str, NDArray[Any]]:
    """Read the predictions of a run on the validation split.

    Args:
        run: finished run.

    Returns:
        row, label, with groups also group (N,), and the logits of `teacher` and `student` (N, C).

    Raises:
        ValueError: they are missing or damaged; the sentence says what to do.
    """
    try:
        return run.read_predictions(SPLIT)
    except ValueError as error:
        raise ValueError(f"{error} Delete {run.folder} and run the sweep again.") from None


def sum_cpu_seconds(record: RunRecord) -> float:
    """Sum the CPU seconds of all stages of a run.

    Args:
        record: record of the run.

    Returns:
        CPU seconds of the first process.
    """
    return sum(stage.cpu_seconds for stage in record.stages)


def _list_last_cosines(stages: list[TrainedStage]) -> list[float]:
    cosines = []
    for stage in stages:
        if stage.stage.is_internal and stage.epochs:
            losses = stage.epochs[-1].losses
            names = (f"{cosine}/{max(stage.stage.pairs)}" for cosine in COSINES)
            cosines += [losses[name] for name in names if name in losses][:1]
    return cosines
