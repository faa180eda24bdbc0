"""TrainingSetup: the data, losses and options that all stages of a run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback

from innerdistill.data.batches import Collator
from innerdistill.losses.loss import Loss
from innerdistill.losses.registry import LOSSES
from innerdistill.training.stage import Stage

Score = Callable[[PreTrainedModel, Dataset], Mapping[str, float]]
Measure = Callable[[PreTrainedModel], dict[str, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """Data, losses and options of a training run, the same for every stage.

    Attributes:
        train: tokenised training split: columns input_ids, attention_mask, (token_type_ids), labels, length.
        collate: turns a list of examples into a padded batch.
        selection: tokenised held-out selection split, scored after every epoch; None skips scoring.
        measure: function (student) -> distances of its layers by model, called in the first process at the end of every
            stage; the result goes into the record of the stage. None measures nothing.
        score: function (student, selection) -> scores by name; needed with `selection`.
        metric: name of the score that the progress bar shows and `best` compares.
        best: whether a classification stage ends with the checkpoint that scores best on `selection`.
        trainer: options of transformers' TrainingArguments for every stage.
        internal_trainer: options for internal stages only; they override `trainer`.
        losses: losses by name.
        temperature: softmax temperature of the soft labels, above 0.
        group_by_length: whether a batch holds examples of similar length.
        seed: random seed of dropout and of the order of the examples.
        checkpoint_minutes: minutes between two checkpoints inside a stage.
        callbacks: callbacks of transformers, which see the events of every stage; early stopping only those of
            classification stages.
    """

    train: Dataset
    collate: Collator
    selection: Dataset | None = None
    score: Score | None = None
    measure: Measure | None = None
    metric: str = "accuracy"
    best: bool = False
    trainer: Mapping[str, Any] = field(default_factory=dict)
    internal_trainer: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Loss] = field(default_factory=lambda: LOSSES)
    temperature: float = 1.0
    group_by_length: bool = True
    seed: int = 1
    checkpoint_minutes: float = 5
    callbacks: Sequence[TrainerCallback] = ()

    def choose_options(self, stage: Stage) -> dict[str, Any]:
        """Merge the Trainer's options for a stage.

        Args:
            stage: stage of the schedule; an internal one gets `internal_trainer` too.

        Returns:
            Options of TrainingArguments.
        """
        return {**self.trainer, **(self.internal_trainer if stage.is_internal else {})}

    def should_select_best(self, stage: Stage) -> bool:
        """Tell whether a stage ends with its best checkpoint instead of its last one.

        Args:
            stage: stage of the schedule.

        Returns:
            True for a classification stage if `best` is set and there is a selection split.
        """
        return self.best and self.selection is not None and not stage.is_internal
