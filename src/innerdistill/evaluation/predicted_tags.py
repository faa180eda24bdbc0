"""Outputs that are tags of words: predictions, further scores, agreement and warnings.

Shapes: N examples, W_i words of example i, C tags. Labels, predictions and logits are ragged: one array for each
example, of tag ids (W_i,) or of logits (W_i, C).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from innerdistill.data.ragged import join_ragged, make_ragged
from innerdistill.data.tag_schemes import OUTSIDE, UNTYPED, find_entities, find_scheme
from innerdistill.data.tags import has_tags
from innerdistill.data.words import Words, unpack_words
from innerdistill.evaluation.entities import score_entity_types
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.predicted_classes import count_right_and_wrong, find_swapped_labels
from innerdistill.evaluation.prediction_type import SwappedLabels
from innerdistill.evaluation.tag_metrics import count_tags, read_tags

Array = NDArray[Any]

# A span of `predict`: first character, the one after the last, type, text, and mean probability of its words' tags.
SPAN = pa.struct(
    {"start": pa.int64(), "end": pa.int64(), "label": pa.string(), "text": pa.string(), "score": pa.float64()}
)
NO_ENTITY = "no entity"


def predict_tags(logits: Array) -> Array:
    """The most probable tag of every word.

    Args:
        logits: output of a model. (N,)

    Returns:
        Tag ids. (N,)
    """
    return make_ragged(of_example.argmax(-1) for of_example in logits)


def identify_tags(tags: Array) -> Array:
    """Number each answer, equal answers alike. The same tag for every word is one answer, however many words there are.

    Args:
        tags: tag ids. (N,)

    Returns:
        One number per example. (N,)
    """
    numbers = []
    for of_example in tags:
        if len(np.unique(of_example)) == 1:
            numbers.append(int(of_example[0]))
            continue
        digest = hashlib.blake2b(np.asarray(of_example, dtype=np.int64).tobytes(), digest_size=8).digest()
        numbers.append(-1 - int.from_bytes(digest[:7]))  # tag ids are 0 or more
    return np.array(numbers, dtype=np.int64)


def mark_types(tags: Array, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Mark the examples in which each type of entity occurs.

    Args:
        tags: tag ids. (N,)
        names: tag names by id.

    Returns:
        By type, True for examples with such an entity. (N,)
    """
    values, lengths = join_ragged(tags)
    tag_set, example_of = read_tags(names), np.repeat(np.arange(len(lengths)), lengths)
    occurs = np.zeros((len(lengths), len(names)), dtype=np.bool_)
    occurs[example_of, values] = True
    of_type = [occurs[:, tag_set.types == number] for number in range(len(tag_set.type_names))]
    return {name: np.any(tags, axis=1) for name, tags in zip(tag_set.type_names, of_type, strict=True)}


def make_constant_tags(tags: Array, names: Sequence[str]) -> Iterator[Array]:
    """Predictions of one tag for all words.

    Args:
        tags: tag ids. (N,)
        names: tag names by id.

    Yields:
        Tag ids, for each tag. (N,)
    """
    for index in range(len(names)):
        yield make_ragged(np.full_like(of_example, index) for of_example in tags)


def describe_tags(labels: Array, logits: Array, names: Sequence[str]) -> dict[str, Any]:
    """Further scores of a tagger.

    Args:
        labels: tag ids, none missing. (N,)
        logits: output of the model. (N,)
        names: tag names by id.

    Returns:
        `collapsed`, whether the model predicts one tag for all words; `per_class`, by type of entity precision, recall
        and rows, the number of gold entities.
    """
    predictions = predict_tags(logits)
    per_class = {}
    for name, scores in score_entity_types(count_tags(labels, predictions, names)).items():
        per_class[name] = {**{key: scores[key] for key in ("precision", "recall")}, "rows": int(scores["gold"])}
    return {"collapsed": len(np.unique(join_ragged(predictions)[0])) == 1, "per_class": per_class}


def compare_tags(labels: Array, teacher_logits: Array, student_logits: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher, mistakes included.

    Args:
        labels: tag ids; examples without tags count for the first two numbers only. (N,)
        teacher_logits: output of the teacher. (N,)
        student_logits: output of the student. (N,)

    Returns:
        `equal_predictions`, the share of examples all of whose words have equal tags. `equal_labels`, the share of
        words with equal tags. And the number of examples by teacher right or wrong and student right or wrong.
    """
    teacher, student, known = predict_tags(teacher_logits), predict_tags(student_logits), has_tags(labels)
    numbers: dict[str, float] = {
        "equal_predictions": float(_mark_equal(teacher, student).mean()),
        "equal_labels": float((join_ragged(teacher)[0] == join_ragged(student)[0]).mean()),
    }
    return numbers | count_right_and_wrong(_mark_equal(teacher, labels), _mark_equal(student, labels), known)


def measure_tag_distances(teacher_logits: Array, student_logits: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each example are: KL of the student's probabilities from the teacher's.

    Args:
        teacher_logits: output of the teacher. (N,)
        student_logits: output of the student. (N,)

    Returns:
        True where any word has another tag (N,), and the KL in nats, the mean over the words (N,).
    """
    divergences = []
    for theirs, ours in zip(teacher_logits, student_logits, strict=True):
        teacher, student = log_softmax(theirs, axis=-1), log_softmax(ours, axis=-1)
        divergences.append(float((np.exp(teacher) * (teacher - student)).sum(-1).mean()))
    return ~_mark_equal(predict_tags(teacher_logits), predict_tags(student_logits)), np.array(divergences)


def show_tags(tags: Array, names: Sequence[str], text: str | None = None) -> str:
    """The tags of an example for people: its entities; of other tags, each word's.

    Args:
        tags: tag ids. (W,)
        names: tag names by id.
        text: the example as a table has it; None where it is not known.

    Returns:
        Such as `Rome (location)`.

    >>> show_tags(np.array([0, 1]), ["O", "B-location"], '["In Rome", [0, 2, 3, 7]]')
    'Rome (location)'
    >>> show_tags(np.array([0, 0]), ["O", "B-location"]), show_tags(np.array([1, 1]), ["O", "B-location"])
    ('no entity', 'B-location for every word')
    """
    named = [names[tag] for tag in tags]
    if text is None and len(set(named)) == 1 and named[0] != OUTSIDE:
        return f"{named[0]} for every word"
    if find_scheme(names) is None:
        return " ".join(named)
    words = None if text is None else unpack_words(text)
    shown = []
    for entity in find_entities(named):
        where = f"words {entity.first + 1} to {entity.end}"
        if words is not None:
            where = words.text[words.offsets[entity.first][0] : words.offsets[entity.end - 1][1]]
        shown.append(where if entity.type == UNTYPED else f"{where} ({entity.type})")
    return ", ".join(shown) or NO_ENTITY


def show_tag_answer(logits: Array, names: Sequence[str], text: str | None = None) -> dict[str, Any]:
    """What a model answers to one example.

    Args:
        logits: output for the example. (W, C)
        names: tag names by id.
        text: the example as a table has it; None where it is not known.

    Returns:
        `answer`, the entities.
    """
    return {"answer": show_tags(logits.argmax(-1), names, text)}


def make_tag_columns(
    logits: Array, names: Sequence[str], _: Any = None, *, texts: Sequence[str] = ()
) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        logits: output of the model. (N,)
        names: tag names by id.
        texts: the examples as a table has them. (N,)

    Returns:
        `predicted_tags`, a tag for each word; of tags of entities also `predicted_spans`, a list of objects with start,
        end, label, text and score. (N,)
    """
    tags = [[names[tag] for tag in of_example] for of_example in predict_tags(logits)]
    columns: dict[str, Any] = {"predicted_tags": pa.array(tags, pa.list_(pa.string()))}
    if find_scheme(names) is not None:
        examples = zip(texts, tags, logits, strict=True)
        spans = [_list_spans(unpack_words(text), named, of_example) for text, named, of_example in examples]
        columns["predicted_spans"] = pa.array(spans, pa.list_(SPAN))
    return columns


def _list_spans(words: Words, tags: Sequence[str], logits: Array) -> list[dict[str, Any]]:
    probabilities = softmax(logits.astype(np.float64), axis=-1).max(-1)
    spans = []
    for entity in find_entities(tags):
        start, end = words.offsets[entity.first][0], words.offsets[entity.end - 1][1]
        score = float(probabilities[entity.first : entity.end].mean())
        spans.append({"start": start, "end": end, "label": entity.type, "text": words.text[start:end], "score": score})
    return spans


def find_swapped_tags(examples: LabelledExamples, logits: Array, names: Sequence[str]) -> SwappedLabels | None:
    """Find a model whose outputs seem to mean other tags than they are named after, judged by words of entities.

    All words say what the outputs mean. Most of them are O, so what is won by other names shows in the others alone.

    Args:
        examples: examples of a split; those without tags do not take part. (N,)
        logits: output of the model. (N,)
        names: tag names by id.

    Returns:
        What was found; None for outputs in order, also for too few words.
    """
    known = has_tags(examples.labels)
    if not known.any():
        return None
    tags, lengths = join_ragged(examples.labels[known])
    words = LabelledExamples(tags, np.repeat(np.arange(len(lengths)), lengths))
    is_judged, score = np.ones(len(tags), dtype=np.bool_), "accuracy over words"
    if find_scheme(names) is not None:
        is_judged, score = read_tags(names).types[tags] >= 0, "accuracy over words of entities"
    return find_swapped_labels(words, join_ragged(logits[known])[0], names, judged=is_judged, score=score)


def _mark_equal(first: Iterable[Array], second: Iterable[Array]) -> NDArray[np.bool_]:
    """Mark the examples all of whose words have equal tags."""
    return np.array([np.array_equal(ours, theirs) for ours, theirs in zip(first, second, strict=True)])
