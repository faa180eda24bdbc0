"""examine_tags: scheme, types of entities and numbers of tags, and do they fit the teacher? Checked as a run does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.ragged import join_ragged
from innerdistill.data.tag_schemes import Scheme, find_scheme, locate_entities, read_tag_set
from innerdistill.data.tags import warn_of_broken_tags
from innerdistill.data.tasks import Task
from innerdistill.evaluation.metrics import select_metrics
from innerdistill.first_recipe.columns import describe_column_counts
from innerdistill.first_recipe.labels import Labels, match_to_model, warn_of_gaps, warn_of_guess, warn_of_rare
from innerdistill.first_recipe.model import Model
from innerdistill.first_recipe.sample import Column, Sample
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION
from innerdistill.support.messages import format_count, join_names, name_key, shorten_value

EXAMPLES = TOKEN_CLASSIFICATION.examples
TAG_ACCURACY = "tag_accuracy"


def examine_tags(sample: Sample, text: Column, label: Column, model: Model) -> Labels:
    """Find out what tags mean, and check that they fit the words and the teacher.

    Args:
        sample: first rows of the file.
        text: column of words or texts.
        label: column of tags or spans.
        model: teacher or base model.

    Returns:
        What the label column holds.

    Raises:
        ValueError: tags that the teacher does not know, one tag only; words and tags, or texts and spans, that do not
            belong together, with their row.
    """
    task = Task(text=(text.name,), label=label.name)
    block = {text.name: list(text.values), label.name: list(label.values)}
    _, read = EXAMPLES.read_rows(block, task, where=sample.path, first=1, labelled=None, allow_null=True)
    column, labels = Column(label.name, read), pa.chunked_array([pa.array(read, pa.string())])
    with name_key(f"{sample.path}: label column {shorten_value(label.name)}"):
        found = EXAMPLES.find_names(labels.unique().to_pylist(), task)
        declared = _take_for_ids(found, model) or match_to_model(found, model, EXAMPLES)
        names = declared or found
        if model.problem_type is not None:
            names = EXAMPLES.match_names(names, model.outputs, declared=bool(declared))
    rows = pa.chunked_array([list(range(1, sample.num_rows + 1))])
    task = replace(task, labels=declared or None)
    encoded = EXAMPLES.encode_labels(labels, task, names=names, where=sample.path, rows=rows)
    scheme = find_scheme(names)
    each = Column(label.name, _name_each(encoded, names))
    warnings = [*warn_of_gaps(sample, column), *_warn_of_numbers(found, declared, model), *warn_of_rare(each)]
    warnings += [*warn_of_broken_tags("train", encoded, names), *EXAMPLES.warn_of_spellings(labels)]
    metric, reason = _choose_metric(scheme)
    return Labels(
        problem_type=TOKEN_CLASSIFICATION,
        metric=metric,
        reason=reason,
        summary=_summarise(each, encoded, scheme),
        declared=declared,
        warnings=tuple(warnings),
        are_numbered=_are_numbers(found),
    )


def _are_numbers(names: tuple[str, ...]) -> bool:
    return all(name.isdecimal() for name in names)


def _take_for_ids(names: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """The teacher's names, where the tags are numbers that may be their ids; else nothing."""
    is_id = _are_numbers(names) and all(int(name) < len(model.own_names) for name in names)
    return model.own_names if is_id and not _are_numbers(model.own_names) else ()


def _warn_of_numbers(names: tuple[str, ...], declared: tuple[str, ...], model: Model) -> list[str]:
    if not _are_numbers(names):
        return warn_of_guess(declared, model)
    if declared:
        order = ", ".join(f"{number} is {name}" for number, name in enumerate(declared[:3]))
        return [f"The tags are numbers. They are taken for the ids of {model.name}: {order}, and so on. If they are "
                "others, correct data.labels."]  # fmt: skip
    return [
        "The tags are numbers, so nobody knows which of them mark entities, and the metric is the share of right tags. "
        "Name them with data.labels, in the order of their numbers, and write entity_f1 as data.metric."
    ]


def _name_each(encoded: NDArray[Any], names: tuple[str, ...]) -> list[str]:
    """The type of every entity; of tags that mark none, every tag."""
    tags, lengths = join_ragged(encoded)
    if find_scheme(names) is None:
        return [names[tag] for tag in tags]
    tag_set = read_tag_set(names)
    return [tag_set.type_names[number] for number in locate_entities(tags, lengths, tag_set).types]


def _choose_metric(scheme: Scheme | None) -> tuple[str, str]:
    if scheme is None:
        return TAG_ACCURACY, "The tags mark no entities, so the share of words with the right tag."
    metric = TOKEN_CLASSIFICATION.default_metric
    others = [name for name in select_metrics(TOKEN_CLASSIFICATION.predictions.shape) if name != metric]
    return metric, f"Tags of entities, so the F1 of whole entities. Also: {join_names(others)}."


def _summarise(each: Column, encoded: NDArray[Any], scheme: Scheme | None) -> str:
    _, lengths = join_ragged(encoded)
    words, counts = format_count(int(lengths.sum()), "word"), describe_column_counts(each)
    if scheme is None:
        return f"{format_count(len(each.counts), 'tag')} of {words}: {counts}."
    types, rate = format_count(len(each.counts), "type"), len(each.values) / max(1, int((lengths > 0).sum()))
    return f"{scheme} tags of {words}. {types} of entities, {rate:.1f} per text: {counts}."
