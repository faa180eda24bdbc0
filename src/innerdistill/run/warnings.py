"""Warnings: problems that a reader of a run's scores should know first, each with a cause that was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from innerdistill.data.arrow import read_numbers
from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.splits import list_text_columns
from innerdistill.data.task_data import OVERLAP, SELECTION_OVERLAP, TaskData
from innerdistill.data.windows import read_of_examples
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.recipe.advice import advise_on_teacher, correct_rate, find_student_rate, name_other_rate
from innerdistill.run.job import Job
from innerdistill.run.judge_teacher import describe_missed_classes, find_teacher_problem, list_missed_classes
from innerdistill.support.messages import format_count
from innerdistill.training.stage import StageRecord, list_stage_warnings

UNKNOWN_SHARE = 0.1  # share of unknown tokens that a tokenizer of the right language does not reach


def collect_warnings(
    job: Job,
    compared: Mapping[str, Any],
    *,
    predictions: Mapping[str, Mapping[str, Any]],
    stages: Sequence[StageRecord],
) -> list[str]:
    """Collect the warnings of a finished run.

    Args:
        job: job of the run.
        compared: scores by split and model, from `compare`.
        predictions: labels and logits by split, from `compare`.
        stages: records of the stages.

    Returns:
        Sentences.
    """
    warnings, columns = [], predictions["validation"]
    scores = compared["scores"].get("validation", {})
    if "teacher" in columns and not scores.get("teacher", {}).get("collapsed"):  # the headline says so, and what to try
        examples = LabelledExamples.from_columns(columns, scoring=job.scoring)
        problem = find_teacher_problem(job, examples, columns["teacher"], split="validation")
        warnings += [] if problem is None else [str(problem)]
    warnings += _list_missed_by_trained(job, scores)
    warnings += list_stage_warnings(stages)
    warnings += list_data_warnings(job.problem_type.examples, job.data, job.splits, names=job.names)
    warnings += _list_overlap_warnings(job.data.notes) + _list_search_warnings(job.data.notes)
    warnings += _list_truncation_warnings(job)
    if (other := job.teacher_job) is not None:
        warnings += [f"As the teacher reads them: {sentence}" for sentence in _list_truncation_warnings(other)]
        warnings += list_teacher_token_warnings(job, other)
    return warnings + list_unknown_token_warnings(job.unknown)


def _list_truncation_warnings(job: Job) -> list[str]:
    """A sentence for every split with examples that are longer than a model reads."""
    warnings = []
    for split, count in job.truncated.items():
        if count and job.problem_type.examples.has_windows:
            warnings.append(
                f"{format_count(count, 'window')} of {split} {'ends' if count == 1 else 'end'} inside a word that no "
                f"window of {job.max_length} tokens holds as a whole."
            )
        elif count:
            noun = "texts" if job.problem_type.examples.pairs_apart else "examples"
            warnings.append(f"{count} {noun} of {split} were longer than {job.max_length} tokens and were truncated.")
    return warnings


def _list_missed_by_trained(job: Job, scores: Mapping[str, Any]) -> list[str]:
    """Classes that the trained model never recognises: those of its teacher, which it learned from it, and its own."""
    missed, of_teacher = (list_missed_classes(scores.get(model, {})) for model in ("student", "teacher"))
    if "teacher" not in scores and job.given_outputs is None:
        sentence, advice = describe_missed_classes(job, "teacher", missed, split="validation"), _advise_teacher(job)
        return [] if sentence is None else [f"{sentence} {advice}"]
    learned = {name: rows for name, rows in missed.items() if name in of_teacher}
    own = {name: rows for name, rows in missed.items() if name not in of_teacher}
    warnings = []
    if sentence := describe_missed_classes(job, "student", learned, split="validation"):
        warnings.append(f"{sentence} It learned that from its teacher.")
    if sentence := describe_missed_classes(job, "student", own, split="validation"):
        key, rate = find_student_rate(job.recipe, is_internal=False)
        advice = correct_rate(key, rate) or f"Try {name_other_rate(key, rate)}, longer training, or more such examples."
        warnings.append(f"{sentence} {advice}")
    return warnings


def _advise_teacher(job: Job) -> str:
    return advise_on_teacher(job.recipe, examples=len(job.splits["train"]))


def _list_overlap_warnings(notes: Mapping[str, Any]) -> list[str]:
    """Examples of one split that another split has too; a selection split that is held out has none."""
    counts = {("validation", "train"): notes[OVERLAP]}
    for other, count in notes.get(SELECTION_OVERLAP, {}).items():
        counts["selection", other] = count
    warnings = []
    for (split, other), count in counts.items():
        is_search = split in notes.get("searches", ())
        advice = f"leave them out of {other}" if is_search else "data.drop_overlap=true leaves them out"
        if other == "validation":
            advice = "what is chosen on them is not judged by fresh examples"
        if count:
            noun = "queries" if is_search else "examples"
            warnings.append(f"{count} {noun} of {split} are also in {other}, word for word; {advice}.")
    return warnings


def _list_search_warnings(notes: Mapping[str, Any]) -> list[str]:
    """Queries that are left out or cannot be answered, by split."""
    warnings = []
    for split, counts in notes.get("searches", {}).items():
        if count := counts["without_judgements"]:
            warnings.append(f"Queries of {split} without any judgement are left out: {count:,}.")
        if count := counts["without_relevant_documents"]:
            warnings.append(f"Queries of {split} without a relevant document score 0, as in BEIR: {count:,}.")
    return warnings


def list_data_warnings(
    examples: ExampleType, data: TaskData, splits: Mapping[str, Dataset], *, names: Names
) -> list[str]:
    """Check whether every class has examples, whether labels differ only in how they are written, and for empty texts.

    Args:
        examples: how examples of the problem type are read.
        data: splits as text.
        splits: splits as tokens, by name.
        names: class names in the order of the model's outputs; None where labels are numbers.

    Returns:
        Sentences.
    """
    train, validation = (read_of_examples(splits[name], "labels") for name in ("train", "validation"))
    written = [data.splits[name]["label"] for name in ("train", "validation", "selection")]
    labels = pa.chunked_array(list(chain.from_iterable(column.chunks for column in written)), pa.string())
    missing = examples.warn_of_missing(train, validation, names) if data.has_labels("train") else []
    return missing + examples.warn_of_spellings(labels) + _list_empty_text_warnings(examples, data)


def _list_empty_text_warnings(examples: ExampleType, data: TaskData) -> list[str]:
    """A sentence for every split with texts that have no word, where each text is compared with others."""
    warnings = []
    for split, table in data.splits.items() if examples.pairs_apart else ():
        columns = [pc.utf8_trim_whitespace(table[name]) for name in list_text_columns(table)]
        count = sum(pc.sum(pc.equal(column, "")).as_py() or 0 for column in columns)
        if count:
            are = "text is" if count == 1 else "texts are"
            warnings.append(
                f"{count} {are} empty in {split}: the embedding of nothing is compared with others; leave them out."
            )
    return warnings


def list_unknown_token_warnings(unknown: Mapping[str, float], *, reader: str = "the tokenizer") -> list[str]:
    """Check whether the tokenizer knows the words of every split.

    Args:
        unknown: share of unknown tokens by split.
        reader: the tokenizer, in a sentence.

    Returns:
        One sentence for every split with many unknown tokens.
    """
    warnings = []
    for split, share in unknown.items():
        if share > UNKNOWN_SHARE:
            warnings.append(
                f"{share:.0%} of the tokens of {split} are unknown to {reader}: does it belong to this model, and to "
                "this language?"
            )
    return warnings


def list_teacher_token_warnings(job: Job, teacher_job: Job) -> list[str]:
    """Check a teacher's own tokenizer: whether it knows the words, and leaves something of what the student reads.

    Args:
        job: job of the student.
        teacher_job: the same examples as the teacher reads them.

    Returns:
        Sentences.
    """
    warnings = list_unknown_token_warnings(teacher_job.unknown, reader="the teacher's tokenizer")
    empty = [""] * len(job.data.task.text)
    for split in job.splits:
        nothing = {
            model: read_numbers(reader.splits[split], "length") <= len(reader.tokenizer(*empty)["input_ids"])
            for model, reader in (("student", job), ("teacher", teacher_job))
        }
        for model, other in (("teacher", "student"), ("student", "teacher")):
            if count := int(np.sum(nothing[model] & ~nothing[other])):
                warnings.append(
                    f"The {model}'s tokenizer leaves nothing of {format_count(count, 'text')} of {split}, while the "
                    f"{other}'s does: does it drop characters of this language?"
                )
    return warnings
