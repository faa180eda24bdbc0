"""The cache of teacher outputs on disk: what the losses read for training examples, and the logits of other splits.

Runs with other seeds, methods and student sizes share the cache if they have the same teacher and examples.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.ragged import make_ragged, split_ragged
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.data.windows import PIECES, join_rows
from innerdistill.evaluation.predictions import SPLITS
from innerdistill.losses.loss import collect_needs
from innerdistill.models.heads import compute_cutoffs
from innerdistill.run.given_outputs import fill_given_store
from innerdistill.run.job import Job
from innerdistill.support.processes import (
    broadcast_from_first,
    gather_from_all,
    is_first_process,
    let_first_process_go_first,
)
from innerdistill.training.checkpoints import read_identity
from innerdistill.training.target_store import LOGITS, Part, TargetStore
from innerdistill.training.targets import Targets, choose_parts, fill_store, has_fast_bfloat16

# Bytes per example. An accelerator computes larger attention maps faster than it can read and copy them. Measured on an
# H100: the cache saves time at 10 KB, makes no difference at 200 KB, and takes four times as long at 19 MB.
BYTES_TO_ACCELERATOR = 1 << 18

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedParts:
    """Teacher outputs that are cached: parts of one model in one store.

    Attributes:
        model: the teacher, or the model that the internal losses learn from; None for given outputs.
        store: store of its outputs for the training examples.
        parts: parts that are read from there.
    """

    model: PreTrainedModel | None
    store: TargetStore
    parts: list[Part]


def load_targets(job: Job, folder: Path) -> Targets:
    """Load the teacher outputs for the student's training examples: cached where that pays, live otherwise.

    Args:
        job: job with a fine-tuned teacher.
        folder: folder of the run. A resumed run uses the same cached outputs as before, however full the disk is.

    Returns:
        Teacher outputs, cached or live.

    Raises:
        ValueError: outputs that must be cached cannot be written.
    """
    options, examples = job.recipe.teacher, job.of_teacher.select_student_examples()
    resumed_parts = (read_identity(folder / "checkpoints").get("targets") or {}).get("cached")
    choice = choose_cached_parts(job, examples, resumed_parts=resumed_parts) if is_first_process() else []
    names = broadcast_from_first([part.name for cached in choice for part in cached.parts])
    if not is_first_process():  # the free disk space changes, so all processes take the first one's choice
        choice = choose_cached_parts(job, examples, resumed_parts=names)
    for cached in choice:
        problem = _fill_in_turn(job, cached, examples=examples)
        if problem is not None:
            sentence = f"teacher.targets: the teacher outputs cannot be cached in {cached.store.folder} ({problem})"
            if options.targets == "cache" or resumed_parts or job.teacher is None:
                raise ValueError(f"{sentence}; free space or choose another teacher.folder.")
            logger.warning("%s; the teacher runs in every step instead", sentence)
            choice = []
            break
    is_fast = has_fast_bfloat16(job.reference_model.device)
    bfloat16 = options.precision == "bfloat16" or (options.precision == "auto" and is_fast)
    stores = {id(cached.model): cached.store for cached in choice}
    internal = None
    if job.internal_teacher is not None:
        internal = Targets(job.internal_teacher, store=stores.get(id(job.internal_teacher)), bfloat16=bfloat16)
    store = stores.get(id(job.of_teacher.teacher))
    return Targets(job.teacher, store=store, bfloat16=bfloat16, internal=internal)


def _fill_in_turn(job: Job, cached: CachedParts, *, examples: Dataset) -> str | None:
    """Fill a store in the first process and open it in the others; the reason if one of them fails."""
    problem = None
    with let_first_process_go_first():
        try:
            if cached.model is None:
                fill_given_store(cached.store, examples)
            else:
                fill_store(cached.model, cached.store, cached.parts, examples, job.of_teacher.collate)
        except OSError as error:
            problem = error.strerror
    return next(filter(None, gather_from_all(problem)), None)


def choose_cached_parts(
    job: Job, examples: Dataset, *, resumed_parts: Collection[str] | None = None
) -> list[CachedParts]:
    """Choose which teacher outputs are cached on disk.

    Args:
        job: an assembled job.
        examples: tokenised training examples of the student, as the teacher reads them.
        resumed_parts: names of the parts that an unfinished run uses; None for a new run.

    Returns:
        One entry per model whose outputs are cached; none if the teacher runs in every step. Given outputs are always
        read from there, whatever the budget, and so are those of a teacher that reads its own tokens.
    """
    options = job.recipe.teacher
    reading_stages = [stage for stage in job.stages if collect_needs(stage.losses, stage.pairs, job.losses).teacher]
    if job.given_outputs is not None:
        return [CachedParts(None, job.make_target_store(examples), [LOGITS])] if reading_stages else []
    if (other := job.teacher_job) is not None:
        store = other.make_target_store(examples)
        store.tokens = fingerprint_tokens(job.select_student_examples())  # the student reads the same ones in its own
        return [CachedParts(other.teacher, store, [LOGITS])] if reading_stages else []
    if options.targets == "live" or not reading_stages:
        return []
    assert job.teacher is not None
    passes = 0.0
    for stage in reading_stages:
        passes += stage.epochs or (stage.steps or 0) * job.compute_batch_size(stage) / len(examples)
    if options.targets == "auto" and passes <= 1:
        return []  # filling the cache would take as long as it saves
    store, internal_store = job.make_target_store(examples), job.make_internal_store(examples)
    parts = choose_parts(
        store,
        job.stages,
        losses=job.losses,
        cache_all=options.targets == "cache",
        max_bytes=compute_cache_budget(options.targets_gigabytes, examples=len(examples), device=job.teacher.device),
        resumed_parts=resumed_parts,
        internal_store=internal_store,
    )
    choice = [CachedParts(job.teacher, store, parts)]
    if job.internal_teacher is not None and internal_store is not None:
        logits, layers = [part for part in parts if part == LOGITS], [part for part in parts if part != LOGITS]
        choice = [CachedParts(job.teacher, store, logits), CachedParts(job.internal_teacher, internal_store, layers)]
    return [cached for cached in choice if cached.parts]


def compute_cache_budget(gigabytes: float, *, examples: int, device: torch.device) -> int:
    """Compute how many bytes of teacher outputs may be cached.

    Args:
        gigabytes: budget of the recipe in GB.
        examples: number of examples.
        device: device that trains the student.

    Returns:
        Number of bytes.
    """
    budget = int(gigabytes * 1e9)
    return budget if device.type == "cpu" else min(budget, BYTES_TO_ACCELERATOR * examples)


def compute_teacher_logits(job: Job, splits: Collection[str] = SPLITS) -> dict[str, NDArray[np.float32]]:
    """Compute the teacher's logits on evaluation splits, in the first process.

    They are cached on disk too, unless `teacher.targets` is `live`, its budget is 0 or the folder cannot be written.

    Args:
        job: job with a fine-tuned teacher, or with given outputs.
        splits: names of splits; a split that the job does not have is left out, and one without given outputs.

    Returns:
        Logits by split, relative to its thresholds. (N, C)
    """
    job, options = job.of_teacher, job.recipe.teacher
    is_cached = options.targets == "cache" or (options.targets == "auto" and options.targets_gigabytes > 0)
    is_cached = is_cached and job.teacher is not None  # given outputs are on disk already
    logits = {}
    for name in splits:
        if name in job.splits and job.data.has_outputs(name):
            cached = _read_or_cache_logits(job, job.splits[name]) if is_cached else None
            select = partial(_get_split, name)
            logits[name] = job.compute_teacher_logits(select) if cached is None else cached
    return logits


def _get_split(name: str, job: Job) -> Dataset:
    return job.splits[name]


def _read_or_cache_logits(job: Job, examples: Dataset) -> NDArray[np.float32] | None:
    """Read logits from the cache, and compute them first if they are missing; None if the cache cannot be written."""
    assert job.teacher is not None
    store = job.make_target_store(examples)
    try:
        fill_store(job.teacher, store, [LOGITS], examples, job.collate)
    except OSError as error:
        logger.warning("teacher.folder: nothing can be cached in %s (%s)", store.folder, error.strerror)
        return None
    if PIECES in examples.column_names:
        of_tokens = split_ragged(np.array(store.arrays[LOGITS]), store.lengths)
        pieces = read_numbers(examples, PIECES)
        return join_rows(examples, make_ragged(map(operator.getitem, of_tokens, pieces)))
    return join_rows(examples, np.array(store.arrays[LOGITS]) - compute_cutoffs(job.teacher.config))
