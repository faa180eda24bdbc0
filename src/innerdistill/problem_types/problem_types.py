"""PROBLEM_TYPES: every problem type by name, and how the one of a run or a model is found."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.data.split_files import list_searches
from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import Shape, find_metric, find_primary_metric
from innerdistill.models.pretrained import load_classifier, read_config
from innerdistill.models.rankers import is_ranker
from innerdistill.problem_types.multi_label_classification import MULTI_LABEL_CLASSIFICATION
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.sentence_similarity import SENTENCE_SIMILARITY
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.problem_types.text_ranking import TEXT_RANKING
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import join_names, name_key, suggest_name

PROBLEM_TYPES: dict[str, ProblemType] = {
    problem_type.name: problem_type
    for problem_type in (
        SINGLE_LABEL_CLASSIFICATION,
        REGRESSION,
        MULTI_LABEL_CLASSIFICATION,
        TOKEN_CLASSIFICATION,
        SENTENCE_SIMILARITY,
        TEXT_RANKING,
    )
}


DEFAULT_OF_SEARCHES = "ndcg_at_10"
SAID_BY_TEACHER = "the teacher's config.json says so"


@dataclass(frozen=True)
class Choice:
    """The problem type of a run, and why it is that one.

    Attributes:
        problem_type: the problem type.
        metric: name of the primary metric.
        reason: the rest of a sentence behind "because"; empty where the recipe or the task names it.
    """

    problem_type: ProblemType
    metric: str
    reason: str


def find_problem_type(
    recipe: DataRecipe,
    *,
    teacher: PretrainedConfig | None = None,
    text: Any = None,
    label: Any = None,
    has_labels: bool = True,
) -> Choice:
    """Find the problem type of a run: the one that is named, or the one that metric, labels or teacher ask for.

    Without labels and metric, it is the teacher's.

    Args:
        recipe: the `data` section of a recipe.
        teacher: configuration of the fine-tuned teacher; None where it is not fine-tuned yet.
        text: value of the first text; None where it is not known.
        label: value of the first label; None where it is not known.
        has_labels: whether train has labels.

    Returns:
        Problem type and primary metric.

    Raises:
        ValueError: unknown task, metric or problem type, a metric that the problem type does not have, or a key that
            only another one reads.
    """
    task = resolve_task(recipe)
    named = task.metric if recipe.metric is not None or recipe.task is not None else None
    if teacher is not None and recipe.metric is None and not has_labels:
        problem_type, reason = find_problem_type_of_model(teacher), ""
        named = None
    else:
        problem_type, reason = _choose_problem_type(recipe, named, teacher, text, label)
    _refuse_other_keys(recipe, problem_type)
    metric = named or choose_default_metric(recipe, problem_type)
    with name_key("data.metric"):
        find_primary_metric(metric, _choose_shape(recipe, problem_type))
    return Choice(problem_type, metric, reason)


def choose_default_metric(recipe: DataRecipe, problem_type: ProblemType) -> str:
    """Choose the primary metric where the recipe names none.

    Args:
        recipe: the `data` section of a recipe.
        problem_type: problem type of the run.

    Returns:
        Name of the metric: that of the problem type, or of searches where a split is queries with documents.
    """
    is_of_searches = _choose_shape(recipe, problem_type) == "searches"
    return DEFAULT_OF_SEARCHES if is_of_searches else problem_type.default_metric


def _choose_shape(recipe: DataRecipe, problem_type: ProblemType) -> Shape:
    """Shape of the predictions that are scored: that of the problem type, or places of documents."""
    predictions = problem_type.predictions
    searches = "searches" in predictions.further_shapes and list_searches(recipe)
    return "searches" if searches else predictions.shape


def _choose_problem_type(
    recipe: DataRecipe, metric: str | None, teacher: PretrainedConfig | None, text: Any, label: Any
) -> tuple[ProblemType, str]:
    if recipe.problem_type is not None:
        if recipe.problem_type not in PROBLEM_TYPES:
            hint = suggest_name(recipe.problem_type, PROBLEM_TYPES, kind="problem types")
            raise ValueError(f"data.problem_type: unknown problem type {recipe.problem_type!r}. {hint}")
        return PROBLEM_TYPES[recipe.problem_type], ""
    if list_searches(recipe):  # whatever the metric, so that one for other predictions is refused
        return SENTENCE_SIMILARITY, "a split is a folder of queries and documents"
    possible = list(PROBLEM_TYPES.values())
    if metric is not None:
        with name_key("data.metric"):
            find_primary_metric(metric)
            if _is_list_of_words(text):
                find_primary_metric(metric, TOKEN_CLASSIFICATION.predictions.shape)
        possible = [each for each in possible if find_metric(metric).find(each.predictions.shape) is not None]
    if not possible:
        raise ValueError(
            f"data.metric: {metric!r} scores how queries find documents; name a folder that has both, as BEIR "
            "has them, in data.validation."
        )
    if len(possible) == 1:
        return possible[0], ""
    for problem_type, sign, reason in (
        (SENTENCE_SIMILARITY, recipe.pairs is not None, "data.pairs names the columns of pairs"),
        (SENTENCE_SIMILARITY, _is_said_by(teacher, SENTENCE_SIMILARITY), "the teacher is a sentence encoder"),
        (TEXT_RANKING, _is_said_by(teacher, TEXT_RANKING), "the teacher is a CrossEncoder with one score"),
        (TOKEN_CLASSIFICATION, _is_list_of_words(text), "the texts are lists of words"),
        (TOKEN_CLASSIFICATION, _is_list_of_spans(label), "the labels are spans of text"),
        (TOKEN_CLASSIFICATION, not _is_single(label) and _is_said_by(teacher, TOKEN_CLASSIFICATION), SAID_BY_TEACHER),
        (MULTI_LABEL_CLASSIFICATION, isinstance(recipe.label, tuple), "data.label names several columns"),
        (MULTI_LABEL_CLASSIFICATION, isinstance(label, list | tuple), "the labels are lists"),
        (MULTI_LABEL_CLASSIFICATION, _is_said_by(teacher, MULTI_LABEL_CLASSIFICATION), SAID_BY_TEACHER),
    ):
        if sign and problem_type in possible:
            return problem_type, reason
    return possible[0], ""


def _is_list_of_words(text: Any) -> bool:
    """Lists of numbers are token ids."""
    return isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)


def _is_list_of_spans(label: Any) -> bool:
    return isinstance(label, list | tuple) and any(isinstance(part, Mapping) for part in label)


def _is_single(label: Any) -> bool:
    """Whether a label is that of a whole text: no teacher makes tags of it."""
    return label is not None and not isinstance(label, list | tuple)


def _is_said_by(teacher: PretrainedConfig | None, problem_type: ProblemType) -> bool:
    """Whether a configuration leaves no doubt: by its class or its files, or by its `problem_type`."""
    if teacher is None:
        return False
    if problem_type is TEXT_RANKING:
        return is_ranker(teacher)
    return teacher.problem_type == problem_type.name or (
        problem_type in (TOKEN_CLASSIFICATION, SENTENCE_SIMILARITY) and problem_type.head.fits(teacher)
    )


def _refuse_other_keys(recipe: DataRecipe, problem_type: ProblemType) -> None:
    """Refuse keys that only other problem types read, so that nobody takes them for set."""
    for other in PROBLEM_TYPES.values():
        for key in other.data_keys:
            value = getattr(recipe, key)
            if key not in problem_type.data_keys and value != DataRecipe.model_fields[key].get_default():
                raise ValueError(
                    f"data.{key}: only {other.wording.title} reads this key, and the problem type is "
                    f"{problem_type.wording.title}; leave it out, or set data.problem_type={other.name}."
                )


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
    fitting = [problem_type for problem_type in PROBLEM_TYPES.values() if problem_type.head.fits(config)]
    if TEXT_RANKING in fitting and is_ranker(config):
        return TEXT_RANKING
    if fitting:
        return fitting[0]
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


def list_file_numbers(agreement: Collection[str]) -> dict[str, str]:
    """List the further numbers on the agreement of a file with its model that a table shows.

    Args:
        agreement: names of the numbers that there are.

    Returns:
        Titles by name.

    >>> list_file_numbers(["similarity_correlation", "shared_neighbours"])
    {'shared_neighbours': 'ten neighbours in common'}
    """
    wordings = [problem_type.wording for problem_type in PROBLEM_TYPES.values()]
    titles = ChainMap(*(dict(wording.file_numbers) for wording in wordings))
    return {name: titles[name] for name in agreement if name in titles}


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
