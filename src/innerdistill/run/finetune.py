"""finetune: fine-tune a pre-trained model into a teacher, alone or as part of a run. Runs share the cached teacher."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from transformers import PreTrainedModel

from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_classifier
from innerdistill.models.probe import measure_model
from innerdistill.recipe.identity import (
    compute_teacher_key,
    derive_teacher_recipe,
    fine_tunes_alike,
    merge_teacher_trainer,
)
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.card import write_card
from innerdistill.report.output_folder import lock_beside, open_run_folder
from innerdistill.report.page import write_report
from innerdistill.report.record import DataRecord
from innerdistill.report.run_folder import (
    MODEL,
    PREDICTIONS,
    RUN,
    TENSORBOARD,
    is_finished,
    read_record,
    write_record,
)
from innerdistill.run.arguments import Arguments, RecipeSource
from innerdistill.run.assemble import assemble
from innerdistill.run.finish import delete_checkpoints, finish, is_trained, record_seconds
from innerdistill.run.finished_run import Run
from innerdistill.run.hub import upload_run
from innerdistill.run.job import Job
from innerdistill.run.objects import collect
from innerdistill.run.onnx import export_run
from innerdistill.run.preview import check_base_is_named, check_extras
from innerdistill.run.speed import time_together
from innerdistill.run.train import train
from innerdistill.support.files import open_whole_file, open_whole_folder
from innerdistill.support.in_use import hold_until_exit
from innerdistill.support.messages import format_count
from innerdistill.support.processes import (
    broadcast_from_first,
    count_processes,
    enter_in_first_process,
    is_first_process,
    wait_for_all,
)
from innerdistill.support.progress import quiet_libraries
from innerdistill.training.stage import Stage

logger = logging.getLogger(__name__)


def finetune(recipe: RecipeSource | None = None, **arguments: Unpack[Arguments]) -> Run:
    """Fine-tune the recipe's `teacher.base` with all its layers on gold labels (experiment E1.0 of the paper).

    The teacher is trained in the cache, where `distill` finds it, and copied into the run folder.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file. `baseline` has no effect: a teacher has none.
        **arguments: as those of `distill`.

    Returns:
        The run. Its `model`, or the subfolder `model/` of its folder, can be the teacher of others.

    Raises:
        ValueError: a recipe, data or a model that do not fit together; nothing is written then.
    """
    checked, objects = collect(recipe, arguments)
    check_base_is_named(checked)
    check_extras(checked)
    if objects.callbacks:
        raise ValueError("callbacks: not supported by finetune, since runs with other callbacks share its teacher.")
    with quiet_libraries(), objects.register():
        job = assemble(checked.model_copy(update={"baseline": False}), objects)
        return Run(_finetune(job.of_teacher), objects=objects)


def _finetune(job: Job) -> Path:
    with enter_in_first_process(open_run_folder(job.recipe, of_teacher=True)) as folder:
        if not is_trained(job, folder, teacher=False):
            cached = _finetune_into_cache(job)
            if is_first_process():
                _copy_teacher(cached, folder, job)
        export_run(job, folder)
        wait_for_all()
        if is_first_process():
            time_together(folder)
            logger.info("Write the report.")
            write_report(folder)
        upload_run(job.recipe, folder)
    return folder


def load_or_finetune_teacher(job: Job) -> PreTrainedModel:
    """Load the fine-tuned teacher of a job from the cache; fine-tune the base model first if it is not there.

    Args:
        job: job whose recipe has `teacher.base`.

    Returns:
        The teacher, loaded from its folder in the cache.
    """
    folder = _finetune_into_cache(job)
    assert job.teacher is not None
    teacher = load_classifier(str(folder / MODEL), job.problem_type.head).to(job.teacher.device)
    measure_model(teacher)  # prepares it
    return teacher


def find_cached_teacher(job: Job) -> tuple[Path, bool]:
    """Find where the cache has the fine-tuned teacher of a job, or will have it.

    The key of the cache covers the base model's weights, the data, and everything that fine-tuning depends on.

    Args:
        job: job whose recipe has `teacher.base`, and whose `teacher` is that base model.

    Returns:
        The run folder of the fine-tuning, and whether this very teacher is there, finished.

    Raises:
        ValueError: a student's run is in its place.
    """
    job = _leave_out_unlabelled(job)
    recipe = job.recipe
    assert job.teacher is not None
    key = compute_teacher_key(
        recipe,
        base=weights_fingerprint(job.teacher),
        data=job.data.fingerprint(),
        max_length=job.max_length,
        processes=count_processes(),
    )
    folder = Path(recipe.teacher.folder) / f"{recipe.data.task or 'custom'}-{key}"
    return folder, _holds_teacher(folder, job)


def _leave_out_unlabelled(job: Job) -> Job:
    """Leave out the texts that only students learn from: runs with and without them share their teacher."""

    def select(by_split: Mapping[str, Any]) -> dict[str, Any]:
        return {split: value for split, value in by_split.items() if split != "unlabelled"}

    notes = {name: select(note) if isinstance(note, dict) else note for name, note in job.data.notes.items()}
    return replace(
        job,
        recipe=job.recipe.model_copy(update={"data": job.recipe.data.model_copy(update={"unlabelled": None})}),
        data=replace(job.data, splits=select(job.data.splits), notes=notes),
        splits=select(job.splits),
        truncated=select(job.truncated),
        unknown=select(job.unknown),
    )


def _holds_teacher(folder: Path, job: Job) -> bool:
    """Whether a folder of the cache holds the finished teacher of a job. What it holds is read, not only its name."""
    teacher_recipe = derive_teacher_recipe(job.recipe, output=str(folder))
    if not is_finished(folder, teacher_recipe):
        return False
    record = read_record(folder)
    if record.teacher is not None:
        raise ValueError(
            f"teacher.folder: {folder} holds the run of a student in the place of a cached teacher; move it to another "
            "folder, or delete it."
        )
    of_job = (job.data.fingerprint(), job.max_length, job.architecture.num_layers)
    is_same = (record.data.fingerprint, record.data.max_length, record.student.layers) == of_job
    return is_same and fine_tunes_alike(record.recipe, teacher_recipe) and (folder / MODEL).is_dir()


def _finetune_into_cache(job: Job) -> Path:
    """Fine-tune the base model of a job into the cache, unless the teacher is there, and return its run folder."""
    job = _leave_out_unlabelled(job)
    folder, _ = find_cached_teacher(job)
    hold_until_exit(folder)  # a resumed run would miss it, and its card is read at the end of a run
    teacher_recipe = derive_teacher_recipe(job.recipe, output=str(folder))
    if broadcast_from_first(_holds_teacher(folder, job)):
        logger.info("Use the fine-tuned teacher from the cache.")
        return folder
    # Other runs that need the same teacher wait here.
    with enter_in_first_process(lock_beside(folder, key="teacher.folder")):
        if broadcast_from_first(not _holds_teacher(folder, job)):
            if is_first_process():
                (folder / RUN).unlink(missing_ok=True)  # of another teacher
            logger.info("Fine-tune the teacher for %s.", format_count(job.recipe.teacher.epochs, "epoch"))
            _run_finetuning(replace(job, recipe=teacher_recipe, callbacks=()))  # runs share the teacher
    return folder


def _run_finetuning(job: Job) -> None:
    """Fine-tune a job's base model into its output folder, or resume there; the model is trained in place."""
    job = replace(job, recipe=_set_training_options(job.recipe))
    stage = Stage("fine-tuning", {"gold_labels": 1.0}, pairs={}, epochs=job.recipe.teacher.epochs)
    start = time.monotonic()
    with enter_in_first_process(open_run_folder(job.recipe, of_teacher=True, in_cache=True)) as folder:
        if not is_trained(job, folder, teacher=False):
            records = train(job, job.teacher, folder=folder, teacher=None, stages=[stage])
            if is_first_process():
                finish(job, job.teacher, folder, stages=records, distillation=None)
                record_seconds(folder, time.monotonic() - start)
        elif is_first_process():
            delete_checkpoints(folder)
        wait_for_all()


def _set_training_options(recipe: Recipe) -> Recipe:
    """Put the options of the teacher's fine-tuning where those of a student stand."""
    return recipe.model_copy(update={"trainer": merge_teacher_trainer(recipe), "seed": recipe.teacher.seed})


def _copy_teacher(cached: Path, folder: Path, job: Job) -> None:
    """Copy a teacher from the cache into the run folder of a job; run.json is the last file.

    The files are copied, not linked: whoever changes the weights in one place must not change them in the other.
    """
    delete_checkpoints(folder)
    if (cached / TENSORBOARD).is_dir():  # trainer.report_to may name something else
        shutil.copytree(cached / TENSORBOARD, folder / TENSORBOARD, dirs_exist_ok=True)
    with open_whole_folder(folder / MODEL) as temporary:
        shutil.copytree(cached / MODEL, temporary, dirs_exist_ok=True)
    with open_whole_file(folder / PREDICTIONS) as temporary:
        shutil.copyfile(cached / PREDICTIONS, temporary)
    own = {"recipe": _set_training_options(job.recipe), "data": DataRecord(**job.describe_data())}
    record = read_record(cached).model_copy(update=own)
    write_card(folder, record)
    write_record(folder, record)
