"""Outputs that are classes: predictions, further scores, agreement and warnings.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax, softmax
from sklearn.metrics import precision_recall_fscore_support

from innerdistill.data.class_labels import has_class
from innerdistill.evaluation.labelled_examples import LabelledExamples, sum_groups
from innerdistill.evaluation.prediction_type import SwappedLabels
from innerdistill.evaluation.pseudo_values import estimate_standard_error

Array = NDArray[Any]

FEWEST_TO_MATCH = 30  # examples; fewer fit some order of the labels by chance
MOST_NAMED = 3  # classes in a sentence
SWAPPED = 0.2  # accuracy that another order of the labels has to win


def predict_classes(logits: Array) -> Array:
    """The most probable class.

    Args:
        logits: output of a model. (N, C)

    Returns:
        Class ids. (N,)
    """
    return logits.argmax(1)


def identify_answers(predictions: Array) -> Array:
    """Number each answer, equal answers alike: the predictions themselves, where these are one number each.

    Args:
        predictions: class ids or scores. (N,)

    Returns:
        The same. (N,)
    """
    return predictions


def mark_classes(labels: Array, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Mark the examples of every class.

    Args:
        labels: class ids. (N,)
        names: class names by id.

    Returns:
        By class name, True for the examples of the class. (N,)
    """
    return {name: labels == index for index, name in enumerate(names)}


def choose_no_thresholds(*_: Any, **__: Any) -> None:
    """Neither classes nor scores have thresholds.

    Returns:
        None.
    """


def make_constant_classes(labels: Array, names: Sequence[str]) -> Iterator[Array]:
    """Predictions of one class for all examples.

    Args:
        labels: class ids. (N,)
        names: class names by id.

    Yields:
        Class ids, for each class. (N,)
    """
    for index in range(len(names)):
        yield np.full_like(labels, index)


def describe_classes(labels: Array, logits: Array, names: Sequence[str]) -> dict[str, Any]:
    """Further scores of a classifier.

    Args:
        labels: class ids, none missing. (N,)
        logits: output of the model. (N, C)
        names: class names by id.

    Returns:
        `calibration_error`; `collapsed`, whether the model predicts one class for all; `per_class`, by class name
        precision, recall and rows, the number of examples.
    """
    predictions = predict_classes(logits)
    precision, recall, _, support = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    per_class = {}
    for index, name in enumerate(names):
        scores = {"precision": float(precision[index]), "recall": float(recall[index])}
        per_class[name] = {**scores, "rows": int(support[index])}
    return {
        "calibration_error": compute_calibration_error(labels, logits),
        "collapsed": bool(len(np.unique(predictions)) == 1),
        "per_class": per_class,
    }


def compute_calibration_error(labels: Array, logits: Array, *, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of confidence of share * |accuracy - mean confidence|.

    Args:
        labels: class ids, none missing. (N,)
        logits: output of the model. (N, C)
        bins: number of bins of equal size between 0 and 1.

    Returns:
        Between 0 and 1; NaN if a logit is NaN. Source: Guo et al. 2017.

    >>> compute_calibration_error(np.array([0, 1]), np.log([[0.8, 0.2], [0.8, 0.2]]))  # right once in two, says 0.8
    0.3
    """
    probabilities = softmax(logits, axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    if np.isnan(confidence).any():
        return float("nan")  # NaN belongs to no bin
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        gaps.append(inside.mean() * abs(right[inside].mean() - confidence[inside].mean()))
    return round(float(sum(gaps)), 12)


def compare_classes(labels: Array, teacher_logits: Array, student_logits: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher, mistakes included.

    Args:
        labels: class ids; examples without a label count for `equal_predictions` only. (N,)
        teacher_logits: output of the teacher. (N, C)
        student_logits: output of the student. (N, C)

    Returns:
        `equal_predictions`, the share of all examples; and the number of labelled examples by teacher right or wrong
        and student right or wrong.
    """
    teacher, student, known = predict_classes(teacher_logits), predict_classes(student_logits), has_class(labels)
    numbers: dict[str, float] = {"equal_predictions": float((teacher == student).mean())}
    return numbers | count_right_and_wrong(teacher == labels, student == labels, known)


def count_right_and_wrong(
    teacher: NDArray[np.bool_], student: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, float]:
    """Count the examples by whether teacher and student are right.

    Args:
        teacher: True where the teacher is right. (N,)
        student: True where the student is. (N,)
        known: True for examples with a label. (N,)

    Returns:
        Such as `teacher_right_student_wrong`, for all four pairs.
    """
    counts: dict[str, float] = {}
    for of_teacher in ("right", "wrong"):
        for of_student in ("right", "wrong"):
            as_named = (teacher == (of_teacher == "right")) & (student == (of_student == "right"))
            counts[f"teacher_{of_teacher}_student_{of_student}"] = int((as_named & known).sum())
    return counts


def show_share(share: float) -> str:
    """A share of equal predictions for people.

    Args:
        share: from 0 to 1.

    Returns:
        Percentage with one digit.

    >>> show_share(0.9912)
    '99.1 %'
    """
    return f"{100 * share:.1f} %"


def measure_class_distances(teacher_logits: Array, student_logits: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each example are: KL of the student's probabilities from the teacher's.

    Args:
        teacher_logits: output of the teacher. (N, C)
        student_logits: output of the student. (N, C)

    Returns:
        True where they predict different classes (N,), and the KL in nats (N,).
    """
    teacher, student = log_softmax(teacher_logits, axis=1), log_softmax(student_logits, axis=1)
    divergences = (np.exp(teacher) * (teacher - student)).sum(1)
    return predict_classes(teacher_logits) != predict_classes(student_logits), divergences


def show_class(label: int, names: Sequence[str], *_: Any) -> str:
    """A label for people.

    Args:
        label: class id.
        names: class names by id.

    Returns:
        The name.
    """
    return names[int(label)]


def show_class_answer(logits: Array, names: Sequence[str], *_: Any) -> dict[str, Any]:
    """What a model answers to one example.

    Args:
        logits: output for the example. (C,)
        names: class names by id.

    Returns:
        `answer`, the name, and `probability`.
    """
    best = int(logits.argmax())
    return {"answer": names[best], "probability": round(float(np.exp(log_softmax(logits)[best])), 3)}


def make_class_columns(logits: Array, names: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        logits: output of the model. (N, C)
        names: class names by id.

    Returns:
        `predicted_label`, and `probability_<label>` for each class. (N,)
    """
    probabilities = softmax(logits, axis=1)
    columns: dict[str, Any] = {"predicted_label": [names[index] for index in predict_classes(logits)]}
    for index, name in enumerate(names):
        columns[f"probability_{name}"] = probabilities[:, index]
    return columns


def match_outputs_to_labels(labels: Array, logits: Array) -> tuple[list[int], float, float]:
    """Which class each output of a model would have to mean for its predictions to fit the labels best.

    Args:
        labels: class ids; examples without a label do not count. (N,)
        logits: output of the model. (N, C)

    Returns:
        Class by output; accuracy as the outputs are named, and as they would be.

    >>> match_outputs_to_labels(np.array([0, 1, 1]), np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    ([1, 0], 0.0, 1.0)
    """
    known, classes = has_class(labels), logits.shape[1]
    codes = predict_classes(logits[known]) * classes + labels[known]
    counts = np.bincount(codes, minlength=classes**2).reshape(classes, classes)
    outputs, matched = linear_sum_assignment(counts, maximize=True)
    total = max(1, counts.sum())
    return matched.tolist(), float(np.trace(counts) / total), float(counts[outputs, matched].sum() / total)


def find_swapped_labels(
    examples: LabelledExamples,
    logits: Array,
    names: Sequence[str],
    *,
    judged: NDArray[np.bool_] | None = None,
    score: str = "accuracy",
) -> SwappedLabels | None:
    """Find a model whose outputs seem to mean other classes than they are named after.

    Another order of its labels has to win 0.2 accuracy, and then has to beat the most frequent class by more than two
    standard errors. So neither a collapsed model nor one that guesses is taken for one with swapped labels.

    Args:
        examples: examples of a split; those without a label do not take part. (N,)
        logits: output of the model. (N, C)
        names: class names by id.
        judged: True for examples whose accuracy counts, where one class would hide all others; None means all. (N,)
        score: name of that accuracy, for the message.

    Returns:
        What was found; None for outputs in order, also for too few examples.
    """
    known = has_class(examples.labels)
    meant, *_ = match_outputs_to_labels(examples.labels[known], logits[known])
    known = known if judged is None else known & judged
    labels, predictions = examples.labels[known], predict_classes(logits[known])
    if len(labels) < FEWEST_TO_MATCH:
        return None
    is_right, would_be_right = predictions == labels, np.array(meant)[predictions] == labels
    as_named, at_best = float(is_right.mean()), float(would_be_right.mean())
    most_frequent = np.bincount(labels).argmax()
    won = would_be_right.astype(float) - (labels == most_frequent)
    error = estimate_standard_error(sum_groups(won, examples.select(known).groups))
    if at_best - as_named < SWAPPED or won.mean() <= 2 * error:
        return None
    moved = [f"{names[i]!r} meant {names[j]!r}" for i, j in enumerate(meant) if i != j]
    shown = moved if len(moved) <= MOST_NAMED else [*moved[:MOST_NAMED], f"{len(moved) - MOST_NAMED} more were renamed"]
    pairs = f"{', '.join(shown[:-1])} and {shown[-1]}"
    sentence = f"label order seems to be swapped: its {score} is {as_named:.3f}, and would be {at_best:.3f} if {pairs}"
    return SwappedLabels(sentence, tuple(meant))
