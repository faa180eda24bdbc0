"""What a contrastive loss needs of a run: pairs of texts, and batches that hold whole examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innerdistill.losses.loss import Loss
from innerdistill.recipe.recipe import Recipe
from innerdistill.training.arguments import DEFAULTS
from innerdistill.training.stage import Stage

BATCH = "per_device_train_batch_size"


def find_contrast(stages: Sequence[Stage], losses: Mapping[str, Loss]) -> str | None:
    """Find a loss that compares the texts of an example with those of others.

    Args:
        stages: stages of a run.
        losses: losses by name.

    Returns:
        The name of the first one; None if there is none.
    """
    return next((name for stage in stages for name in stage.losses if losses[name].of_pairs), None)


def check_contrast(recipe: Recipe, weights: Mapping[str, float], losses: Mapping[str, Loss], *, texts: int) -> None:
    """Check that examples are pairs, and that no batch cuts one.

    Args:
        recipe: recipe of the run.
        weights: weights by loss.
        losses: losses by name.
        texts: texts of a training example.

    Raises:
        ValueError: texts alone, or a batch size that would separate the texts of an example.
    """
    name = next((name for name, weight in weights.items() if weight > 0 and losses[name].of_pairs), None)
    if name is None:
        return
    if texts < 2:
        raise ValueError(
            f"losses.{name}: it compares pairs of texts; name their two columns in data.text, such as "
            "[question, answer], and perhaps a third one of wrong answers."
        )
    sections = {"trainer": recipe.trainer}
    if recipe.schedule.classification_always:
        sections["internal_trainer"] = {**recipe.trainer, **recipe.internal_trainer}
    for key, options in sections.items():
        size = int({**DEFAULTS, **options}[BATCH])
        if size % texts or size < 2 * texts:
            raise ValueError(
                f"{key}.{BATCH}: {size} texts are not two or more whole examples of {texts} texts, which losses.{name} "
                f"compares; choose a multiple of {texts}, at least {2 * texts}."
            )
