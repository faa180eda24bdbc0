"""distill_models: the stages of a schedule, one DistillationTrainer each, on models that are already there."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from innerdistill.data.arrow import numbers
from innerdistill.data.batches import Collator
from innerdistill.data.tokens import tokens_fingerprint
from innerdistill.losses.paper import LOSSES, Loss
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.probe import probe
from innerdistill.support.processes import count_processes, is_first_process, let_first_process_go_first
from innerdistill.training.arguments import training_arguments
from innerdistill.training.callbacks import Saver, StageProgress
from innerdistill.training.checkpoints import Checkpoints
from innerdistill.training.needs import needs_of
from innerdistill.training.schedules import Stage, StageRecord
from innerdistill.training.stopping import stop_requests
from innerdistill.training.targets import Targets
from innerdistill.training.trainer import DistillationTrainer

logger = logging.getLogger(__name__)


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
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_minutes: float = 5,
) -> list[StageRecord]:
    """Run the stages; what `distill` does between loading and saving, and what a notebook uses.

    The state is kept in `folder`/checkpoints. If the process is killed, a call with the same arguments, a student that
    is as fresh, and `resume` goes on from there, and ends with the same bytes. SIGTERM and Ctrl-C write a checkpoint.

    Args:
        teacher: a classifier of a supported family, or its targets; None if no loss reads it.
        student: trained in place.
        stages: from `make_stages`, or made by hand.
        train: a tokenised split: input_ids, attention_mask, (token_type_ids), labels, length.
        collate: examples -> padded batch.
        folder: for TensorBoard files and checkpoints.
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
        resume: go on from the checkpoints in `folder`, and leave the last one there; otherwise none is left.
        overwrite: with `resume`, replace the checkpoints of another run instead of refusing.
        checkpoint_minutes: between two checkpoints inside a stage; it ends with one if the latest is 5 seconds old.

    Returns:
        What happened in every stage.

    Raises:
        ValueError: a family that is not supported, a loss that becomes NaN, the checkpoints of another run.
        Stopped: by SIGTERM or Ctrl-C, after a checkpoint.
    """
    for model in (teacher, student):
        if isinstance(model, PreTrainedModel):
            probe(model)
    if isinstance(teacher, PreTrainedModel):
        teacher = Targets(teacher)
    train = _with_positions(train, teacher)
    recipe = {"stages": [asdict(stage) for stage in stages], "trainer": dict(trainer or {}), "best": best, "seed": seed}
    recipe |= {"internal_trainer": dict(internal_trainer or {}), "temperature": temperature, "grouped": group_by_length}
    checkpoints = Checkpoints(Path(folder) / "checkpoints", _identity(teacher, student, train, recipe, stages, losses))
    records = [StageRecord(stage) for stage in stages]
    with let_first_process_go_first():
        if not resume:
            checkpoints.remove()
        point = checkpoints.begin(student, records, overwrite=overwrite)
    with _old_objects_left_alone(), stop_requests() as stop:
        for number, record in enumerate(records, start=1):
            if number < point.stage:
                continue
            stage, before = record.stage, records[: number - 1]
            options = {**(trainer or {}), **((internal_trainer or {}) if stage.is_internal else {})}
            arguments = training_arguments(
                checkpoints.stage_folder(number),
                stage,
                options,
                seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]),  # dropout differs between stages
                evaluate=selection is not None,
                best_by=metric if best and selection is not None and not stage.is_internal else None,
            )
            saver = Saver(checkpoints, before, minutes=checkpoint_minutes, stop=stop)
            set_seed(arguments.seed)
            with _logs(Path(folder) / "tensorboard" / f"{number:02d} {stage.name}", record) as writer:
                stage_trainer = DistillationTrainer(
                    student,
                    arguments,
                    record=record,
                    train=train,
                    data_collator=collate,
                    teacher=teacher,
                    losses=losses,
                    temperature=temperature,
                    is_regression=is_regression,
                    selection=selection,
                    score=score,
                    data_seed=seed,
                    first_step=sum(record.steps for record in before),
                    group_by_length=group_by_length,
                    saver=saver,
                    callbacks=[
                        *([] if writer is None else [TensorBoardCallback(writer)]),
                        StageProgress(f"{stage.name} ({number}/{len(stages)})", metric=metric),
                    ],
                )
                stage_trainer.remove_callback(PrinterCallback)
                is_inside = number == point.stage and not point.is_start
                stage_trainer.train(resume_from_checkpoint=str(point.folder) if is_inside else None)
            saver.end_stage(number, student, record)
    if not resume:
        checkpoints.remove()
    return records


def _logs(folder: Path, record: StageRecord) -> AbstractContextManager[SummaryWriter | None]:
    """TensorBoard's files of a stage, which the first process writes."""
    purge = record.steps + 1 if record.steps else None  # what was logged after the checkpoint comes again
    return SummaryWriter(str(folder), purge_step=purge) if is_first_process() else nullcontext()


def _with_positions(train: Dataset, teacher: Targets | None) -> Dataset:
    """The rows with their positions in the teacher's store."""
    if teacher is not None and teacher.store is not None and teacher.store.tokens != tokens_fingerprint(train):
        raise ValueError("the teacher's kept targets are of other rows than `train`, or of another order.")
    train = train.remove_columns([name for name in ("index",) if name in train.column_names])
    return train.add_column("index", np.arange(len(train)))


def _targets_of(teacher: Targets, stages: Sequence[Stage], losses: Mapping[str, Loss]) -> dict[str, Any]:
    """What is kept of a teacher, and how it runs, if it does in any step: else a machine with another way may go on."""
    described = teacher.describe()
    if not any(teacher.is_run_for(needs_of(stage, losses)) for stage in stages):
        del described["precision_live"]
    return described


def _identity(  # noqa: PLR0917 - everything there is
    teacher: Targets | None,
    student: PreTrainedModel,
    train: Dataset,
    recipe: Mapping[str, Any],
    stages: Sequence[Stage],
    losses: Mapping[str, Loss],
) -> dict[str, Any]:
    """Everything that the trained student depends on, by name."""
    labels = numbers(train, "labels")
    store = None if teacher is None else teacher.store
    tokens = tokens_fingerprint(train) if store is None else store.tokens  # of the same rows: `_with_positions`
    return {
        **recipe,
        "student": weights_fingerprint(student),
        "teacher": teacher and weights_fingerprint(teacher.teacher),
        "targets": teacher and _targets_of(teacher, stages, losses),
        "data": tokens + hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest(),
        "processes": count_processes(),
        **{package: version(package) for package in ("innerdistill", "torch", "transformers")},
    }


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
