"""Stage: one training run inside a schedule, as plain data; StageRecord: what happened in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from innerdistill.losses.names import COSINES
from innerdistill.recipe.advice import correct_rate, show_rate


@dataclass(frozen=True)
class Stage:
    """One training run inside a schedule: its own optimiser, learning-rate decay and end. Layers are 1-based.

    Attributes:
        name: name for people and folders, unique within a schedule.
        losses: weight by name of every loss that is on.
        pairs: teacher layer by student layer, where the internal losses are measured.
        epochs: length in epochs; None if `steps` is set.
        steps: length in optimiser steps; None if `epochs` is set.
        threshold: mean training cosine loss of the top layer over an epoch, below which the stage ends; that of [CLS],
            or of all tokens if it stands in its place.
        is_internal: whether it belongs to the internal phase, which has its own learning rate.
    """

    name: str
    losses: Mapping[str, float]
    pairs: Mapping[int, int]
    epochs: float | None = None
    steps: int | None = None
    threshold: float | None = None
    is_internal: bool = False

    @property
    def cosine(self) -> str | None:
        """Name of the loss that the threshold is compared with; None if it is not on."""
        return next((name for name in COSINES if name in self.losses), None)


@dataclass(frozen=True)
class StageProblem:
    """What is wrong with a stage.

    Attributes:
        fault: what was found, the beginning of a sentence.
        stage: name of the stage.
        numbers: what was measured, in brackets; may be empty.
        advice: cause or next step, in a sentence.
    """

    fault: str
    stage: str
    numbers: str
    advice: str


@dataclass
class StageRecord:
    """What happened in a stage.

    Attributes:
        stage: the stage as planned.
        ended: why it ended.
        steps: optimiser steps taken.
        seconds: wall time in seconds.
        cpu_seconds: CPU time of this process in seconds.
        learned: whether any parameter of the student changed.
        learning_rate: highest learning rate of a step.
        thirds: mean loss in the first and in the last third of a stage of one epoch and at least 30 steps.
        distances: distances of the student's layers at the end, by model and layer; None if they are not measured.
        epochs: per epoch: epoch, steps, losses by name (`attention_kl/2` is student layer 2), scores on selection.
    """

    stage: Stage
    ended: str = ""
    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    learned: bool = False
    learning_rate: float = 0.0
    thirds: list[float] = field(default_factory=list)
    distances: dict[str, dict[str, Any]] | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def find_problem(self) -> StageProblem | None:
        """Check whether the student learned: a parameter changed, and the loss fell.

        Returns:
            What was found and what to try; None if it learned.
        """
        if not self.learned:
            return StageProblem("No parameter of the student changed", self.stage.name, "", self._explain_no_change())
        ends, part = self.thirds, "third"
        if len(self.epochs) > 1:
            ends, part = [self.epochs[i]["losses"]["loss"] for i in (0, -1)], "epoch"
        if not ends or ends[1] < ends[0]:
            return None
        numbers = f" ({ends[0]:.4g} in its first {part}, {ends[1]:.4g} in its last)"
        return StageProblem("The loss did not fall", self.stage.name, numbers, self._advise_on_learning_rate())

    def _explain_no_change(self) -> str:
        if self.learning_rate > 0:
            return "The gradients are 0: check the weights of the losses."
        if self.steps == 1:
            return (
                "A stage of one step has the learning rate 0, with which a warm-up begins. Train more steps, or set "
                f"{self._section}.warmup_steps=0."
            )
        return f"The learning rate was 0: set {self._section}.learning_rate."

    def _advise_on_learning_rate(self) -> str:
        return correct_rate(f"{self._section}.learning_rate", self.learning_rate) or (
            f"The learning rate of {show_rate(self.learning_rate)} is a usual one: train longer, and check that the "
            "labels belong to the texts."
        )

    @property
    def _section(self) -> str:
        """Section of the recipe that has the options of the stage."""
        return "internal_trainer" if self.stage.is_internal else "trainer"

    @property
    def progress(self) -> dict[str, Any]:
        """Everything but the plan, by name, for a checkpoint."""
        return {name: value for name, value in vars(self).items() if name != "stage"}

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Take over the progress of a checkpoint.

        Args:
            progress: values by name, as in `progress`.
        """
        for name, value in progress.items():
            setattr(self, name, value)


def list_stage_warnings(records: Sequence[StageRecord]) -> list[str]:
    """List what is wrong with the stages of a run: one warning for all stages with the same fault.

    Args:
        records: records of the finished stages.

    Returns:
        Sentences.
    """
    stages: dict[str, list[str]] = {}
    advice: dict[str, dict[str, None]] = {}  # sentences by fault, each once
    for record in records:
        problem = record.find_problem()
        if problem is not None:
            stages.setdefault(problem.fault, []).append(f"{problem.stage!r}{problem.numbers}")
            advice.setdefault(problem.fault, {})[problem.advice] = None
    warnings = []
    for fault, names in stages.items():
        warnings.append(f"{fault} in stage{'s' * (len(names) > 1)} {', '.join(names)}. {' '.join(advice[fault])}")
    return warnings
