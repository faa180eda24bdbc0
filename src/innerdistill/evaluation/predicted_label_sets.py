"""Outputs that are label sets, one logit for each label: predictions, thresholds, further scores and agreement.

Shapes: N examples, C labels. Outputs are margins here: logits less those of the model's thresholds. Without thresholds
these are the logits themselves, and a label is predicted from a probability of 0.5 on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, log_expit, logit
from sklearn.metrics import precision_recall_fscore_support

from innerdistill.data.label_sets import has_label_set
from innerdistill.evaluation.label_set_metrics import find_sets
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.predicted_classes import count_right_and_wrong
from innerdistill.evaluation.prediction_type import SwappedLabels

Array = NDArray[Any]

GRID = np.arange(1, 100) / 100  # probabilities that are tried as thresholds
FEWEST_TO_MATCH = 30  # examples; fewer fit some order of the labels by chance
SWAPPED = 0.2  # mean F1 that another order of the labels has to win
NO_LABEL = "no label"


def predict_margins(margins: Array) -> Array:
    """The outputs themselves: metrics read which labels are above 0, and some the order of the examples too.

    Args:
        margins: outputs of a model. (N, C)

    Returns:
        The same. (N, C)
    """
    return margins


def decide_sets(margins: Array) -> NDArray[np.float32]:
    """The predicted labels, in the form of labels.

    Args:
        margins: outputs of a model. (N, C)

    Returns:
        1 or 0. (N, C)
    """
    return find_sets(margins).astype(np.float32)


def identify_sets(margins: Array) -> NDArray[np.int64]:
    """Number each answer, equal sets alike, in the same way for every model.

    Args:
        margins: predictions, or labels of 1 and 0. (N, C)

    Returns:
        One number per example. (N,)
    """
    packed = np.packbits(np.asarray(margins) > 0, axis=1)
    numbers = [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest()[:7]) for row in packed]
    return np.array(numbers, dtype=np.int64)


def mark_labels(labels: Array, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Mark the examples of every label.

    Args:
        labels: 1 or 0. (N, C)
        names: label names by id.

    Returns:
        By label name, True where the label applies. (N,)
    """
    return {name: column > 0 for name, column in zip(names, labels.T, strict=True)}


def choose_thresholds(labels: Array, logits: Array, *, kind: str) -> NDArray[np.float64] | None:
    """Choose the probabilities from which labels are predicted, by F1 on examples with labels.

    Args:
        labels: 1 or 0; examples without labels do not take part. (N, C)
        logits: output of the model. (N, C)
        kind: `shared`: the one with the highest micro F1. `per label`: for each label the one with its highest F1, and
            the shared one for labels that apply to no example. `half`: 0.5.

    Returns:
        Probabilities between 0 and 1, of equally good ones that nearest to 0.5 (C,); None if no example has labels.
    """
    known = has_label_set(labels)
    if kind == "half" or not known.any():
        return np.full(labels.shape[1], 0.5) if kind == "half" else None
    positive, probabilities = labels[known] > 0, expit(logits[known].astype(np.float64))
    hits = np.stack([((probabilities > level) & positive).sum(0) for level in GRID]).astype(float)
    predicted = np.stack([(probabilities > level).sum(0) for level in GRID])
    whole = predicted + positive.sum(0)
    shared = _choose_level(2 * hits.sum(1) / np.maximum(whole.sum(1), 1))
    if kind == "shared":
        return np.full(labels.shape[1], shared)
    by_label = 2 * hits / np.maximum(whole, 1)
    return np.array([_choose_level(f1) if f1.any() else shared for f1 in by_label.T])


def _choose_level(f1: Array) -> float:
    """The threshold of the grid with the highest F1, of several the one nearest to 0.5."""
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(GRID[best[np.abs(GRID[best] - 0.5).argmin()]])


def make_constant_sets(labels: Array, names: Sequence[str]) -> Iterator[Array]:
    """Predictions of the same labels for all examples: of none, of each alone, of all.

    Args:
        labels: 1 or 0. (N, C)
        names: label names by id.

    Yields:
        Margins of 1 and -1. (N, C)
    """
    for predicted in (np.zeros(len(names)), *np.eye(len(names)), np.ones(len(names))):
        yield np.tile(2 * predicted - 1, (len(labels), 1))


def describe_sets(labels: Array, margins: Array, names: Sequence[str]) -> dict[str, Any]:
    """Further scores of a multi-label classifier.

    Args:
        labels: 1 or 0, none missing. (N, C)
        margins: outputs of the model. (N, C)
        names: label names by id.

    Returns:
        `collapsed`, whether the model predicts the same labels for all; `per_class`, by label name precision, recall
        and rows, the number of examples to which it applies.
    """
    precision, recall, _, support = precision_recall_fscore_support(labels, find_sets(margins), zero_division=0)
    per_class = {}
    for index, name in enumerate(names):
        scores = {"precision": float(precision[index]), "recall": float(recall[index])}
        per_class[name] = {**scores, "rows": int(support[index])}
    return {"collapsed": bool(len(np.unique(identify_sets(margins))) == 1), "per_class": per_class}


def compare_sets(labels: Array, teacher_margins: Array, student_margins: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher, mistakes included.

    Args:
        labels: 1 or 0; examples without labels count for the first two numbers only. (N, C)
        teacher_margins: outputs of the teacher. (N, C)
        student_margins: outputs of the student. (N, C)

    Returns:
        `equal_predictions`, the share of examples with equal label sets. `equal_labels`, the share of equal decisions
        over examples and labels. And the number of examples by teacher right or wrong and student right or wrong.
    """
    teacher, student, known = find_sets(teacher_margins), find_sets(student_margins), has_label_set(labels)
    numbers: dict[str, float] = {
        "equal_predictions": float((teacher == student).all(1).mean()),
        "equal_labels": float((teacher == student).mean()),
    }
    return numbers | count_right_and_wrong((teacher == labels).all(1), (student == labels).all(1), known)


def measure_set_distances(teacher_margins: Array, student_margins: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each example are: KL of the student's decisions from the teacher's, over labels.

    Args:
        teacher_margins: outputs of the teacher. (N, C)
        student_margins: outputs of the student. (N, C)

    Returns:
        True where they predict different sets (N,), and the sum of the Bernoulli divergences in nats (N,).
    """
    divergences = np.zeros(len(teacher_margins))
    for sign in (1, -1):
        teacher, student = log_expit(sign * teacher_margins), log_expit(sign * student_margins)
        divergences += (np.exp(teacher) * (teacher - student)).sum(1)
    return (find_sets(teacher_margins) != find_sets(student_margins)).any(1), divergences


def show_set(labels: Array, names: Sequence[str], *_: Any) -> str:
    """The labels of an example for people.

    Args:
        labels: 1 or 0, or margins. (C,)
        names: label names by id.

    Returns:
        Their names.

    >>> show_set(np.array([1.0, -2.0, 0.5]), ["anger", "fear", "joy"]), show_set(np.array([0, 0]), ["anger", "joy"])
    ('anger, joy', 'no label')
    """
    return ", ".join(name for name, label in zip(names, labels, strict=True) if label > 0) or NO_LABEL


def show_set_answer(margins: Array, names: Sequence[str], *_: Any) -> dict[str, Any]:
    """What a model answers to one example.

    Args:
        margins: outputs for the example. (C,)
        names: label names by id.

    Returns:
        `answer`, the names of the predicted labels.
    """
    return {"answer": show_set(margins, names)}


def make_set_columns(margins: Array, names: Sequence[str], thresholds: Array | None, **_: Any) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        margins: outputs of the model. (N, C)
        names: label names by id.
        thresholds: probability from which each label is predicted (C,); None means 0.5.

    Returns:
        `predicted_labels`, lists of names, and `probability_<label>` for each label. (N,)
    """
    cutoffs = 0 if thresholds is None else logit(thresholds).astype(np.float32)
    probabilities = expit(margins + cutoffs)
    sets = find_sets(margins)
    chosen = [[name for name, is_in in zip(names, row, strict=True) if is_in] for row in sets.tolist()]
    columns: dict[str, Any] = {"predicted_labels": pa.array(chosen, pa.list_(pa.string()))}
    for index, name in enumerate(names):
        columns[f"probability_{name}"] = probabilities[:, index]
    return columns


def find_swapped_sets(examples: LabelledExamples, margins: Array, names: Sequence[str]) -> SwappedLabels | None:
    """Find a model whose outputs seem to mean other labels than they are named after.

    Another order of its labels has to win 0.2 in mean F1.

    Args:
        examples: examples of a split; those without labels do not take part. (N,)
        margins: outputs of the model. (N, C)
        names: label names by id.

    Returns:
        What was found; None for outputs in order, also for too few examples.
    """
    known = has_label_set(examples.labels)
    if known.sum() < FEWEST_TO_MATCH:
        return None
    labels, sets = examples.labels[known].astype(float), find_sets(margins[known]).astype(float)
    f1 = 2 * (sets.T @ labels) / np.maximum(sets.sum(0)[:, None] + labels.sum(0), 1)
    outputs, meant = linear_sum_assignment(f1, maximize=True)
    as_named, at_best = float(np.trace(f1) / len(names)), float(f1[outputs, meant].mean())
    if at_best - as_named < SWAPPED:
        return None
    swapped = [index for index in range(len(names)) if meant[index] != index]
    listed = ", ".join(names[index] for index in swapped[:3]) + (" and others" if len(swapped) > 3 else "")
    sentence = (
        f"labels seem to be in another order than its config.json says ({listed}): its mean F1 over labels is "
        f"{as_named:.3f}, and would be {at_best:.3f} if they were matched to the data"
    )
    return SwappedLabels(sentence, tuple(int(index) for index in meant))
