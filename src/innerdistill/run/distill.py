"""The whole job. Read this first.

recipe -> assemble: data, teacher, layer map, stages, all checked before anything is written
-> the teacher, fine-tuned first if the recipe gives only its base
-> the student, started from the teacher's (or other) layers
-> one DistillationTrainer per stage
-> the student, saved, and evaluated as a stranger would load it
-> run.json, predictions.parquet, model card, report.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.predictions import predict_splits
from innerdistill.losses.loss import Loss
from innerdistill.models.check import check_student
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_classifier
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.output_folder import open_run_folder
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import BASELINE_FOLDER, MODEL, read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.finish import Distillation, delete_checkpoints, finish, is_trained, measure_distances
from innerdistill.run.job import Job
from innerdistill.run.onnx import export_run
from innerdistill.run.teacher_cache import compute_teacher_logits, load_targets
from innerdistill.run.train import train
from innerdistill.run.warnings import warn_of_chance
from innerdistill.support.processes import enter_in_first_process, is_first_process, wait_for_all
from innerdistill.training.schedules import BASELINE, SchedulePlan, build_stages

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
    with enter_in_first_process(open_run_folder(job.recipe)) as folder:
        if job.recipe.teacher.base is not None:
            job = replace(job, teacher=load_or_finetune_teacher(job))
        if is_first_process():
            _check_teacher(job)
        steps = _distill(job, folder)
        if job.recipe.baseline:
            baseline = _baseline(job, folder, steps=steps)
            with enter_in_first_process(open_run_folder(baseline.recipe)) as inside:
                _distill(baseline, inside)
        if is_first_process():
            write_report(folder)
    return folder


def _distill(job: Job, folder: Path) -> int:
    """From a fresh student to a complete run folder; returns the optimiser steps that it took."""
    if not is_trained(job, folder, teacher=True):
        student = job.build_fresh_student()
        start = weights_fingerprint(student)
        before = measure_distances(job, student) if is_first_process() else {}
        targets = load_targets(job, folder)
        records = train(job, student, folder=folder, teacher=targets, stages=job.stages)
        if is_first_process():
            distillation = Distillation(start, targets.describe(), before)
            finish(job, student, folder, stages=records, distillation=distillation)
        wait_for_all()
    elif is_first_process():  # killed between its last file and this
        delete_checkpoints(folder)
    export_run(job, folder)
    return read_record(folder).steps


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
    folder = folder / MODEL if (folder / MODEL).is_dir() else folder
    student = load_classifier(str(folder), job.problem_type.head).to(job.teacher.device)
    check_student(student, job.teacher, job.problem_type.head)
    if job.recipe.teacher.base is not None:
        job = replace(job, teacher=load_or_finetune_teacher(job))
    logits = {"student": predict_splits(student, job.splits, job.collate), "teacher": compute_teacher_logits(job)}
    return compare(job.splits, logits, scoring=job.scoring)[0]


def _check_teacher(job: Job) -> None:
    # Before hours are spent on a student of it; on selection, since validation is for reporting.
    logits = {"teacher": compute_teacher_logits(job, ["selection"])}
    comparison, predictions = compare(job.splits, logits, scoring=job.scoring)
    columns = predictions["selection"]
    sentences = warn_of_chance(comparison["scores"]["selection"]["teacher"], metric=job.metric)
    sentences += job.problem_type.predictions.warn_of_teacher(columns["label"], columns["teacher"], job.names)
    for sentence in sentences:
        logger.warning("On the selection split: %s", sentence)


def _baseline(job: Job, folder: Path, *, steps: int) -> Job:
    # The same student, start and number of steps, but gold labels only; unlabelled rows, if any, say nothing to it.
    changes = {"name": BASELINE, "total_steps": max(2, steps), "threshold": None}
    schedule = job.recipe.schedule.model_copy(update=changes)
    output = {"schedule": schedule, "output": str(folder / BASELINE_FOLDER), "baseline": False, "onnx": False}
    stages = build_stages(SchedulePlan(pairs={}, internal={}, classification={}, recipe=schedule))
    return replace(job, recipe=job.recipe.model_copy(update=output), stages=stages)
