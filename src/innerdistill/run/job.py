"""Job: everything a run needs, made from a recipe by `assemble`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.arrow import numbers
from innerdistill.data.batches import Collator
from innerdistill.data.task_data import OVERLAP, TaskData
from innerdistill.evaluation.scoring import beats_constant, best_naming
from innerdistill.losses.paper import LOSSES, Loss
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_base
from innerdistill.models.probe import Architecture, probe
from innerdistill.models.student import build_student
from innerdistill.recipe.recipe import Recipe
from innerdistill.support.messages import name_key
from innerdistill.support.processes import count_processes
from innerdistill.training.arguments import DEFAULTS
from innerdistill.training.schedules import Stage, StageRecord
from innerdistill.training.target_store import TargetStore
from innerdistill.training.targets import make_store

UNKNOWN = 0.1  # share of unknown tokens that a tokenizer of the right language does not reach
FEWEST_TO_NAME = 30  # rows; fewer fit some naming by chance
EXCHANGED = 0.2  # accuracy that another naming of the teacher's outputs has to win


@dataclass
class Job:
    """A run that has passed every check.

    Attributes:
        recipe: as given.
        data: the splits as text.
        splits: the splits as tokens.
        names: class names in the order of the model's ids; None for a regression.
        tokenizer: the teacher's.
        collate: examples -> padded batch.
        teacher: the fine-tuned teacher; while `teacher.base` is not yet fine-tuned, the base model.
        architecture: of the teacher.
        num_layers: of the student.
        pairs: teacher layer by student layer.
        stages: of the schedule.
        losses: the losses by name.
        max_length: tokens per example.
        truncated: number of truncated examples by split.
        unknown: share of tokens that the tokenizer does not know, by split.
    """

    recipe: Recipe
    data: TaskData
    splits: dict[str, Dataset]
    names: tuple[str, ...] | None
    tokenizer: PreTrainedTokenizerBase
    collate: Collator
    teacher: PreTrainedModel
    architecture: Architecture
    num_layers: int
    pairs: dict[int, int]
    stages: list[Stage]
    losses: Mapping[str, Loss] = field(default_factory=lambda: LOSSES)
    max_length: int = 512
    truncated: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, float] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Primary metric of the task."""
        return self.data.task.metric

    @cached_property
    def teacher_fingerprint(self) -> str:
        """Of the fine-tuned teacher's weights, which no run changes any more."""
        return weights_fingerprint(self.teacher)

    def target_store(self, rows: Dataset) -> TargetStore:
        """Where the fine-tuned teacher's answers to some rows are kept.

        Args:
            rows: tokenised.

        Returns:
            The store, of which nothing is built yet.
        """
        folder = Path(self.recipe.teacher.folder) / "targets"
        return make_store(self.teacher, rows, self.architecture, folder=folder, weights=self.teacher_fingerprint)

    def batch_size(self, stage: Stage) -> int:
        """Examples per optimiser step of a stage."""
        trainer = {**DEFAULTS, **self.recipe.trainer, **(self.recipe.internal_trainer if stage.is_internal else {})}
        together = int(trainer.get("gradient_accumulation_steps", 1)) * count_processes()
        return int(trainer["per_device_train_batch_size"]) * together

    def measured_by(self) -> dict[str, Any]:
        """What scores depend on beside labels and logits: the metric, class names by id, and the class that f1 is of,
        which is the data's second label, whatever its id in the model.
        """
        ours, theirs = self.data.names or (), self.names or ()
        positive = theirs.index(ours[1]) if len(theirs) == 2 else 1
        return {"metric": self.metric, "names": self.names, "positive": positive}

    def describe_data(self) -> dict[str, Any]:
        """What run.json says about the data."""
        return {
            **self.data.notes,
            **self.measured_by(),
            "max_length": self.max_length,
            "truncated": self.truncated,
            "fingerprint": self.data.fingerprint(),
        }

    def describe_teacher(self) -> dict[str, Any]:
        """What run.json says about the teacher."""
        return {
            "path": self.teacher.name_or_path,
            "layers": self.architecture.num_layers,
            "fingerprint": self.teacher_fingerprint,
        }

    def warnings(
        self, found: Mapping[str, Any], predictions: Mapping[str, Mapping[str, Any]], stages: Sequence[StageRecord]
    ) -> list[str]:
        """What a reader of the scores has to know first.

        Args:
            found: scores by split and model, as `compare` gives them.
            predictions: labels and logits by split, as `compare` gives them.
            stages: what happened in training.

        Returns:
            Sentences.
        """
        sentences = [sentence for stage in stages if (sentence := stage.warning()) is not None]
        if self.names is not None and "teacher" in found["scores"].get("validation", {}):
            said = predictions["validation"]
            sentences += filter(None, [naming_warning(said["label"], said["teacher"], self.names)])
        for name, scores in found["scores"].get("validation", {}).items():
            if scores.get("collapsed"):
                sentences.append(f"The {name} predicts one class for every row (collapsed).")
            if name == "teacher" and (sentence := chance_warning(scores, metric=self.metric)) is not None:
                sentences.append(sentence)
        if self.names is not None:
            present = np.unique(numbers(self.splits["train"], "labels"))
            for index, name in enumerate(self.names):
                if index not in present:
                    sentences.append(f"No training row has the label {name!r}.")
        if overlap := self.data.notes[OVERLAP]:
            sentences.append(
                f"{overlap} rows of validation are also in train, word for word; data.drop_overlap=true leaves them "
                "out."
            )
        for split, rows in self.truncated.items():
            if rows:
                sentences.append(f"{rows} rows of {split} were longer than {self.max_length} tokens and truncated.")
        return sentences + unknown_warnings(self.unknown)

    def student_rows(self) -> Dataset:
        """What the student is trained on: `train`, and `unlabelled` unless the schedule knows gold labels only."""
        if "unlabelled" not in self.splits or self.recipe.schedule.name == "finetune":
            return self.splits["train"]
        return concatenate_datasets([self.splits["train"], self.splits["unlabelled"]])

    def fresh_student(self) -> PreTrainedModel:
        """The student before training: layers, embeddings and head as the recipe says. Prepared for capture."""
        recipe = self.recipe.student
        source = student_source(self.recipe, self.teacher, self.names)
        head = self.teacher if recipe.head == "teacher" else None
        random = recipe.source == "random"
        student = build_student(
            source, self.num_layers, layers=recipe.layers, head=head, random=random, seed=self.recipe.seed
        )
        probe(student)
        return student


def chance_warning(scores: Mapping[str, Any], *, metric: str) -> str | None:
    """What has to be said of a teacher that is no better than chance.

    Args:
        scores: of the teacher, with their standard error.
        metric: the primary metric.

    Returns:
        A sentence, or None if it is better by two standard errors.
    """
    if beats_constant(scores):
        return None
    return (
        f"The teacher ({scores[metric]:.3f} {metric}) beats the best constant answer ({scores['constant']:.3f}) by "
        f"less than two standard errors ({scores['standard_error']:.3f}): nothing can be concluded from a student of "
        "it."
    )


def naming_warning(labels: NDArray[Any], logits: NDArray[Any], names: tuple[str, ...]) -> str | None:
    """What has to be said of a teacher whose outputs seem to mean other classes than they are named after.

    Args:
        labels: class ids. (N,)
        logits: of the teacher. (N, C)
        names: class names by id.

    Returns:
        A sentence; None if no other naming fits better by 0.2 accuracy, or there are too few rows to tell.
    """
    if len(labels) < FEWEST_TO_NAME:
        return None
    naming, as_named, at_best = best_naming(labels, logits)
    if at_best - as_named < EXCHANGED:
        return None
    moved = [f"{names[i]!r} means {names[j]!r}" for i, j in enumerate(naming) if i != j]
    pairs = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more are renamed" if len(moved) > 3 else "")
    return (
        f"The teacher's outputs seem to be exchanged: its accuracy is {as_named:.3f}, and would be {at_best:.3f} if "
        f"{pairs}. Check the order of the labels (id2label of its config.json, data.labels)."
    )


def unknown_warnings(unknown: Mapping[str, float]) -> list[str]:
    """What has to be said of a tokenizer that does not know the words of a split.

    Args:
        unknown: share of unknown tokens by split.

    Returns:
        Sentences.
    """
    return [
        f"{share:.0%} of the tokens of {split} are unknown to the teacher's tokenizer: does it belong to this model, "
        "and to this language?"
        for split, share in unknown.items()
        if share > UNKNOWN
    ]


def student_source(recipe: Recipe, teacher: PreTrainedModel, names: tuple[str, ...] | None) -> PreTrainedModel:
    """The model whose layers the student starts from.

    Args:
        recipe: names it.
        teacher: the teacher, or its base.
        names: class names in the order of the teacher's ids; None for a regression.

    Returns:
        The teacher itself, or a model that is loaded.

    Raises:
        ValueError: `base` without teacher.base, or a model that cannot be loaded.
    """
    source = recipe.student.source
    if source in ("teacher", "random"):
        return teacher
    if source == "base" and recipe.teacher.base is None:
        raise ValueError("student.source: 'base' means the layers of teacher.base, which is not given.")
    name = str(recipe.teacher.base) if source == "base" else source
    with name_key("student.source"):
        model = load_base(name, names=names, seed=recipe.seed).to(teacher.device)
    if recipe.student.source != "base":
        # Another checkpoint may name its labels otherwise; the student speaks as its teacher does.
        model.config.id2label, model.config.label2id = teacher.config.id2label, teacher.config.label2id
    return model
