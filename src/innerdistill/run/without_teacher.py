"""What a recipe asks for that needs a teacher, where outputs are given as columns instead. Imports no torch."""

from __future__ import annotations

from innerdistill.recipe.recipe import Recipe
from innerdistill.training.schedules import SCHEDULES

NO_CHECKPOINTS = ("teacher", "base", "random")  # values of `student.source` that name no model


def refuse_what_needs_teacher(recipe: Recipe) -> None:
    """Refuse what cannot work where the teacher's outputs are columns of the data.

    Args:
        recipe: recipe with `data.probabilities` or `data.logits`, whose schedule is known.

    Raises:
        ValueError: a key that needs a teacher; the sentence says what to set instead.
    """
    key, teacher = recipe.data.outputs_key, recipe.teacher
    for name, value in {"teacher.path": teacher.path, "teacher.base": teacher.base}.items():
        if value is not None:
            raise ValueError(
                f"{key}: these columns take the teacher's place, but {name} ({value}) is set too; leave one of the "
                "two out."
            )
    if teacher.internal != "teacher":
        raise ValueError(
            f"teacher.internal: it is for losses that compare layers with a teacher's, and with {key} there are none; "
            "leave it out."
        )
    if recipe.student.source in NO_CHECKPOINTS:
        raise ValueError(
            f"student.source: with {key} there is no teacher to copy layers from; name a checkpoint (folder or name), "
            "which gives the student its layers, embeddings and tokenizer."
        )
    if recipe.student.head == "teacher":
        raise ValueError(f"student.head: with {key} there is no teacher whose head could be copied; leave it out.")
    if SCHEDULES[recipe.schedule.name].compares_layers:
        raise ValueError(refuse_layers(recipe))


def refuse_layers(recipe: Recipe) -> str:
    """Say that a schedule compares layers where there is no teacher that has any.

    Args:
        recipe: recipe with `data.probabilities` or `data.logits`, or with a teacher that reads its own tokens.

    Returns:
        One sentence.
    """
    cause = recipe.data.outputs_key or "a teacher that reads its own tokens"
    return (
        f"schedule.name: {recipe.schedule.name!r} compares the student's layers with a teacher's, and with {cause} "
        "there are none; set schedule.name=soft_labels."
    )


def describe_outputs(recipe: Recipe) -> str:
    """Name the columns that take the teacher's place.

    Args:
        recipe: recipe with `data.probabilities` or `data.logits`.

    Returns:
        The middle of a sentence, such as `the probabilities in p_neg, p_pos`.
    """
    given = recipe.data.logits if recipe.data.probabilities is None else recipe.data.probabilities
    kind = "logits" if recipe.data.probabilities is None else "probabilities"
    columns = given if isinstance(given, str) else ", ".join((given or {}).values())
    return f"the {kind} in {columns}"
