"""The whole job. Read this first.

recipe -> assemble: data, teacher, layer map, stages, all checked before anything is written
-> the teacher, fine-tuned first if the recipe gives only its base
-> the student, started from the teacher's (or other) layers
-> one DistillationTrainer per stage
-> the student, saved, and evaluated as a stranger would load it
-> run.json, predictions.parquet, model card
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from innerdistill.data.arrow import numbers
from innerdistill.data.batches import collator
from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.predictions import predict_logits, predict_splits
from innerdistill.evaluation.scoring import headline, task_scores
from innerdistill.losses.paper import Loss
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_classifier
from innerdistill.models.probe import probe
from innerdistill.recipe.recipe import Recipe, TeacherRecipe, load_recipe
from innerdistill.report.output_folder import lock_beside, run_folder
from innerdistill.report.run_folder import read_run
from innerdistill.run.assemble import assemble, check_student
from innerdistill.run.finish import complete, distances, finish, is_complete
from innerdistill.run.job import Job, chance_warning, naming_warning
from innerdistill.run.onnx import add_onnx
from innerdistill.run.teacher_cache import kept_targets, teacher_logits
from innerdistill.support.processes import (
    broadcast_from_first,
    count_processes,
    enter_in_first_process,
    is_first_process,
    wait_for_all,
)
from innerdistill.training.run_stages import distill_models
from innerdistill.training.schedules import Stage, StageRecord
from innerdistill.training.targets import Targets

logger = logging.getLogger(__name__)


def distill(recipe: Recipe | Mapping[str, Any] | str | Path, *, losses: Mapping[str, Loss] | None = None) -> Path:
    """Distil a student as a recipe says.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.
        losses: further losses by name, from outside the package; their weights are in `recipe.losses`.

    Returns:
        The run folder; `model/` in it loads with transformers alone.

    Raises:
        ValueError: anything in the recipe, data or models that does not fit, before anything is written; or what only
            comes to light on the way (no room for kept answers, a folder of another run), which loses nothing.
    """
    job = assemble(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), losses=losses)
    with enter_in_first_process(run_folder(job.recipe)) as folder:
        if job.recipe.teacher.base is not None:
            job = replace(job, teacher=fine_tuned_teacher(job))
        if is_first_process():
            _check_teacher(job)
        steps = _distill(job, folder)
        if job.recipe.baseline:
            baseline = _baseline(job, folder, steps=steps)
            with enter_in_first_process(run_folder(baseline.recipe)) as inside:
                _distill(baseline, inside)
    return folder


def _distill(job: Job, folder: Path) -> int:
    """From a fresh student to a complete run folder; returns the optimiser steps that it took."""
    if not is_complete(job, folder, teacher=True):
        student = job.fresh_student()
        start = weights_fingerprint(student)
        before = distances(job, student) if is_first_process() else {}
        targets = kept_targets(job, folder)
        records = _train(job, student, folder, teacher=targets, stages=job.stages)
        if is_first_process():
            record = finish(job, student, folder, teacher=job.teacher, stages=records)
            record["student"]["start"] = start
            record["teacher"]["targets"] = targets.describe()
            record["distances"] = {"before": before, "after": distances(job, student)}
            complete(folder, record)
        wait_for_all()
    elif is_first_process():  # killed between its last file and this
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    _export(job, folder)
    return sum(stage["steps"] for stage in read_run(folder)["stages"])


def finetune(recipe: Recipe | Mapping[str, Any] | str | Path) -> Path:
    """Fine-tune the recipe's `teacher.base` on gold labels, with all its layers: E1.0.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.

    Returns:
        The run folder; its `model/` can be given as `teacher.path`.

    Raises:
        ValueError: anything in the recipe, data or model that does not fit; nothing has been written then.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if recipe.teacher.base is None:
        raise ValueError("teacher.base: name the pre-trained model to fine-tune.")
    return _finetune(assemble(recipe))


def fine_tuned_teacher(job: Job) -> PreTrainedModel:
    """The teacher of a job that gives only its base: fine-tuned once, then kept by fingerprint.

    The fingerprint covers the base model's weights, the data, and everything that fine-tuning depends on.

    Args:
        job: its recipe has `teacher.base`.

    Returns:
        The teacher; `name_or_path` is its folder.
    """
    recipe = job.recipe
    trainer = {**recipe.trainer, **recipe.teacher.trainer}
    own = (recipe.teacher.epochs, recipe.teacher.seed, sorted(trainer.items()))
    options = (recipe.group_by_length, recipe.pad_to_max_length, recipe.checkpoint, job.max_length)
    content: tuple[Any, ...] = (weights_fingerprint(job.teacher), job.data.fingerprint(), own, options)
    if (processes := count_processes()) > 1:  # each with a batch of its own
        content += (processes,)
    key = hashlib.sha256(repr(content).encode()).hexdigest()[:12]
    folder = Path(recipe.teacher.folder) / f"{recipe.data.task or 'custom'}-{key}"
    if broadcast_from_first(not (folder / "run.json").is_file()):
        # Runs that want the same teacher wait for the first.
        with enter_in_first_process(lock_beside(folder, key="teacher.folder")):
            if broadcast_from_first(not (folder / "run.json").is_file()):
                logger.info("fine-tuning the teacher into %s", folder)
                # Students of other seeds and methods go on with a teacher that was begun for one of them.
                shared = ("base", "epochs", "seed")
                teacher = TeacherRecipe(**{key: getattr(recipe.teacher, key) for key in shared}, trainer=trainer)
                same = ("data", "group_by_length", "pad_to_max_length", "checkpoint", "checkpoint_minutes")
                own_recipe = Recipe(
                    **{key: getattr(recipe, key) for key in same}, teacher=teacher, output=str(folder), overwrite=True
                )
                _finetune(replace(job, recipe=own_recipe))
    teacher = load_classifier(str(folder / "model")).to(job.teacher.device)
    probe(teacher)
    return teacher


def evaluate(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    model: str | Path | None = None,
    losses: Mapping[str, Loss] | None = None,
) -> dict[str, Any]:
    """Score a model beside its teacher on a recipe's evaluation splits.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.
        model: folder of the model; None means the `model/` of the recipe's output folder.
        losses: losses from outside the package that the recipe names.

    Returns:
        `scores` by split and model, `agreement` by split.

    Raises:
        ValueError: anything that does not fit.
    """
    job = assemble(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), losses=losses)
    folder = Path(model or job.recipe.output)
    student = load_classifier(str(folder / "model" if (folder / "model").is_dir() else folder)).to(job.teacher.device)
    check_student(job, student)
    if job.recipe.teacher.base is not None:
        job = replace(job, teacher=fine_tuned_teacher(job))
    logits = {"student": predict_splits(student, job.splits, job.collate), "teacher": teacher_logits(job)}
    return compare(job.splits, logits, **job.measured_by())[0]


def _finetune(job: Job) -> Path:
    recipe = job.recipe
    options = {"trainer": {**recipe.trainer, **recipe.teacher.trainer}, "seed": recipe.teacher.seed}
    job = replace(job, recipe=recipe.model_copy(update=options))
    stage = Stage("fine-tuning", {"gold_labels": 1.0}, pairs={}, epochs=recipe.teacher.epochs)
    with enter_in_first_process(run_folder(job.recipe)) as folder:
        if not is_complete(job, folder, teacher=False):
            records = _train(job, job.teacher, folder, teacher=None, stages=[stage])
            if is_first_process():
                complete(folder, finish(job, job.teacher, folder, teacher=None, stages=records))
        elif is_first_process():
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        _export(job, folder)
        wait_for_all()
    return folder


def _export(job: Job, folder: Path) -> None:
    """ONNX files of a complete run, which does not depend on them."""
    if job.recipe.onnx and is_first_process() and "onnx" not in read_run(folder):
        try:
            add_onnx(folder, job.splits["validation"], collator(job.tokenizer))
        except ValueError as error:
            raise ValueError(
                f"{error} The run in {folder} is finished; with onnx=false the same command writes its report."
            ) from error


def _train(
    job: Job, student: PreTrainedModel, folder: Path, *, teacher: Targets | None, stages: Sequence[Stage]
) -> list[StageRecord]:
    recipe = job.recipe

    def score(model: PreTrainedModel, selection: Dataset) -> dict[str, float]:
        labels = numbers(selection, "labels")
        logits = predict_logits(model, selection, job.collate)
        return headline(task_scores(labels, logits, **job.measured_by()))

    return distill_models(
        teacher,
        student,
        stages=stages,
        train=job.splits["train"] if teacher is None else job.student_rows(),
        collate=job.collate,
        folder=folder,
        selection=job.splits["selection"],
        score=score,
        metric=job.metric,
        best=recipe.checkpoint == "best",
        trainer=recipe.trainer,
        internal_trainer=recipe.internal_trainer,
        losses=job.losses,
        temperature=recipe.temperature,
        is_regression=job.names is None,
        group_by_length=recipe.group_by_length,
        seed=recipe.seed,
        resume=True,
        overwrite=recipe.overwrite,
        checkpoint_minutes=recipe.checkpoint_minutes,
    )


def _check_teacher(job: Job) -> None:
    # Before hours are spent on a student of it; on selection, since validation is for reporting.
    logits = {"teacher": teacher_logits(job, ["selection"])}
    found, predictions = compare(job.splits, logits, **job.measured_by())
    sentences = [chance_warning(found["scores"]["selection"]["teacher"], metric=job.metric)]
    if job.names is not None:
        said = predictions["selection"]
        sentences.append(naming_warning(said["label"], said["teacher"], job.names))
    for sentence in filter(None, sentences):
        logger.warning("On the selection split: %s", sentence)


def _baseline(job: Job, folder: Path, *, steps: int) -> Job:
    # The same student, start and number of steps, but gold labels only; unlabelled rows, if any, say nothing to it.
    changes = {"name": "finetune", "total_steps": max(2, steps), "threshold": None}
    schedule = job.recipe.schedule.model_copy(update=changes)
    output = {"schedule": schedule, "output": str(folder / "baseline"), "baseline": False, "onnx": False}
    stage = Stage("classification", {"gold_labels": 1.0}, pairs={}, steps=max(2, steps))
    return replace(job, recipe=job.recipe.model_copy(update=output), stages=[stage])
