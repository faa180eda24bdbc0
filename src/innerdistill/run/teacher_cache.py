"""What the teacher answers, kept on disk: for training rows what the losses read, for evaluation splits its logits.

Runs of other seeds, methods and sizes that have the teacher and the rows in common share what is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.predictions import SPLITS, predict_logits
from innerdistill.run.cost import targets_to_keep
from innerdistill.run.job import Job
from innerdistill.support.processes import (
    broadcast_from_first,
    gather_from_all,
    is_first_process,
    let_first_process_go_first,
)
from innerdistill.training.checkpoints import begun_by
from innerdistill.training.target_store import LOGITS
from innerdistill.training.targets import Targets, has_fast_bfloat16, keep_targets

logger = logging.getLogger(__name__)


def kept_targets(job: Job, folder: Path) -> Targets:
    """The teacher's targets for the student's training rows: what is worth it is kept on disk, the rest made live.

    Args:
        job: with a fine-tuned teacher.
        folder: of the run; an unfinished one goes on with what it was begun with, however full the disk is by now.

    Returns:
        Targets.

    Raises:
        ValueError: there is no room for what has to be kept.
    """
    options, rows = job.recipe.teacher, job.select_student_rows()
    begun_with = (begun_by(folder / "checkpoints").get("targets") or {}).get("kept")
    kept = targets_to_keep(job, rows, begun_with=begun_with) if is_first_process() else None
    names = broadcast_from_first([part.name for part in kept[1]] if kept is not None else [])
    if not is_first_process():  # the free disk, which may count, is another one at every look
        kept = targets_to_keep(job, rows, begun_with=names)
    if kept is not None:
        problem = None
        with let_first_process_go_first():
            try:
                keep_targets(job.teacher, *kept, rows, job.collate)
            except OSError as error:
                problem = error.strerror
        if any(problems := gather_from_all(problem)):
            where = f"teacher.targets: they cannot be kept in {kept[0].folder} ({next(filter(None, problems))})"
            if options.targets == "keep" or begun_with:
                raise ValueError(f"{where}; free space or choose another teacher.folder.")
            logger.warning("%s; the teacher runs in every step instead", where)
            kept = None
    fast = has_fast_bfloat16(job.teacher.device)
    bfloat16 = options.precision == "bfloat16" or (options.precision == "auto" and fast)
    return Targets(job.teacher, store=kept and kept[0], bfloat16=bfloat16)


def teacher_logits(job: Job, splits: Collection[str] = SPLITS) -> dict[str, NDArray[np.float32]]:
    """The teacher's logits on evaluation splits, for the first process.

    They are kept on disk too, unless `teacher.targets` is `live`, its budget is 0 or nothing can be written there.

    Args:
        job: with a fine-tuned teacher.
        splits: which; those that the job does not have are left out.

    Returns:
        By split. (N, C)
    """
    options, found = job.recipe.teacher, {}
    is_kept = options.targets == "keep" or (options.targets == "auto" and options.targets_gigabytes > 0)
    for name in (name for name in splits if name in job.splits):
        rows = job.splits[name]
        if is_kept:
            store = job.make_target_store(rows)
            try:
                keep_targets(job.teacher, store, [LOGITS], rows, job.collate)
                found[name] = np.array(store.arrays[LOGITS])
                continue
            except OSError as error:
                logger.warning("teacher.folder: nothing can be kept in %s (%s)", store.folder, error.strerror)
        found[name] = predict_logits(job.teacher, rows, job.collate)
    return found
