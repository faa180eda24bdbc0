"""A trained student -> a complete run folder."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.examples import attention_examples, disagreements
from innerdistill.evaluation.latency import machine, measure_speed, typical_length
from innerdistill.evaluation.layer_distances import layer_distances
from innerdistill.evaluation.predictions import predict_splits
from innerdistill.models.pretrained import load_classifier
from innerdistill.report.card import write_card
from innerdistill.report.run_folder import PREDICTIONS, RUN, read_run, save_model, write_predictions
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.run.warnings import collect_warnings
from innerdistill.support.files import write_json
from innerdistill.support.processes import broadcast_from_first, is_first_process
from innerdistill.training.stage import StageRecord

PACKAGES = ("innerdistill", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "scikit-learn")
DISTANCE_ROWS = 1_000  # of validation, spread evenly over it: enough for a mean per layer


def finish(
    job: Job,
    student: PreTrainedModel,
    folder: Path,
    *,
    teacher: PreTrainedModel | None,
    stages: Sequence[StageRecord],
) -> dict[str, Any]:
    """Save the model, evaluate the saved files by transformers alone, and write predictions, examples and card.

    Args:
        job: the job.
        student: trained; of a fine-tuning, the teacher itself.
        folder: of the run.
        teacher: what it learned from; None for a fine-tuning.
        stages: what happened.

    Returns:
        The record of the run, to be completed.
    """
    save_model(folder / "model", student, job.tokenizer)
    saved = load_classifier(str(folder / "model"), job.problem_type.head).to(student.device)
    logits = {"student": predict_splits(saved, job.splits, job.collate)}
    if teacher is not None:
        logits["teacher"] = compute_teacher_logits(job)
    found, predictions = compare(job.splits, logits, scoring=job.scoring)
    write_predictions(folder / PREDICTIONS, predictions)
    if teacher is not None:
        validation = job.data.splits["validation"]
        shown = attention_examples(
            teacher, student, job.splits["validation"], job.collate, job.tokenizer, pairs=job.pairs
        )
        furthest = disagreements(validation, predictions["validation"], scoring=job.scoring)
        write_json(folder / "examples.json", {"attention": shown, "disagreements": furthest}, indent=None)
    models = {"student": saved} if teacher is None else {"teacher": teacher, "student": saved}
    record = {
        "recipe": job.recipe.model_dump(mode="json"),
        "versions": versions(),
        "machine": machine(saved.device),
        "git_revision": _git("rev-parse", "HEAD") if _git("ls-files", Path(__file__).name) else None,
        "data": job.describe_data(),
        "teacher": None if teacher is None else job.describe_teacher(),
        "student": {"layers": student.config.num_hidden_layers},
        "layer_map": {} if teacher is None else {str(k): m for k, m in job.pairs.items()},
        "stages": [asdict(stage) for stage in stages],
        **found,
        "speed": measure_speed(models, length=typical_length(job.splits["validation"])),
        "warnings": collect_warnings(job, found, predictions=predictions, stages=stages),
    }
    write_card(folder, record)
    return record


def distances(job: Job, student: PreTrainedModel) -> dict[str, Any]:
    """How far a student is from its teacher, layer by layer, on rows of validation.

    Args:
        job: the job.
        student: prepared.

    Returns:
        As `layer_distances`.
    """
    validation = job.splits["validation"]
    spread = np.linspace(0, len(validation) - 1, min(DISTANCE_ROWS, len(validation)))
    rows = validation.select(spread.astype(int))
    return layer_distances(job.teacher, student, rows, job.collate, pairs=job.pairs)


def is_complete(job: Job, folder: Path, *, teacher: bool) -> bool:
    """Whether a run that was stopped had written its record. What comes after it has to be of the same data and models;
    a record of others is refused, or with `overwrite` removed.

    Args:
        job: the job, as it is now.
        folder: of the run.
        teacher: whether the run has one.

    Returns:
        True if there is a record, for all processes alike.

    Raises:
        ValueError: it was made with other data, another teacher or other versions.
    """
    changed = None
    if is_first_process() and (folder / RUN).is_file():
        record = read_run(folder)
        pairs = {
            "other data": (record["data"]["fingerprint"], job.describe_data()["fingerprint"]),
            "other versions of packages": (record["versions"], versions()),
        }
        if teacher:
            pairs["another teacher"] = (record["teacher"]["fingerprint"], job.describe_teacher()["fingerprint"])
        changed = next((name for name, (then, now) in pairs.items() if then != now), "")
        if changed and job.recipe.overwrite:
            (folder / RUN).unlink()
            changed = None
    changed = broadcast_from_first(changed)
    if changed:
        raise ValueError(f"output: {folder} holds a run of {changed}; name another folder or set overwrite=true.")
    return changed is not None


def complete(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, the last file of a run; from then on its checkpoints are of no use.

    Args:
        folder: of the run.
        record: what happened and what came out.
    """
    write_json(folder / RUN, record)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def versions() -> dict[str, str]:
    """Of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _git(*words: str) -> str | None:
    """What git says of the folder of this file. One that it does not know lies in somebody else's repository."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None  # noqa: S603
    except OSError:  # no git on this machine
        return None
