"""The whole job, from a recipe to a finished run folder. Read this file first.

1. `assemble` loads the data and the models and decides the layer map and the stages. It checks everything before
   anything is written.
2. If the recipe names a base model instead of a teacher, the base model is fine-tuned and becomes the teacher.
3. The student is built from some layers of the teacher.
4. It is trained through the stages of the schedule, with one `DistillationTrainer` per stage.
5. The trained student is saved, loaded from its files as a user would load it, and evaluated.
6. The scores go into run.json, predictions.parquet and a model card.
7. If the recipe asks for it, the student is exported to ONNX, and a baseline is trained without distillation.
   Then all models and files are timed in turns, in one measurement.
8. report.html shows the results. If the recipe asks for it, the model is uploaded.

A run that was stopped in any of these steps resumes there.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.report.output_folder import open_run_folder
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import BASELINE_FOLDER, is_finished, read_record
from innerdistill.run.arguments import Arguments, RecipeSource
from innerdistill.run.assemble import assemble
from innerdistill.run.distances import measure_first_distances
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.finish import (
    Distillation,
    delete_checkpoints,
    finish,
    is_trained,
    record_seconds,
)
from innerdistill.run.finished_run import Run
from innerdistill.run.hub import upload_run
from innerdistill.run.job import Job
from innerdistill.run.judge_teacher import check_teacher
from innerdistill.run.objects import collect
from innerdistill.run.onnx import export_run
from innerdistill.run.preview import check_extras
from innerdistill.run.speed import time_together
from innerdistill.run.teacher_cache import load_targets
from innerdistill.run.thresholds import settle_teacher_thresholds
from innerdistill.run.train import train
from innerdistill.run.untrained import predict_untrained
from innerdistill.support.processes import enter_in_first_process, is_first_process, wait_for_all
from innerdistill.support.progress import quiet_libraries
from innerdistill.training.schedules import BASELINE, SchedulePlan, build_stages

logger = logging.getLogger(__name__)


def distill(recipe: RecipeSource | None = None, **arguments: Unpack[Arguments]) -> Run:
    """Distil a student from a teacher, as a recipe describes it, or with models and data in memory.

    Keyword arguments are the sections and keys of a recipe. They override those of `recipe`. Where a recipe names a
    model or a file, the object itself may stand: `distill(teacher=model, tokenizer=tokenizer, train=dataset,
    student=6, output="runs/half")`. The objects are read, and stay as they are.

    Args:
        recipe: a Recipe, a mapping, the path of a YAML file, or None.
        **arguments: sections, keys and objects, as `Arguments` describes them.

    Returns:
        The finished run, with its student, scores, report and folder.

    Raises:
        ValueError: a recipe, data or models that do not fit together, before anything is written. Or a problem that
            shows up later, such as a full disk or the folder of another run; the state is saved then.
    """
    start = time.monotonic()
    checked, objects = collect(recipe, arguments)
    check_extras(checked)
    with quiet_libraries(), objects.register():
        return Run(_distill(assemble(checked, objects), start), objects=objects)


def _distill(job: Job, start: float) -> Path:
    with enter_in_first_process(open_run_folder(job.recipe)) as folder:
        was_finished = is_finished(folder, job.recipe)
        if job.recipe.teacher.base is not None:
            job = job.with_teacher(load_or_finetune_teacher(job.of_teacher))
        settle_teacher_thresholds(job.of_teacher)
        check_teacher(job.of_teacher)
        _complete_run(job, folder)
        if job.recipe.baseline:
            logger.info("Baseline: the same student, trained without distillation.")
            baseline = _derive_baseline(job, folder)
            with enter_in_first_process(open_run_folder(baseline.recipe)) as baseline_folder:
                _complete_run(baseline, baseline_folder)
        if is_first_process():
            time_together(folder)
            if not was_finished:
                record_seconds(folder, time.monotonic() - start)
            logger.info("Write the report.")
            write_report(folder)
        upload_run(job.recipe, folder)
    return folder


def _complete_run(job: Job, folder: Path) -> None:
    """Train and evaluate a student if its run folder does not hold it yet, and export it to ONNX if asked for."""
    if not is_trained(job, folder, teacher=True):
        _train_student(job, folder)
    elif is_first_process():  # the run may have been stopped before its checkpoints were deleted
        delete_checkpoints(folder)
    export_run(job, folder)


def _train_student(job: Job, folder: Path) -> None:
    """Build a student, train it, evaluate it, and write everything into the run folder."""
    student = job.build_fresh_student()
    start = weights_fingerprint(student)
    first = measure_first_distances(job, student) if is_first_process() else None
    untrained = predict_untrained(job, student) if is_first_process() else None
    targets = load_targets(job, folder)
    stages = train(job, student, folder=folder, teacher=targets, stages=job.stages)
    if first is not None:
        distillation = Distillation(start, targets.describe(), first, untrained)
        finish(job, student, folder, stages=stages, distillation=distillation)
    wait_for_all()


def _derive_baseline(job: Job, folder: Path) -> Job:
    """The job of the baseline: the same student, trained on gold labels alone for as many steps as this run took."""
    steps = max(2, read_record(folder).steps)
    lengths = {"name": BASELINE, "total_steps": steps, "threshold": None}
    schedule = job.recipe.schedule.model_copy(update=lengths)
    changes = {"schedule": schedule, "output": str(folder / BASELINE_FOLDER), "baseline": False, "onnx": False}
    stages = build_stages(SchedulePlan(pairs={}, internal={}, classification={}, recipe=schedule))
    return replace(job, recipe=job.recipe.model_copy(update=changes), stages=stages, internal_teacher=None)
