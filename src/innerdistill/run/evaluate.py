"""evaluate: score a model and its teacher on the evaluation splits of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.predictions import predict_splits
from innerdistill.losses.loss import Loss
from innerdistill.models.check import check_student
from innerdistill.models.pretrained import load_classifier
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.run_folder import MODEL
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.teacher_cache import compute_teacher_logits


def evaluate(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    model: str | Path | None = None,
    losses: Mapping[str, Loss] | None = None,
) -> dict[str, Any]:
    """Score a model and its teacher on a recipe's evaluation splits.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.
        model: folder of the model or of a run; None means the recipe's output folder.
        losses: losses by name, from outside the package, that the recipe uses.

    Returns:
        `scores` by split and model, and `agreement` with the teacher by split.

    Raises:
        ValueError: a recipe, data or models that do not fit together.
    """
    job = assemble(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), losses=losses)
    folder = Path(model or job.recipe.output)
    if (folder / MODEL).is_dir():
        folder /= MODEL
    student = load_classifier(str(folder), job.problem_type.head).to(job.teacher.device)
    check_student(student, job.teacher, job.problem_type.head, names=job.names)
    if job.recipe.teacher.base is not None:
        job = replace(job, teacher=load_or_finetune_teacher(job))
    logits = {"student": predict_splits(student, job.splits, job.collate), "teacher": compute_teacher_logits(job)}
    results, _ = compare(job.splits, logits, scoring=job.scoring)
    return results
