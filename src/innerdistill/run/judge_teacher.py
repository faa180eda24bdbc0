"""Is a teacher good enough to learn from? Judged on the selection split, since validation is only for the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from innerdistill.data.class_labels import are_stock_names
from innerdistill.evaluation.differences import PairedDifference, compare_on_examples
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import show_metric
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.recipe.advice import advise_on_teacher
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.support.messages import USELESS_TEACHER, join_names, shorten_value
from innerdistill.support.processes import broadcast_from_first, is_first_process

FEW_EXAMPLES = 100  # with fewer on a split, a difference of .15 in accuracy may be within two standard errors

FEWEST_MISSED = 3  # examples of a class; fewer may all be misjudged by chance
MOST_NAMED = 3  # classes that a sentence names

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherProblem:
    """What is wrong with a teacher.

    Attributes:
        cause: what was found, in a sentence or two.
        advice: what to try next, in a sentence.
        is_useless: whether it predicts one class, or is clearly worse than the constant answer.
    """

    cause: str
    advice: str
    is_useless: bool

    def __str__(self) -> str:
        """Cause and advice."""
        return f"{self.cause} {self.advice}"


def check_teacher(job: Job) -> None:
    """Check a teacher before hours of training: refuse a useless one, warn of a doubtful one.

    Nothing is known of outputs that are given for other splits than selection.

    Args:
        job: job with a fine-tuned teacher, or with given outputs.

    Raises:
        ValueError: the teacher is useless, and `teacher.allow_weak` is not set; the same in all processes.
    """
    refusal = None
    if is_first_process():
        examples = LabelledExamples.from_dataset(job.splits["selection"])
        logits = compute_teacher_logits(job, ["selection"]).get("selection")
        problem = None if logits is None else find_teacher_problem(job, examples, logits, split="selection")
        if problem is not None and problem.is_useless and not job.recipe.teacher.allow_weak:
            refusal = f"{USELESS_TEACHER} {problem} To distil from it anyway, set teacher.allow_weak=true."
        elif problem is not None:
            logger.warning("Warning: %s", problem)
    refusal = broadcast_from_first(refusal)
    if refusal is not None:
        raise ValueError(refusal)


def find_teacher_problem(
    job: Job, examples: LabelledExamples, logits: NDArray[Any], *, split: str
) -> TeacherProblem | None:
    """Find out what is wrong with a teacher: collapsed, label order swapped, no better than a constant answer.

    Args:
        job: job with a fine-tuned teacher.
        examples: examples of the split. (N,)
        logits: output of the teacher. (N, C)
        split: name of the split, for the sentence.

    Returns:
        The problem; None for a teacher that beats the constant answer by more than two standard errors of the paired
        difference. Without labels, all that can be seen is a teacher that has collapsed.
    """
    scoring, labels = job.scoring, examples.labels
    predictions = scoring.predictions.predict(logits)
    if np.ptp(scoring.predictions.identify(predictions)) == 0:
        answer = f"predicts {scoring.predictions.show_label(predictions[0], scoring.names)!r} for"
        if scoring.predictions.shape == "embeddings":
            answer = "makes the same embedding of"
        cause = f"The teacher {answer} all {len(labels):,} examples of {split} (collapsed)."
        return TeacherProblem(cause, _advise_on_training(job), is_useless=True)
    if not scoring.predictions.has_label(labels).any():
        return None
    labelled, predictions = scoring.select_labelled(examples), scoring.predict_labelled(examples, logits)
    scores = score_outputs(labels, logits, scoring=scoring, predictions=predictions)
    above = compare_on_examples(labelled, predictions, scoring.answer_constant(labelled.labels), scoring=scoring)
    is_trained_here = job.recipe.teacher.base is not None
    swapped = scoring.predictions.find_swapped_labels(examples, logits, scoring.names)
    if swapped is not None and not is_trained_here:
        cause = f"On {split}, the teacher's {swapped.sentence}."
        advice = _advise_on_order(job, swapped.meant)
        return TeacherProblem(cause, advice, above.is_clearly_negative)
    missed = describe_missed_classes(job, "teacher", list_missed_classes(scores), split=split)
    if above.is_clearly_positive:
        return None if missed is None else TeacherProblem(missed, _advise_on_training(job), is_useless=False)
    cause = " ".join(filter(None, [missed, _describe_chance(job, scores, above, split=split, labelled=labelled)]))
    return TeacherProblem(cause, _advise_on_chance(job, above, scores), above.is_clearly_negative)


def list_missed_classes(scores: Mapping[str, Any]) -> dict[str, int]:
    """List the classes that a model never recognises.

    Args:
        scores: scores of the model on one split, from `score_outputs`.

    Returns:
        Number of examples by class name, for classes with at least 3 examples. Empty for a model that predicts one
        class, and where no classes are predicted.
    """
    missed: dict[str, int] = {}
    if scores.get("collapsed"):
        return missed
    for name, of_class in (scores.get("per_class") or {}).items():
        if of_class["recall"] == 0 and of_class["rows"] >= FEWEST_MISSED:
            missed[name] = of_class["rows"]
    return missed


def describe_missed_classes(job: Job, model: str, missed: Mapping[str, int], *, split: str) -> str | None:
    """Name the classes that a model never recognises.

    Args:
        job: job of the run.
        model: `teacher` or `student`.
        missed: number of examples by class name, from `list_missed_classes`.
        split: name of the split that they were counted on.

    Returns:
        A sentence with the number of examples of each class; None if no class is missed.
    """
    if not missed:
        return None
    counts, parts = job.count_train_labels(), []
    for name in list(missed)[:MOST_NAMED]:
        in_train = counts[name]
        parts.append(f"{shorten_value(name)} ({missed[name]:,} examples of {split}, {in_train:,} of train)")
    more = f" and {len(missed) - MOST_NAMED} more" if len(missed) > MOST_NAMED else ""
    verb = "its recall is" if len(missed) == 1 else "their recall is"
    return f"The {model} never recognises {', '.join(parts)}{more}: {verb} 0."


def _advise_on_order(job: Job, meant: Sequence[int]) -> str:
    """What gives the teacher's outputs the right names, with the class that each output means.

    The order of data.labels decides for a model with stock names alone, and not where the data has numbers. For F1 it
    would also change whose F1 is measured.
    """
    assert job.names  # only classes can be missed or swapped
    names = [job.names[index] for index in meant]
    if job.teacher is None:
        labels = join_names(job.names)
        return f"Check {job.recipe.data.outputs_key}: the outputs for {labels} mean {join_names(names)}, in this order."
    written = {label for label in pc.unique(job.data.splits["train"]["label"]).to_pylist() if label is not None}
    has_stock_names = are_stock_names(list(job.teacher.config.id2label.values()))
    if has_stock_names and job.metric != "f1" and not all(label.isdecimal() for label in written):
        return f"Set data.labels=[{join_names(names)}], which is the order of the teacher's outputs."
    order = f": the outputs mean {join_names([shorten_value(name) for name in names])}, in this order"
    return f"Correct id2label and label2id in its config.json{order}."


def _describe_chance(
    job: Job, scores: dict[str, Any], above: PairedDifference, *, split: str, labelled: LabelledExamples
) -> str:
    metric, scoring = job.metric, job.scoring
    constant = scoring.predictions.show_label(scoring.answer_constant(labelled.labels)[0], scoring.names)
    answer = f"always answering {constant!r}" if scoring.names else "a constant answer"
    word = "clearly less than" if above.is_clearly_negative else "not clearly more than"
    return (
        f"The teacher scores {scores[metric]:.3f} {show_metric(metric)} on {split}. That is {word} {answer} "
        f"({scores['constant']:.3f}; the difference is {above.difference:+.3f} with a standard error of "
        f"{above.standard_error:.3f})."
    )


def _advise_on_chance(job: Job, above: PairedDifference, scores: dict[str, Any]) -> str:
    is_trained_here = job.recipe.teacher.base is not None
    if is_trained_here and scores["rows"] < FEW_EXAMPLES and above.difference > 0:
        return f"{scores['rows']} examples are too few to tell: give more training examples."
    return _advise_on_training(job)


def _advise_on_training(job: Job) -> str:
    return advise_on_teacher(job.recipe, examples=len(job.splits["train"]))
