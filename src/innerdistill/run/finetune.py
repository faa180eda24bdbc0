"""finetune: fine-tune a pre-trained model into a teacher, alone or as part of a run. Runs share the cached teacher."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.pretrained import load_classifier
from innerdistill.models.probe import probe
from innerdistill.recipe.identity import compute_teacher_key, derive_teacher_recipe, merge_teacher_trainer
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.output_folder import lock_beside, open_run_folder
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import MODEL, is_finished
from innerdistill.run.assemble import assemble
from innerdistill.run.finish import delete_checkpoints, finish, is_trained
from innerdistill.run.job import Job
from innerdistill.run.onnx import export_run
from innerdistill.run.train import train
from innerdistill.support.processes import (
    broadcast_from_first,
    count_processes,
    enter_in_first_process,
    is_first_process,
    wait_for_all,
)
from innerdistill.training.stage import Stage

logger = logging.getLogger(__name__)


def finetune(recipe: Recipe | Mapping[str, Any] | str | Path) -> Path:
    """Fine-tune the recipe's `teacher.base` with all its layers on gold labels (experiment E1.0 of the paper).

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.

    Returns:
        The run folder. Its subfolder `model/` can be the `teacher.path` of other recipes.

    Raises:
        ValueError: a recipe, data or a model that do not fit together; nothing is written then.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if recipe.teacher.base is None:
        raise ValueError("teacher.base: name the pre-trained model to fine-tune.")
    folder = run_finetuning(assemble(recipe))
    if is_first_process():
        write_report(folder)
    return folder


def load_or_finetune_teacher(job: Job) -> PreTrainedModel:
    """Load the fine-tuned teacher of a job from the cache; fine-tune the base model first if it is not there.

    The key of the cache covers the base model's weights, the data, and everything that fine-tuning depends on.

    Args:
        job: job whose recipe has `teacher.base`.

    Returns:
        The teacher, loaded from its folder in the cache.
    """
    recipe = job.recipe
    key = compute_teacher_key(
        recipe,
        base=weights_fingerprint(job.teacher),
        data=job.data.fingerprint(),
        max_length=job.max_length,
        processes=count_processes(),
    )
    folder = Path(recipe.teacher.folder) / f"{recipe.data.task or 'custom'}-{key}"
    teacher_recipe = derive_teacher_recipe(recipe, output=str(folder))
    if broadcast_from_first(not is_finished(folder, teacher_recipe)):
        # Other runs that need the same teacher wait here.
        with enter_in_first_process(lock_beside(folder, key="teacher.folder")):
            if broadcast_from_first(not is_finished(folder, teacher_recipe)):
                logger.info("fine-tuning the teacher into %s", folder)
                run_finetuning(replace(job, recipe=teacher_recipe))
    teacher = load_classifier(str(folder / MODEL), job.problem_type.head).to(job.teacher.device)
    probe(teacher)
    return teacher


def run_finetuning(job: Job) -> Path:
    """Fine-tune a job's base model into its output folder, or resume there.

    Args:
        job: job whose `teacher` is the base model; trained in place.

    Returns:
        The run folder.
    """
    options = {"trainer": merge_teacher_trainer(job.recipe), "seed": job.recipe.teacher.seed}
    job = replace(job, recipe=job.recipe.model_copy(update=options))
    stage = Stage("fine-tuning", {"gold_labels": 1.0}, pairs={}, epochs=job.recipe.teacher.epochs)
    with enter_in_first_process(open_run_folder(job.recipe)) as folder:
        if not is_trained(job, folder, teacher=False):
            records = train(job, job.teacher, folder=folder, teacher=None, stages=[stage])
            if is_first_process():
                finish(job, job.teacher, folder, stages=records, distillation=None)
        elif is_first_process():
            delete_checkpoints(folder)
        export_run(job, folder)
        wait_for_all()
    return folder
