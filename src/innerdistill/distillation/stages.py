"""distill_models: the stages of a schedule, one DistillationTrainer each, on models that are already there."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from innerdistill.data.batches import Collator
from innerdistill.distillation.arguments import training_arguments
from innerdistill.distillation.losses import LOSSES, Loss
from innerdistill.distillation.progress import StageProgress
from innerdistill.distillation.schedules import Stage, StageRecord
from innerdistill.distillation.targets import Targets
from innerdistill.distillation.trainer import DistillationTrainer
from innerdistill.models.internals import probe


def distill_models(
    teacher: Targets | PreTrainedModel | None,
    student: PreTrainedModel,
    *,
    stages: Sequence[Stage],
    train: Dataset,
    collate: Collator,
    folder: str | Path,
    selection: Dataset | None = None,
    score: Callable[[PreTrainedModel, Dataset], Mapping[str, float]] | None = None,
    metric: str = "accuracy",
    best: bool = False,
    trainer: Mapping[str, Any] | None = None,
    internal_trainer: Mapping[str, Any] | None = None,
    losses: Mapping[str, Loss] = LOSSES,
    temperature: float = 1.0,
    is_regression: bool = False,
    group_by_length: bool = True,
    seed: int = 1,
) -> list[StageRecord]:
    """Run the stages; what `distill` does between loading and saving, and what a notebook uses.

    Args:
        teacher: a classifier of a supported family, or its targets; None if no loss reads it.
        student: trained in place.
        stages: from `make_stages`, or made by hand.
        train: a tokenised split: input_ids, attention_mask, (token_type_ids), labels, length.
        collate: examples -> padded batch.
        folder: for TensorBoard files and, with `best`, checkpoints.
        selection: tokenised split that is scored after every epoch.
        score: (student, selection) -> scores by name; needed with `selection`.
        metric: the score shown in the progress bar, and the one `best` looks at.
        best: keep the checkpoint that scores best on selection, in stages of classification.
        trainer: keys of TrainingArguments.
        internal_trainer: the same, for internal stages only.
        losses: the losses by name.
        temperature: of the soft labels.
        is_regression: whether the head gives a score.
        group_by_length: whether batches hold examples of similar length.
        seed: of dropout and the order of the examples.

    Returns:
        What happened in every stage.

    Raises:
        ValueError: a family that is not supported, a loss that becomes NaN.
    """
    for model in (teacher, student):
        if isinstance(model, PreTrainedModel):
            probe(model)
    if isinstance(teacher, Targets) and teacher.store is not None:
        lengths = train.with_format("numpy")["length"][:]
        if not np.array_equal(teacher.store.lengths, lengths):
            raise ValueError("the teacher's kept targets are of other rows than `train`, or of another order.")
    train = train.remove_columns([name for name in ("index",) if name in train.column_names])
    train = train.add_column("index", np.arange(len(train)))
    records: list[StageRecord] = []
    with _old_objects_left_alone():
        for number, stage in enumerate(stages, start=1):
            options = {**(trainer or {}), **((internal_trainer or {}) if stage.is_internal else {})}
            arguments = training_arguments(
                Path(folder) / "checkpoints",
                stage,
                options,
                seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]),  # dropout differs between stages
                evaluate=selection is not None,
                best_by=metric if best and selection is not None and not stage.is_internal else None,
            )
            set_seed(arguments.seed)
            with SummaryWriter(str(Path(folder) / "tensorboard" / f"{number:02d} {stage.name}")) as writer:
                stage_trainer = DistillationTrainer(
                    student,
                    arguments,
                    stage=stage,
                    train=train,
                    data_collator=collate,
                    teacher=teacher,
                    losses=losses,
                    temperature=temperature,
                    is_regression=is_regression,
                    selection=selection,
                    score=score,
                    data_seed=seed,
                    first_step=sum(record.steps for record in records),
                    group_by_length=group_by_length,
                    callbacks=[
                        TensorBoardCallback(writer),
                        StageProgress(f"{stage.name} ({number}/{len(stages)})", metric=metric),
                    ],
                )
                stage_trainer.remove_callback(PrinterCallback)
                stage_trainer.train()
            records.append(stage_trainer.record)
    shutil.rmtree(Path(folder) / "checkpoints", ignore_errors=True)
    return records


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """The Trainer collects garbage at every stage, a quarter of a second for what was imported alone."""
    if gc.get_freeze_count():  # somebody else sees to it
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
