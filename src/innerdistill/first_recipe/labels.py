"""examine_labels: are the labels classes or scores, and do they fit the teacher? Checked as a run checks them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from innerdistill.data.class_labels import are_stock_names
from innerdistill.data.example_type import ExampleType
from innerdistill.data.tasks import Task
from innerdistill.evaluation.metrics import select_metrics
from innerdistill.first_recipe.columns import describe_column_counts
from innerdistill.first_recipe.model import Model
from innerdistill.first_recipe.sample import Column, Sample
from innerdistill.first_recipe.tagged import refuse_other_labels
from innerdistill.problem_types.multi_label_classification import MULTI_LABEL_CLASSIFICATION
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.support.messages import join_names, name_key, shorten_value

FEW = 10  # examples of a class; with fewer, a tenth of them is none or one
UNEVEN = 2  # times as many examples as the rarest class: from here on, accuracy says little about it


@dataclass(frozen=True)
class Labels:
    """What the label column holds.

    Attributes:
        problem_type: classes, label sets, tags or scores.
        metric: a metric that suits them.
        reason: why; a sentence.
        summary: numbers of examples by class, or the range of the scores; a sentence.
        declared: class names whose order `data.labels` must state; empty where it is known.
        warnings: sentences on what the user should look at.
        are_numbered: whether they are numbers whose names are not known, as ids of tags are.
    """

    problem_type: ProblemType
    metric: str
    reason: str
    summary: str
    declared: tuple[str, ...]
    warnings: tuple[str, ...]
    are_numbered: bool = False


def examine_labels(sample: Sample, column: Column, model: Model) -> Labels:
    """Find out whether labels are classes, label sets or scores, and check that they fit the teacher.

    Args:
        sample: first rows of the file.
        column: the label column.
        model: teacher or base model.

    Returns:
        What the column holds.

    Raises:
        ValueError: labels that the teacher does not know, one class only, text where a score should be.
    """
    task = Task(text=(), label=column.name)
    with name_key(f"{sample.path}: label column {shorten_value(column.name)}"):
        problem_type = _find_problem_type(column, task, model)
        if problem_type is REGRESSION:
            return _examine_scores(sample, column, task, model)
        if problem_type is MULTI_LABEL_CLASSIFICATION:
            return _examine_label_sets(sample, column if column.holds_lists else column.split_texts(), task, model)
        return _examine_classes(sample, column, task, model)


def _find_problem_type(column: Column, task: Task, model: Model) -> ProblemType:
    """Problem type of the teacher. Without one, lists are label sets, and scores are what `refuse_numbers` refuses."""
    if model.predicts_tags:
        refuse_other_labels(column, model.name)
    if column.holds_lists and model.problem_type not in (None, MULTI_LABEL_CLASSIFICATION):
        raise ValueError(
            f"it holds lists of labels, but {model.name} predicts {model.problem_type.wording.outputs}. Name another "
            "column with --label, or another teacher."
        )
    if model.problem_type is SINGLE_LABEL_CLASSIFICATION and column.has_decimals:
        number = next(label for label in column.counts if not float(label).is_integer())
        raise ValueError(
            f"it holds numbers with decimals, such as {number}, but {model.name} predicts the classes "
            f"{join_names(model.outputs)}. Name another column with --label, or another teacher."
        )
    if model.problem_type is REGRESSION and not column.is_numeric:
        word = next((label for label in column.counts if not _is_number(label)), "nothing")
        raise ValueError(
            f"it holds {shorten_value(word)}, but {model.name} predicts scores. Name another column with --label, or "
            "another teacher."
        )
    if model.problem_type is not None:
        return model.problem_type
    if column.holds_lists:
        return MULTI_LABEL_CLASSIFICATION
    try:
        SINGLE_LABEL_CLASSIFICATION.examples.refuse_names(tuple(column.counts), task)
    except ValueError:
        return REGRESSION
    return SINGLE_LABEL_CLASSIFICATION


def _examine_scores(sample: Sample, column: Column, task: Task, model: Model) -> Labels:
    rows = pa.chunked_array([list(range(1, sample.num_rows + 1))])
    labels = pa.chunked_array([pa.array(column.labels, pa.string())])
    scores = REGRESSION.examples.encode_labels(labels, task, names=None, where=sample.path, rows=rows)
    known = scores[REGRESSION.examples.has_label(scores)]
    reason = "The labels are scores, so a correlation. Also: spearman."
    if model.problem_type is None and not column.has_decimals:
        reason = f"{len(column.counts)} different numbers are taken for scores. If they are classes, write macro_f1."
    return Labels(
        problem_type=REGRESSION,
        metric=REGRESSION.default_metric,
        reason=reason,
        summary=f"Scores from {known.min():g} to {known.max():g}, {known.mean():.2f} on average.",
        declared=(),
        warnings=warn_of_gaps(sample, column),
    )


def _examine_classes(sample: Sample, column: Column, task: Task, model: Model) -> Labels:
    examples = SINGLE_LABEL_CLASSIFICATION.examples
    warnings = list(warn_of_gaps(sample, column))
    if len(column.counts) == 1 and not sample.is_whole:
        warnings.append(f"In {sample.describe_rows()} every label is {shorten_value(next(iter(column.counts)))}.")
        names = tuple(column.counts)
    else:
        names = examples.find_names(list(column.counts), task)
    declared = match_to_model(names, model, examples)
    warnings += [*warn_of_guess(declared, model), *warn_of_rare(column)]
    warnings += examples.warn_of_spellings(pa.chunked_array([pa.array(column.labels, pa.string())]))
    classes = "class" if len(column.counts) == 1 else "classes"
    is_even = max(column.counts.values()) <= UNEVEN * min(column.counts.values())
    metric, reason = "accuracy", "The classes are about equally frequent, so accuracy."
    if not is_even:
        metric, reason = "macro_f1", "Some classes are rare. Macro F1 counts every class alike."
    reason += f" Also: {', '.join(_list_other_metrics(metric, classes=len(names)))}."
    if model.problem_type is None and column.is_numeric and len(names) > 2:
        reason += " If the numbers are scores, write pearson."
    return Labels(
        problem_type=SINGLE_LABEL_CLASSIFICATION,
        metric=metric,
        reason=reason,
        summary=f"{len(column.counts)} {classes}: {describe_column_counts(column)}.",
        declared=declared,
        warnings=tuple(warnings),
    )


def _examine_label_sets(sample: Sample, column: Column, task: Task, model: Model) -> Labels:
    examples = MULTI_LABEL_CLASSIFICATION.examples
    labels = pa.chunked_array([pa.array(column.labels, pa.string())])
    names = examples.find_names(labels.unique().to_pylist(), task)
    declared = match_to_model(names, model, examples)
    warnings = [*warn_of_gaps(sample, column), *warn_of_guess(declared, model), *warn_of_rare(column)]
    warnings += examples.warn_of_spellings(labels)
    each = sum(column.counts.values()) / max(1, sum(label is not None for label in column.labels))
    return Labels(
        problem_type=MULTI_LABEL_CLASSIFICATION,
        metric=MULTI_LABEL_CLASSIFICATION.default_metric,
        reason="Several labels per example, so micro F1. Also: macro_f1, mean_average_precision, exact_match.",
        summary=f"{len(column.counts)} labels, {each:.1f} per example: {describe_column_counts(column)}.",
        declared=declared,
        warnings=tuple(warnings),
    )


def _list_other_metrics(metric: str, *, classes: int) -> list[str]:
    """Other metrics of classes; f1 is that of the second of two classes."""
    names = [name for name, each in select_metrics("classes").items() if each.higher_is_better and name != metric]
    return [name for name in names if name != "f1" or classes == 2]


def match_to_model(names: tuple[str, ...], model: Model, examples: ExampleType) -> tuple[str, ...]:
    """Check that names are those of the teacher's outputs.

    Args:
        names: names of the labels.
        model: teacher or base model.
        examples: matches names to a model's outputs.

    Returns:
        Names whose order `data.labels` must state; empty where it is known.

    Raises:
        ValueError: a label that the teacher does not know.
    """
    if model.problem_type is None:
        return ()
    declared = _declare_order(names, model)
    examples.match_names(names, model.outputs, declared=bool(declared))
    return declared


def warn_of_guess(declared: tuple[str, ...], model: Model) -> list[str]:
    """Say that the order of names is a guess.

    Args:
        declared: names from `match_to_model`.
        model: the teacher.

    Returns:
        At most one sentence.
    """
    if not declared:
        return []
    order = join_names(declared)
    return [f"{model.name} only numbers its labels. The order {order} is a guess: correct data.labels."]


def warn_of_rare(column: Column) -> list[str]:
    """Find classes with few examples.

    Args:
        column: the labels.

    Returns:
        At most one sentence.
    """
    rare = [shorten_value(name)[1:-1] for name, count in column.counts.items() if count < FEW]
    return [f"Fewer than {FEW} examples of {join_names(rare)}."] if rare else []


def _declare_order(names: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Class names whose order nobody has stated, for a teacher that only numbers its outputs."""
    try:
        SINGLE_LABEL_CLASSIFICATION.examples.match_names(names, model.outputs, declared=False)
    except ValueError:
        fits = are_stock_names(model.outputs) and len(names) == len(model.outputs)
        return names if fits else ()
    return ()


def warn_of_gaps(sample: Sample, column: Column) -> tuple[str, ...]:
    """Find rows without a label.

    Args:
        sample: first rows of the file.
        column: the label column.

    Returns:
        At most one sentence, with the number of rows.
    """
    missing = sum(label is None for label in column.labels)
    if not missing:
        return ()
    first = column.labels.index(None) + 1
    return (
        f"{missing:,} of {sample.describe_rows()} have no label, such as row {first}. A training file may not: remove "
        "them, or move them to a file for --unlabelled.",
    )


def _is_number(label: str) -> bool:
    return Column("", [label]).is_numeric
