"""distill_models: train a student through the stages of a schedule, with one DistillationTrainer per stage."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from innerdistill.data.arrow import read_numbers
from innerdistill.data.ragged import list_bytes
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.data.windows import PIECES, QUERY
from innerdistill.losses.loss import Loss, collect_needs
from innerdistill.models.check import check_internal_teacher
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.probe import measure_model
from innerdistill.recipe.reporting import choose_trackers, drop_reporting
from innerdistill.support.processes import count_processes, is_first_process, let_first_process_go_first
from innerdistill.training.arguments import check_sections, make_training_arguments
from innerdistill.training.callbacks import Saver, StageProgress, StepTimer
from innerdistill.training.checkpoints import CALLBACKS, Checkpoints
from innerdistill.training.recompute import check_recomputation
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord, list_stage_warnings
from innerdistill.training.stopping import catch_stop_signals
from innerdistill.training.targets import Targets
from innerdistill.training.trackers import open_tensorboard, open_trackers
from innerdistill.training.trainer import DistillationTrainer
from innerdistill.training.user_callbacks import check_callbacks, describe_callbacks, needs_score

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
    announce_time: Callable[[int, int, float], None] | None = None,
    internal_teacher: PreTrainedModel | None = None,
) -> list[StageRecord]:
    """Train a student through the stages of a schedule, on models and data in memory.

    Checkpoints are written to `folder`/checkpoints, also on SIGTERM and Ctrl-C. To resume a stopped run, call this
    again with `resume`, the same arguments and the same untrained student. The student is then identical to the byte.

    Args:
        teacher: classifier of a supported family, or its outputs; None if no loss reads the teacher.
        student: model that is trained in place.
        stages: stages in order, from `build_stages` or written by hand.
        setup: data, losses and options that all stages share.
        folder: folder for TensorBoard files and checkpoints. Its last two names are the default name of a tracker's
            run.
        resume: whether to resume from the checkpoints in `folder` and to leave the last one there at the end. Without
            it, checkpoints are deleted before and after training.
        overwrite: with `resume`, whether to replace the checkpoints of another run instead of refusing.
        announce_time: called in the first process after every 5 to 20 steps of a stage. It gets the number of the
            stage, 1-based, the steps of the stage so far, and the median time of the latest steps in seconds.
        internal_teacher: model that the internal losses learn from instead of `teacher`, which must be a model then. It
            has as many layers and heads and the same hidden size. With the pre-trained model that the teacher was
            fine-tuned from, this is a control: it never saw a label.

    Returns:
        One record per stage.

    Raises:
        ValueError: an unsupported family, models that do not fit, a loss that becomes NaN, a callback that fails, or
            checkpoints of another run.
        Stopped: SIGTERM or Ctrl-C arrived, and a checkpoint was written.
    """
    if setup.trainer.get("push_to_hub"):
        raise ValueError(
            "trainer.push_to_hub is not supported: distill_models writes no model folder; save the student, and call "
            "its push_to_hub."
        )
    sections = {"trainer": setup.trainer, "internal_trainer": setup.internal_trainer}
    for arguments in check_sections(sections, stages, folder=Path(folder), seed=setup.seed):
        check_recomputation(student, arguments)
    check_callbacks(setup.callbacks, stages, can_evaluate=setup.selection is not None)
    measure_model(student)  # prepares it
    if isinstance(teacher, PreTrainedModel):
        teacher = _make_live_targets(teacher, internal_teacher)
    elif internal_teacher is not None:
        raise ValueError("internal_teacher: give the teacher as a model too, not as its outputs.")
    names = choose_trackers(setup.trainer)
    setup = replace(setup, train=_add_positions(setup.train, teacher))
    checkpoints = Checkpoints(Path(folder) / "checkpoints", _identify(teacher, student, stages, setup))
    records = [StageRecord(stage) for stage in stages]
    with let_first_process_go_first():
        if not resume:
            checkpoints.remove()
        point = checkpoints.begin(student, records, overwrite=overwrite)
    with _freeze_old_objects(), open_trackers(names) as trackers, catch_stop_signals() as stop:
        for number in range(point.stage, len(stages) + 1):
            record, earlier_records = records[number - 1], records[: number - 1]
            saver = Saver(checkpoints, earlier_records, minutes=setup.checkpoint_minutes, stop=stop)
            progress = StageProgress(record.stage, number=number, stages=len(stages), metric=setup.metric)
            callbacks: list[TrainerCallback] = [progress]
            if announce_time is not None and is_first_process():
                callbacks.append(StepTimer(partial(announce_time, number)))
            first_step = sum(earlier.steps for earlier in earlier_records)
            for tracker in trackers:
                tracker.begin_stage(record, first_step=first_step)
            logs_folder = Path(folder) / "tensorboard" / f"{number:02d} {record.stage.name}"
            with closing(progress), open_tensorboard(names, logs_folder, record) as tensorboard:
                trainer = DistillationTrainer(
                    student,
                    _make_stage_arguments(checkpoints.get_stage_folder(number), record.stage, setup, number=number),
                    setup=setup,
                    record=record,
                    teacher=teacher,
                    first_step=first_step,
                    saver=saver,
                    callbacks=[*tensorboard, *trackers, *callbacks],
                )
                trainer.remove_callback(PrinterCallback)
                is_inside = number == point.stage and not point.is_start
                trainer.train(resume_from_checkpoint=str(point.folder) if is_inside else None)
            del trainer  # its optimiser and the order of its examples are large
            gc.collect()  # it and its callbacks refer to each other
            if setup.measure is not None and is_first_process():
                record.distances = setup.measure(student)
            saver.end_stage(number, student, record)
    if not resume:
        checkpoints.remove()
    for sentence in list_stage_warnings(records):
        logger.warning("%s", sentence)
    return records


def _make_live_targets(teacher: PreTrainedModel, internal_teacher: PreTrainedModel | None) -> Targets:
    """Outputs that the teacher computes in every step, with the layers of another model if there is one."""
    architecture = measure_model(teacher)
    if internal_teacher is None:
        return Targets(teacher)
    check_internal_teacher(internal_teacher, teacher, architecture)
    return Targets(teacher, internal=Targets(internal_teacher))


def _make_stage_arguments(folder: Path, stage: Stage, setup: TrainingSetup, *, number: int) -> TrainingArguments:
    """Build the Trainer's arguments of a stage, and seed the random generators with the stage's own seed."""
    run_name = "/".join(folder.absolute().parts[-4:-2])  # without checkpoints/01
    arguments = make_training_arguments(
        folder,
        stage,
        {"run_name": run_name, **setup.choose_options(stage)},
        seed=int(np.random.SeedSequence((setup.seed, number)).generate_state(1)[0]),  # dropout differs between stages
        evaluate=setup.selection is not None,
        best_by=setup.metric if setup.should_select_best(stage) else None,
        compare_by=setup.metric if needs_score(setup.callbacks, stage) else None,
    )
    set_seed(arguments.seed)
    return arguments


def _add_positions(train: Dataset, teacher: Targets | None) -> Dataset:
    """If teacher outputs are cached, add the position of every example in the cache as the column `index`."""
    if "index" in train.column_names:
        train = train.remove_columns("index")
    stores = [] if teacher is None else teacher.stores
    if not stores:
        return train
    if {store.tokens for store in stores} != {fingerprint_tokens(train)}:
        raise ValueError(
            "the cached teacher outputs do not belong to the examples of `train`, or are in another order."
        )
    return train.add_column("index", np.arange(len(train), dtype=np.int32))


def _describe_targets(teacher: Targets, stages: Sequence[Stage], losses: Mapping[str, Loss]) -> dict[str, Any]:
    """What is cached, and the precision of the teacher if it runs in any step."""
    description = teacher.describe()
    if not any(teacher.is_run_for(collect_needs(stage.losses, stage.pairs, losses)) for stage in stages):
        description.pop("precision_live", None)  # a run may resume on a device that would choose another precision
    return description


def _identify(
    teacher: Targets | None, student: PreTrainedModel, stages: Sequence[Stage], setup: TrainingSetup
) -> dict[str, Any]:
    """Everything that the trained student depends on, by name."""
    columns = [name for name in ("labels", PIECES, QUERY) if name in setup.train.column_names]
    labels = b"".join(list_bytes(read_numbers(setup.train, name)) for name in columns)
    stores = (
        [] if teacher is None else teacher.stores
    )  # their tokens are those of `train`: `_add_positions` has checked it
    tokens = stores[0].tokens if stores else fingerprint_tokens(setup.train)
    packages = ("innerdistill", "torch", "transformers")
    internal: dict[str, str] = {}
    if teacher is not None and teacher.internal is not None:
        internal["internal_teacher"] = str(teacher.internal.identify())
    return {  # what a user knows first: the first difference is named
        "data": tokens + hashlib.sha256(labels).hexdigest(),
        "stages": [asdict(stage) for stage in stages],
        "trainer": drop_reporting(setup.trainer),
        "best": setup.best,
        "seed": setup.seed,
        "internal_trainer": dict(setup.internal_trainer),
        "temperature": setup.temperature,
        "grouped": setup.group_by_length,
        "student": weights_fingerprint(student),
        "teacher": teacher and teacher.identify(),
        **internal,
        "targets": teacher and _describe_targets(teacher, stages, setup.losses),
        "processes": count_processes(),
        **({CALLBACKS: describe_callbacks(setup.callbacks)} if setup.callbacks else {}),
        **dict(zip(packages, map(version, packages), strict=True)),
    }


@contextmanager
def _freeze_old_objects() -> Iterator[None]:
    """Hide older objects from the garbage collector, which otherwise takes a quarter of a second in every stage."""
    if gc.get_freeze_count():  # a caller has frozen them
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
