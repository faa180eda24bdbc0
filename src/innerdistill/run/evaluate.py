"""evaluate: score a model and its teacher on the evaluation splits of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from transformers import PreTrainedModel

from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.predictions import predict_splits
from innerdistill.models.check import check_student
from innerdistill.models.pretrained import load_classifier
from innerdistill.report.run_folder import MODEL
from innerdistill.run.arguments import Arguments, RecipeSource
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.load_models import refuse_other_head
from innerdistill.run.objects import collect
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.run.thresholds import settle_teacher_thresholds
from innerdistill.support.messages import name_key
from innerdistill.support.progress import quiet_libraries


def evaluate(
    recipe: RecipeSource | None = None,
    *,
    model: str | Path | PreTrainedModel | None = None,
    **arguments: Unpack[Arguments],
) -> dict[str, Any]:
    """Score a model and its teacher on a recipe's evaluation splits.

    Args:
        recipe: a Recipe, a mapping, or the path of a YAML file.
        model: model, folder of a model or of a run; None means the recipe's output folder.
        **arguments: as those of `distill`.

    Returns:
        `scores` by split and model, and `agreement` with the teacher by split.

    Raises:
        ValueError: a recipe, data or models that do not fit together.
    """
    checked, objects = collect(recipe, arguments)
    with quiet_libraries(), objects.register():
        job = assemble(checked, objects)
        found = _find_model(model or job.recipe.output)
        with name_key("model"):
            refuse_other_head(found, job.problem_type, metric=job.metric, name="model")
        student = load_classifier(found, job.problem_type.head)
        student = student.to(job.reference_model.device)
        check_student(student, job.reference_model, job.problem_type.head, names=job.names)
        if job.recipe.teacher.base is not None:
            job = job.with_teacher(load_or_finetune_teacher(job.of_teacher))
        settle_teacher_thresholds(job.of_teacher)
        logits = {"student": predict_splits(student, job.splits, job.collate), "teacher": compute_teacher_logits(job)}
        results, _ = compare(job.splits, logits, scoring=job.scoring, against_teacher=job.data.against_teacher)
        return results


def _find_model(model: str | Path | PreTrainedModel) -> str | PreTrainedModel:
    """A model, or its folder, where that of a run is given too."""
    if isinstance(model, PreTrainedModel):
        return model
    return str(Path(model, MODEL) if Path(model, MODEL).is_dir() else model)
