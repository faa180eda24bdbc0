"""PROBLEM_TYPES: every problem type by name, and how the one of a run or a model is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import find_primary_metric
from innerdistill.models.pretrained import load_classifier, read_config
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import join_names, name_key

PROBLEM_TYPES: dict[str, ProblemType] = {
    problem_type.name: problem_type for problem_type in (SINGLE_LABEL_CLASSIFICATION, REGRESSION)
}


def find_problem_type(recipe: DataRecipe) -> ProblemType:
    """Find the problem type of a task. It follows from the metric: the first type whose predictions fit it.

    Args:
        recipe: the `data` section of a recipe.

    Returns:
        The problem type.

    Raises:
        ValueError: unknown task or metric.
    """
    task = resolve_task(recipe)
    with name_key("data.metric"):
        shape = find_primary_metric(task.metric).shape
    return next(each for each in PROBLEM_TYPES.values() if each.predictions.shape == shape)


def name_problem_type(data: Mapping[str, Any]) -> str:
    """Name the problem type of a run.

    Args:
        data: `data` section of its record.

    Returns:
        A name of PROBLEM_TYPES. Records of earlier versions do not say it: those of classes have names, others none.
    """
    return str(data.get("problem_type") or (REGRESSION if data["names"] is None else SINGLE_LABEL_CLASSIFICATION).name)


def find_problem_type_of_model(config: PretrainedConfig) -> ProblemType:
    """Find the problem type of a fine-tuned model by its head.

    Args:
        config: configuration of the model.

    Returns:
        The problem type.

    Raises:
        ValueError: a head of another kind.
    """
    for problem_type in PROBLEM_TYPES.values():
        if problem_type.head.fits(config):
            return problem_type
    raise ValueError(
        f"{config.name_or_path}: a head for {config.problem_type} is not supported; expected one for "
        f"{join_names(list(PROBLEM_TYPES))}."
    )


def show_agreement(numbers: Mapping[str, Any]) -> str:
    """Show how far two models agree, by the main number that their problem type has for it.

    Args:
        numbers: numbers by name, the one on the agreement among them or not.

    Returns:
        Such as `99.1 %` or `r = 0.9994`; a dash where there is no such number.

    >>> show_agreement({"equal_predictions": 0.9912}), show_agreement({})
    ('99.1 %', '–')
    """
    for problem_type in PROBLEM_TYPES.values():
        if problem_type.predictions.agreement in numbers:
            return problem_type.predictions.show_agreement(numbers[problem_type.predictions.agreement])
    return "–"


def load_fine_tuned(name: str) -> tuple[PreTrainedModel, ProblemType]:
    """Load a fine-tuned model of any problem type.

    Args:
        name: folder or name of the model.

    Returns:
        The model in eval mode, in float32, and its problem type.

    Raises:
        ValueError: a model that cannot be loaded, or whose head is not supported.
    """
    problem_type = find_problem_type_of_model(read_config(name))
    return load_classifier(name, problem_type.head), problem_type
