"""Job: everything that a run needs. `assemble` loads it, decides it and checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from innerdistill.data.batches import Collator
from innerdistill.data.class_labels import are_stock_names
from innerdistill.data.example_type import Names
from innerdistill.data.pairs import number_texts
from innerdistill.data.task_data import TaskData, describe_missing_labels
from innerdistill.data.windows import read_of_examples, select_examples_evenly
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.losses.loss import Loss
from innerdistill.losses.registry import LOSSES
from innerdistill.models.dropout import remove_dropout
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.heads import read_thresholds
from innerdistill.models.probe import Architecture, measure_model
from innerdistill.models.student import build_student
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.recipe.identity import TARGETS
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.contrast import find_contrast
from innerdistill.run.given_outputs import GivenOutputs
from innerdistill.support.processes import count_processes
from innerdistill.training.arguments import DEFAULTS
from innerdistill.training.schedules import SCHEDULES
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import TargetStore
from innerdistill.training.targets import make_target_store

FEWEST_PER_EPOCH, SHARE_PER_EPOCH = 200, 8  # scored after every epoch: at most one for 8 training examples, or 200


@dataclass(frozen=True)
class Job:
    """A run that has passed every check and can start.

    Attributes:
        recipe: recipe of the run.
        problem_type: kind of problem, which says what its models predict.
        data: splits as text, with their labels.
        splits: splits as tokens, by name.
        names: class names in the order of the model's outputs; None where labels are numbers.
        tokenizer: tokenizer of the student, and of a teacher that reads the same tokens.
        collate: turns a list of examples into a padded batch.
        teacher: fine-tuned teacher; while `teacher.base` is not fine-tuned yet, the base model. None where its outputs
            are given, and where `teacher_job` has it.
        architecture: number of layers, hidden size and heads of the teacher; without a teacher, of `source`.
        source: model whose layers the student copies; None if that is the teacher.
        internal_teacher: model that the internal losses learn from; None if that is the teacher, or without them.
        num_layers: number of layers of the student.
        pairs: teacher layer by student layer; none without a teacher.
        stages: stages of the schedule.
        losses: losses by name.
        max_length: highest number of tokens of an example.
        truncated: number of truncated examples by split.
        unknown: share of tokens that the tokenizer does not know, by split.
        callbacks: callbacks of transformers' Trainer that the user gives.
        given_outputs: outputs from columns of the data, which take the teacher's place; None with a teacher.
        teacher_job: the same examples in the tokens of a teacher that reads its own, with that teacher; None where
            both models read the same tokens.
    """

    recipe: Recipe
    problem_type: ProblemType
    data: TaskData
    splits: Mapping[str, Dataset]
    names: Names
    tokenizer: PreTrainedTokenizerBase
    collate: Collator
    teacher: PreTrainedModel | None
    architecture: Architecture
    source: PreTrainedModel | None
    num_layers: int
    pairs: Mapping[int, int]
    stages: list[Stage]
    internal_teacher: PreTrainedModel | None = None
    losses: Mapping[str, Loss] = field(default_factory=lambda: LOSSES)
    max_length: int = 512
    truncated: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, float] = field(default_factory=dict)
    callbacks: Sequence[TrainerCallback] = ()
    given_outputs: GivenOutputs | None = None
    teacher_job: Job | None = None

    @property
    def of_teacher(self) -> Job:
        """The job as its teacher reads it: itself, unless the teacher reads its own tokens."""
        return self if self.teacher_job is None else self.teacher_job

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher is a model here. If not, its outputs are given."""
        return self.of_teacher.teacher is not None

    def with_teacher(self, teacher: PreTrainedModel) -> Job:
        """Put another teacher in the place of the one that is there.

        Args:
            teacher: the fine-tuned teacher.

        Returns:
            The job with it.
        """
        if self.teacher_job is None:
            return replace(self, teacher=teacher)
        return replace(self, teacher_job=replace(self.teacher_job, teacher=teacher))

    @property
    def reference_model(self) -> PreTrainedModel:
        """Model that says how many tokens an example has and where models run: the teacher, or `source` without one."""
        model = self.source if self.teacher is None else self.teacher
        assert model is not None
        return model

    @property
    def metric(self) -> str:
        """Primary metric of examples with labels."""
        return self.data.task.metric

    @cached_property
    def teacher_fingerprint(self) -> str:
        """Fingerprint of the fine-tuned teacher's weights, or of the given outputs, computed once."""
        if self.given_outputs is not None:
            return self.given_outputs.compute_fingerprint(self.splits)
        if self.teacher_job is not None:
            return self.teacher_job.teacher_fingerprint
        assert self.teacher is not None
        return weights_fingerprint(self.teacher)

    @cached_property
    def internal_fingerprint(self) -> str | None:
        """Fingerprint of the internal teacher's weights below its head, which is new; None if there is none."""
        return None if self.internal_teacher is None else weights_fingerprint(self.internal_teacher.base_model)

    @cached_property
    def scored_per_epoch(self) -> Dataset:
        """Examples of the selection split that are scored after every epoch.

        All, if the best checkpoint is chosen by them. Else at most an eighth as many as there are training examples, or
        200, so that a large selection split does not take longer than training.
        """
        selection = self.splits["selection"]
        if self.recipe.checkpoint == "best" or "selection" in self.data.notes.get("searches", ()):
            return selection  # a part of the documents would be another search
        return select_examples_evenly(selection, max(FEWEST_PER_EPOCH, len(self.splits["train"]) // SHARE_PER_EPOCH))

    def make_target_store(self, examples: Dataset) -> TargetStore:
        """Describe the store of the teacher's outputs for some examples; nothing is written yet.

        Args:
            examples: tokenised examples.

        Returns:
            The store.
        """
        folder = Path(self.recipe.teacher.folder) / TARGETS
        if self.given_outputs is not None:
            return self.given_outputs.make_store(examples, self.architecture, folder=folder)
        assert self.teacher is not None
        return make_target_store(
            self.teacher, examples, self.architecture, folder=folder, weights=self.teacher_fingerprint
        )

    def make_internal_store(self, examples: Dataset) -> TargetStore | None:
        """Describe the cache of the internal teacher's layers for some examples; nothing is written yet.

        Args:
            examples: tokenised examples.

        Returns:
            The store; None if the internal losses learn from the teacher.
        """
        if self.internal_teacher is None:
            return None
        folder = Path(self.recipe.teacher.folder) / TARGETS
        return make_target_store(
            self.internal_teacher, examples, self.architecture, folder=folder, weights=self.internal_fingerprint
        )

    def compute_batch_size(self, stage: Stage) -> int:
        """Compute how many examples an optimiser step of a stage has, over accumulation and processes.

        Args:
            stage: stage of the job.

        Returns:
            Number of examples.
        """
        trainer = {**DEFAULTS, **self.recipe.trainer, **(self.recipe.internal_trainer if stage.is_internal else {})}
        micro_batches = int(trainer.get("gradient_accumulation_steps", 1)) * count_processes()
        return int(trainer["per_device_train_batch_size"]) * micro_batches

    @cached_property
    def scoring(self) -> Scoring:
        """What scores of labelled examples depend on. F1 is computed for the data's second label, of any id.

        The constant answer to beat is the one that scores best on train, or on the scored examples if train has no
        labels.
        """
        names_in_model = self.names or ()
        names_in_data = self.data.names or names_in_model
        positive = names_in_model.index(names_in_data[1]) if len(names_in_model) == 2 else 1
        scoring = self.problem_type.make_scoring(self.metric, self.names, positive=positive)
        if not self.data.has_labels("train"):
            return scoring
        labels = read_of_examples(self.splits["train"], "labels")
        labels = labels[self.problem_type.predictions.has_label(labels)]
        return replace(scoring, constant=scoring.choose_constant(labels))

    def get_scoring(self, split: str) -> Scoring:
        """Get what the scores on a split depend on.

        Args:
            split: name of the split.

        Returns:
            `scoring`; for a split without labels, what measures the agreement with the teacher.
        """
        return self.scoring.switch_to_teacher() if split in self.data.against_teacher else self.scoring

    @cached_property
    def references_per_epoch(self) -> NDArray[Any]:
        """What `scored_per_epoch` is scored against: labels, or the teacher's predictions, as an array (N,)."""
        if "selection" not in self.data.against_teacher:
            return read_of_examples(self.scored_per_epoch, "labels")
        return self.scoring.predictions.decide(self.compute_teacher_logits(lambda job: job.scored_per_epoch))

    def compute_teacher_logits(self, select: Callable[[Job], Dataset]) -> NDArray[Any]:
        """Compute the teacher's logits for some examples; read them where they are given.

        Args:
            select: (job) -> tokenised examples; called with the job as the teacher reads it.

        Returns:
            Logits, relative to its thresholds. (N, C)
        """
        if self.given_outputs is not None:
            return self.given_outputs.read_logits(select(self))
        job = self.of_teacher
        assert job.teacher is not None
        return predict_logits(job.teacher, select(job), job.collate)

    def read_teacher_thresholds(self) -> NDArray[np.float64] | None:
        """Read the probabilities from which the teacher predicts its labels; None without thresholds. (C,)."""
        if self.given_outputs is not None:
            return self.given_outputs.thresholds
        teacher = self.of_teacher.teacher
        assert teacher is not None
        return read_thresholds(teacher.config)

    def count_train_labels(self) -> dict[str, int]:
        """Count the training examples of every class, by its name; nothing without labels, or without classes."""
        if not self.data.has_labels("train"):
            return {}
        labels = read_of_examples(self.splits["train"], "labels")
        classes = self.problem_type.predictions.mark_classes(labels, self.names)
        return {name: int(marks.sum()) for name, marks in classes.items()}

    def describe_data(self) -> dict[str, Any]:
        """Describe the data for run.json."""
        scoring, splits = self.get_scoring("validation"), self.data.against_teacher
        sentence = describe_missing_labels(splits, has_teacher=self.has_teacher)
        without_labels = {"labels": sentence, "against_teacher": splits}
        return {
            **({} if self.data.has_labels("train") else without_labels),
            **self.data.notes,
            "problem_type": self.problem_type.name,
            "metric": scoring.metric,
            "names": self.names,
            "positive": scoring.positive,
            "constant": scoring.constant,
            "max_length": self.max_length,
            "truncated": self.truncated,
            "fingerprint": self.data.fingerprint(),
        }

    def describe_teacher(self) -> dict[str, Any]:
        """Describe the teacher for run.json; of given outputs, the columns that hold them."""
        if self.given_outputs is not None:
            columns = self.given_outputs.columns
            described = {"path": None, "layers": None, "outputs": columns.kind, "columns": columns.columns}
            return {**described, "fingerprint": self.teacher_fingerprint}
        if self.teacher_job is not None:
            return {**self.teacher_job.describe_teacher(), "own_tokens": True}
        assert self.teacher is not None
        return {
            "path": self.teacher.name_or_path,
            "layers": self.architecture.num_layers,
            "fingerprint": self.teacher_fingerprint,
        }

    def describe_internal_teacher(self) -> dict[str, Any] | None:
        """Describe the model that the internal losses learn from for run.json; None if that is the teacher."""
        if self.internal_teacher is None:
            return None
        return {
            "path": self.internal_teacher.name_or_path,
            "layers": self.architecture.num_layers,
            "fingerprint": self.internal_fingerprint,
        }

    def select_student_examples(self) -> Dataset:
        """Select the student's training examples: `train`, and `unlabelled` if the schedule reads the teacher."""
        examples = self.splits["train"]
        if "unlabelled" in self.splits and SCHEDULES[self.recipe.schedule.name].reads_teacher:
            examples = concatenate_datasets([examples, self.splits["unlabelled"]])
        return examples if find_contrast(self.stages, self.losses) is None else number_texts(examples)

    def _name_outputs(self) -> Names:
        """Names of the student's outputs: the teacher's. If it has none of its own, those that the task declares."""
        teacher = self.of_teacher.teacher
        if teacher is None:
            return self.names
        outputs = self.problem_type.head.name_outputs(teacher.config)
        return self.names if self.data.task.labels is not None and are_stock_names(outputs) else outputs

    def build_fresh_student(self) -> PreTrainedModel:
        """Build the student before training: layers, embeddings and head as the recipe says, prepared for capture."""
        recipe = self.recipe.student
        student = build_student(
            self.reference_model if self.source is None else self.source,
            self.num_layers,
            layers=recipe.layers,
            head=self.teacher if recipe.head == "teacher" else None,
            random=recipe.source == "random",
            seed=self.recipe.seed,
        )
        student.config.update(self.problem_type.head.configure(self._name_outputs()))
        if (teacher := self.of_teacher.teacher) is not None:
            self.problem_type.head.adopt(student.config, teacher.config)
        measure_model(student)
        if not recipe.dropout:
            remove_dropout(student)
        return student
