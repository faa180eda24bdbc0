"""distill_models: the stages of a schedule, one DistillationTrainer each, on models that are already there."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, TrainingArguments, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from innerdistill.data.arrow import read_numbers
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.losses.loss import Loss, collect_needs
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.probe import probe
from innerdistill.support.processes import count_processes, is_first_process, let_first_process_go_first
from innerdistill.training.arguments import make_training_arguments
from innerdistill.training.callbacks import Saver, StageProgress
from innerdistill.training.checkpoints import Checkpoints
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.stopping import catch_stop_signals
from innerdistill.training.targets import Targets
from innerdistill.training.trainer import DistillationTrainer

logger = logging.getLogger(__name__)


def distill_models(
    teacher: Targets | PreTrainedModel | None,
    student: PreTrainedModel,
    *,
    stages: Sequence[Stage],
    setup: TrainingSetup,
    folder: str | Path,
    resume: bool = False,
    overwrite: bool = False,
) -> list[StageRecord]:
    """Train a student through the stages of a schedule, on models and data in memory.

    The state is in `folder`/checkpoints. If the process is killed, call it again with `resume`, the same arguments
    and an equally fresh student: it resumes there, and the student is identical to the byte. SIGTERM and Ctrl-C write a
    checkpoint.

    Args:
        teacher: classifier of a supported family, or its outputs; None if no loss reads it.
        student: model that is trained in place.
        stages: stages in order, from `build_stages` or written by hand.
        setup: data, losses and options that all stages share.
        folder: folder for TensorBoard files and checkpoints.
        resume: whether to resume from the checkpoints in `folder`, and leave the last one; otherwise none is left.
        overwrite: with `resume`, whether to replace the checkpoints of another run instead of refusing.

    Returns:
        One record per stage.

    Raises:
        ValueError: an unsupported family, a loss that becomes NaN, or checkpoints of another run.
        Stopped: SIGTERM or Ctrl-C arrived; a checkpoint has been written.
    """
    for model in (teacher, student):
        if isinstance(model, PreTrainedModel):
            probe(model)
    if isinstance(teacher, PreTrainedModel):
        teacher = Targets(teacher)
    setup = replace(setup, train=_add_positions(setup.train, teacher))
    checkpoints = Checkpoints(Path(folder) / "checkpoints", _identify(teacher, student, stages, setup))
    records = [StageRecord(stage) for stage in stages]
    with let_first_process_go_first():
        if not resume:
            checkpoints.remove()
        point = checkpoints.begin(student, records, overwrite=overwrite)
    with _old_objects_left_alone(), catch_stop_signals() as stop:
        for number in range(point.stage, len(stages) + 1):
            record, before = records[number - 1], records[: number - 1]
            saver = Saver(checkpoints, before, minutes=setup.checkpoint_minutes, stop=stop)
            with _open_logs(Path(folder) / "tensorboard" / f"{number:02d} {record.stage.name}", record) as writer:
                trainer = DistillationTrainer(
                    student,
                    _stage_arguments(checkpoints.get_stage_folder(number), record.stage, setup, number=number),
                    setup=setup,
                    record=record,
                    teacher=teacher,
                    first_step=sum(earlier.steps for earlier in before),
                    saver=saver,
                    callbacks=[
                        *([] if writer is None else [TensorBoardCallback(writer)]),
                        StageProgress(f"{record.stage.name} ({number}/{len(stages)})", metric=setup.metric),
                    ],
                )
                trainer.remove_callback(PrinterCallback)
                is_inside = number == point.stage and not point.is_start
                trainer.train(resume_from_checkpoint=str(point.folder) if is_inside else None)
            saver.end_stage(number, student, record)
    if not resume:
        checkpoints.remove()
    return records


def _stage_arguments(folder: Path, stage: Stage, setup: TrainingSetup, *, number: int) -> TrainingArguments:
    """The Trainer's arguments of a stage; also seeds the random generators, with another seed for every stage."""
    arguments = make_training_arguments(
        folder,
        stage,
        setup.choose_options(stage),
        seed=int(np.random.SeedSequence((setup.seed, number)).generate_state(1)[0]),  # dropout differs between stages
        evaluate=setup.selection is not None,
        best_by=setup.metric if setup.selects_best(stage) else None,
    )
    set_seed(arguments.seed)
    return arguments


def _open_logs(folder: Path, record: StageRecord) -> AbstractContextManager[SummaryWriter | None]:
    """TensorBoard's files of a stage, which the first process writes."""
    purge = record.steps + 1 if record.steps else None  # what was logged after the checkpoint comes again
    return SummaryWriter(str(folder), purge_step=purge) if is_first_process() else nullcontext()


def _add_positions(train: Dataset, teacher: Targets | None) -> Dataset:
    """The rows with their positions in the teacher's store."""
    if teacher is not None and teacher.store is not None and teacher.store.tokens != fingerprint_tokens(train):
        raise ValueError("the cached teacher outputs are of other examples than `train`, or in another order.")
    train = train.remove_columns([name for name in ("index",) if name in train.column_names])
    return train.add_column("index", np.arange(len(train)))


def _describe_targets(teacher: Targets, stages: Sequence[Stage], losses: Mapping[str, Loss]) -> dict[str, Any]:
    """What is cached, and how the teacher runs if it does in any step: otherwise another precision may resume."""
    described = teacher.describe()
    if not any(teacher.is_run_for(collect_needs(stage.losses, stage.pairs, losses)) for stage in stages):
        del described["precision_live"]
    return described


def _identify(
    teacher: Targets | None, student: PreTrainedModel, stages: Sequence[Stage], setup: TrainingSetup
) -> dict[str, Any]:
    """Everything that the trained student depends on, by name."""
    labels = read_numbers(setup.train, "labels")
    store = None if teacher is None else teacher.store
    tokens = fingerprint_tokens(setup.train) if store is None else store.tokens  # the same: `_add_positions` checks it
    return {
        "stages": [asdict(stage) for stage in stages],
        "trainer": dict(setup.trainer),
        "best": setup.best,
        "seed": setup.seed,
        "internal_trainer": dict(setup.internal_trainer),
        "temperature": setup.temperature,
        "grouped": setup.group_by_length,
        "student": weights_fingerprint(student),
        "teacher": teacher and weights_fingerprint(teacher.teacher),
        "targets": teacher and _describe_targets(teacher, stages, setup.losses),
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
