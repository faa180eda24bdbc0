"""What a recipe asks for that needs labels, where train has none. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

from innerdistill.data.label_columns import name_label_columns
from innerdistill.data.tasks import resolve_task
from innerdistill.recipe.recipe import Recipe
from innerdistill.training.schedules import SCHEDULES

GOLD_LABELS = ("gold_labels",)


def refuse_training_on_labels(recipe: Recipe, *, title: str, outputs: str) -> None:
    """Refuse what trains a model on labels, for a problem type that has no such loss.

    Args:
        recipe: recipe of the run.
        title: name of the problem type for people.
        outputs: what its models put out, in the plural.

    Raises:
        ValueError: a key that asks for such training.
    """
    if recipe.teacher.base is not None:
        raise ValueError(
            f"teacher.base: a teacher for {title} is not fine-tuned here; name one that is in teacher.path."
        )
    if recipe.baseline:
        raise ValueError(
            f"baseline: a student for {title} learns from the teacher's {outputs} alone, so without distillation it "
            "would learn nothing; set baseline=false. The report shows the student before training instead."
        )
    if not SCHEDULES[recipe.schedule.name].reads_teacher:
        raise ValueError(
            f"schedule.name: {recipe.schedule.name!r} learns from labels alone, and {title} learns from the teacher's "
            f"{outputs}; choose another schedule."
        )


def refuse_what_needs_labels(
    recipe: Recipe, *, is_scored_by_labels: bool, losses: Collection[str] = GOLD_LABELS
) -> None:
    """Refuse what cannot work without labels in train.

    Args:
        recipe: recipe of a run whose train split has no labels.
        is_scored_by_labels: whether any split that models are scored on has labels.
        losses: names of the losses that read labels.

    Raises:
        ValueError: a key that needs labels; the sentence says what to set instead.
    """
    label = name_label_columns(resolve_task(recipe.data))
    if recipe.teacher.base is not None:
        raise ValueError(
            f"teacher.base: fine-tuning needs labels, and data.train has no column {label}; name the label column "
            "with data.label, or give a fine-tuned teacher with teacher.path."
        )
    for name in losses:
        if recipe.losses.get(name, 0) > 0:
            raise ValueError(
                f"losses.{name}: this loss reads labels, and data.train has no column {label}; set it to 0, or name "
                "the label column with data.label."
            )
    if recipe.baseline:
        raise ValueError(
            f"baseline: it is trained on labels, and data.train has no column {label}; set baseline=false, or name "
            "the label column with data.label."
        )
    if not SCHEDULES[recipe.schedule.name].reads_teacher:
        raise ValueError(
            f"schedule.name: {recipe.schedule.name!r} learns from labels alone, and data.train has no column "
            f"{label}; choose another schedule, or name the label column with data.label."
        )
    if recipe.data.metric is not None and not is_scored_by_labels:
        raise ValueError(
            f"data.metric: {recipe.data.metric!r} needs labels, and no split has a column {label}; leave data.metric "
            "out (scores are then the agreement with the teacher), or give a validation file with labels."
        )
