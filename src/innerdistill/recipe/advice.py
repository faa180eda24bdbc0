"""Advice on the training options of a recipe: the usual learning rates, and what to change of a weak teacher."""

from __future__ import annotations

from innerdistill.recipe.identity import merge_teacher_trainer
from innerdistill.recipe.recipe import IN_MEMORY, Recipe

DEFAULT_LEARNING_RATE = 5e-5
TEACHER, STUDENT, INTERNAL = (
    f"{section}.learning_rate" for section in ("teacher.trainer", "trainer", "internal_trainer")
)
# Of encoders. Fine-tuning: Devlin et al. 2019 use 2e-5 to 5e-5, small models more. Small students: Turc et al. 2019.
USUAL_LEARNING_RATES = {TEACHER: (2e-5, 1e-4), STUDENT: (2e-5, 4e-4), INTERNAL: (2e-5, 4e-4)}


def find_teacher_rate(recipe: Recipe) -> tuple[str, float]:
    """Find the learning rate of the teacher's fine-tuning.

    Args:
        recipe: recipe of the run.

    Returns:
        The key that sets it, and its value.
    """
    return TEACHER, float(merge_teacher_trainer(recipe).get("learning_rate", DEFAULT_LEARNING_RATE))


def find_student_rate(recipe: Recipe, *, is_internal: bool) -> tuple[str, float]:
    """Find the learning rate of a student's stage.

    Args:
        recipe: recipe of the run.
        is_internal: whether the stage belongs to the internal phase.

    Returns:
        The key that sets it, and its value.
    """
    if is_internal and "learning_rate" in recipe.internal_trainer:
        return INTERNAL, float(recipe.internal_trainer["learning_rate"])
    return STUDENT, float(recipe.trainer.get("learning_rate", DEFAULT_LEARNING_RATE))


def correct_rate(key: str, rate: float) -> str | None:
    """Say in which direction an unusual learning rate is to be changed.

    Args:
        key: key in USUAL_LEARNING_RATES.
        rate: its value.

    Returns:
        A sentence; None for a usual rate.

    >>> correct_rate("trainer.learning_rate", 0.05)
    'Lower trainer.learning_rate: it is 0.05, and 2e-5 to 4e-4 are usual.'
    """
    low, high = USUAL_LEARNING_RATES[key]
    if low <= rate <= high:
        return None
    word = "Lower" if rate > high else "Raise"
    return f"{word} {key}: it is {show_rate(rate)}, and {_show_usual(key)}."


def name_other_rate(key: str, rate: float) -> str:
    """Name the key of a usual learning rate, for a sentence on what to try.

    Args:
        key: key in USUAL_LEARNING_RATES.
        rate: its value.

    Returns:
        The middle of a sentence.

    >>> name_other_rate("trainer.learning_rate", 5e-5)
    'another trainer.learning_rate (now 5e-5; 2e-5 to 4e-4 are usual)'
    """
    return f"another {key} (now {show_rate(rate)}; {_show_usual(key)})"


def advise_on_teacher(recipe: Recipe, *, examples: int) -> str:
    """Say what to change of a teacher that is too weak.

    Args:
        recipe: recipe of the run.
        examples: number of training examples.

    Returns:
        A sentence: on its learning rate if that is unusual, on its whole training if not. Of one that was fine-tuned
        elsewhere, on its folder, or on the columns that have its outputs.
    """
    if recipe.data.outputs_key is not None:
        return f"Check that the columns of {recipe.data.outputs_key} belong to these texts, each to its label."
    if recipe.teacher.base is None:
        teacher = "the teacher" if recipe.teacher.path == IN_MEMORY else recipe.teacher.path
        return f"Check that {teacher} was fine-tuned for this task, with these labels and text columns."
    key, rate = find_teacher_rate(recipe)
    return correct_rate(key, rate) or (
        f"Try {name_other_rate(key, rate)}, more teacher.epochs (now {recipe.teacher.epochs:g}), or more training "
        f"examples (now {examples:,})."
    )


def show_rate(rate: float) -> str:
    """Write a learning rate as people write it.

    Args:
        rate: a learning rate.

    Returns:
        A decimal number from 0.001 upwards, otherwise a power of ten.

    >>> show_rate(0.05), show_rate(4e-4), show_rate(1.5e-9)
    ('0.05', '4e-4', '1.5e-9')
    """
    if rate == 0 or rate >= 1e-3:
        return f"{rate:g}"
    mantissa, exponent = f"{rate:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _show_usual(key: str) -> str:
    low, high = USUAL_LEARNING_RATES[key]
    return f"{show_rate(low)} to {show_rate(high)} are usual"
