"""A teacher that reads its own tokens, since its family, size or tokenizer is not the student's.

The student learns from its outputs alone. Such a job has two views of its examples: its own, in the student's tokens,
and `Job.of_teacher`, in the teacher's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.models.check import SIZES, list_other_inputs, list_other_measures
from innerdistill.models.families import has_family
from innerdistill.models.other_families import explain_refusal
from innerdistill.models.pretrained import load_tokenizer, longest_input, read_config_with_head
from innerdistill.models.probe import measure_model, probe
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.job import Job
from innerdistill.run.objects import Place
from innerdistill.run.tokenised import tokenise_splits
from innerdistill.run.warnings import list_teacher_token_warnings
from innerdistill.run.without_teacher import NO_CHECKPOINTS
from innerdistill.support.messages import name_key
from innerdistill.training.schedules import SCHEDULES

PROBES = (
    "A short text, with Capitals.",
    "Ça coûte 3,50 € – naïve café; 東京, 123!",
)

logger = logging.getLogger(__name__)


def refuse_unreadable_layers(recipe: Recipe, places: Mapping[str, Place]) -> None:
    """Refuse models whose layers cannot be read, where a schedule compares them or a student is to have some of them.

    Args:
        recipe: recipe of the run.
        places: the models of the recipe by key.

    Raises:
        ValueError: there is such a model; the sentence says why its layers cannot be read, and what works.
    """
    schedule, has_source = recipe.schedule.name, recipe.student.source not in NO_CHECKPOINTS
    for key in ("teacher.path", "teacher.base", *(["student.source"] if has_source else [])):
        if key not in places:
            continue
        with name_key(key):
            config = read_config_with_head(places[key])
            if has_family(config):
                continue
            reason = f"layers of the family {config.model_type!r} are not supported ({explain_refusal(config)})"
            if SCHEDULES[schedule].compares_layers:
                raise ValueError(
                    f"{reason}, and schedule.name={schedule} compares them. Its outputs can be learned: set "
                    "schedule.name=soft_labels"
                    + ("." if has_source else ", and student.source to a checkpoint (folder or name).")
                )
            if not has_source:
                raise ValueError(
                    f"{reason}, so a student cannot copy them; name its own checkpoint (folder or name) in "
                    "student.source."
                )


def load_own_tokenizer(
    recipe: Recipe,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: PreTrainedModel | None,
    *,
    place: Place | None,
    texts: int,
) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer of a student that differs from its teacher: in family, size, vocabulary or in its tokens.

    Args:
        recipe: recipe of the run.
        teacher: the teacher.
        tokenizer: tokenizer of the teacher.
        source: model whose layers the student copies; None if that is the teacher.
        place: where `source` is from.
        texts: texts of an example, 1 or 2.

    Returns:
        The student's tokenizer; None where both read the same tokens, as they must if a schedule compares layers.

    Raises:
        ValueError: two models that differ, where the student's tokenizer is missing or a head cannot be copied.
    """
    if source is None or place is None or SCHEDULES[recipe.schedule.name].compares_layers:
        return None
    difference = _find_difference(source, teacher)
    if isinstance(place, PreTrainedModel):
        if difference is None:
            return None
        raise ValueError(
            f"student.source: {difference} So the two read tokens of their own, and the student is an object without "
            "a tokenizer; give a folder or name that has both."
        )
    try:
        own = load_tokenizer(place, source, texts=texts)
    except ValueError as error:
        if difference is None:  # a folder of weights alone: it reads what the teacher reads
            return None
        raise ValueError(f"student.source: {error}") from None
    if difference is None and not _tokenise_alike(own, tokenizer):
        difference = "The tokenizers of teacher and student differ."
    if difference is None:
        return None
    if recipe.student.head == "teacher":
        raise ValueError(f"student.head: the teacher's head does not fit. {difference} Leave it out.")
    logger.info("%s Each reads tokens of its own, and the student learns from the teacher's outputs alone.", difference)
    return own


def _find_difference(source: PreTrainedModel, teacher: PreTrainedModel) -> str | None:
    """Why two models cannot read the same batches, or have other sizes, as a sentence; None if they are alike."""
    families = teacher.config.model_type, source.config.model_type
    readable = has_family(source.config) and has_family(teacher.config)
    others = list_other_inputs(source, teacher) + list_other_measures(source, probe(teacher), SIZES) if readable else []
    if readable and not others:
        return None
    if families[0] != families[1] or not readable:
        return f"The teacher is of the family {families[0]!r}, the student of the family {families[1]!r}."
    measure, ours, theirs = others[0]
    return f"The teacher's {measure} is {theirs}, the student's {ours}."


def _tokenise_alike(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> bool:
    if first.get_vocab() != second.get_vocab():
        return False
    return all(first(text)["input_ids"] == second(text)["input_ids"] for text in PROBES)


def add_teacher_job(job: Job, teacher: PreTrainedModel | None, tokenizer: PreTrainedTokenizerBase | None) -> Job:
    """Add the examples as a teacher reads them that reads its own tokens.

    Args:
        job: job of the student.
        teacher: the teacher, or the base model that it is made from.
        tokenizer: its tokenizer; None where it reads the student's tokens.

    Returns:
        The job with `teacher_job`; the same job without such a teacher.

    Raises:
        ValueError: the outputs of this problem type cannot be compared from other tokens.
    """
    if teacher is None or tokenizer is None:
        return job
    if (reason := job.problem_type.needs_same_tokens) is not None:
        raise ValueError(f"student.source: teacher and student must read the same tokens, since {reason}")
    if job.recipe.teacher.targets == "live":
        raise ValueError(
            "teacher.targets: 'live' means that the teacher runs in every step, and this one reads its own tokens; "
            "leave it out, and its outputs are computed once."
        )
    max_length = longest_input(tokenizer, teacher, job.recipe.data.max_length)
    examples, architecture = job.problem_type.examples, measure_model(teacher)
    tokens = tokenise_splits(job.data, tokenizer, examples=examples, names=job.names, max_length=max_length)
    teacher_job = replace(
        job,
        splits=tokens.splits,
        truncated=tokens.truncated,
        unknown=tokens.unknown,
        tokenizer=tokenizer,
        collate=examples.make_collator(tokenizer, pad_to=max_length if job.recipe.pad_to_max_length else None),
        teacher=teacher.to(job.reference_model.device),
        architecture=architecture,
        source=None,
        num_layers=architecture.num_layers,
        max_length=max_length,
        callbacks=(),
    )
    for warning in list_teacher_token_warnings(job, teacher_job):
        logger.warning("Warning: %s", warning)
    return replace(job, teacher_job=teacher_job)
