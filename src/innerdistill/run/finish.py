"""A trained student -> a complete run folder."""

from __future__ import annotations

import logging
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.token_rows import decode_tokens
from innerdistill.data.windows import read_of_examples, select_examples_evenly
from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.differences import PairedDifference
from innerdistill.evaluation.examples import collect_attention, find_disagreements
from innerdistill.evaluation.latency import compute_typical_length, describe_machine, measure_speed
from innerdistill.evaluation.predictions import predict_logits, predict_splits
from innerdistill.losses.registry import LOSSES
from innerdistill.models.heads import read_thresholds
from innerdistill.models.pretrained import load_classifier
from innerdistill.report.card import read_origin, write_card
from innerdistill.report.record import (
    DataRecord,
    Difference,
    Distances,
    RunRecord,
    StudentRecord,
    TrainedStage,
)
from innerdistill.report.run_folder import (
    BASELINE_FOLDER,
    CHECKPOINTS,
    EXAMPLES,
    MODEL,
    PREDICTIONS,
    RUN,
    has_record,
    read_record,
    save_model,
    write_predictions,
    write_record,
)
from innerdistill.report.speed_record import Speed
from innerdistill.report.teacher_record import TargetsRecord, TeacherRecord
from innerdistill.run.distances import FirstDistances, measure_distances
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.run.thresholds import settle_thresholds
from innerdistill.run.warnings import collect_warnings
from innerdistill.support.extensions import find_packages
from innerdistill.support.files import write_json
from innerdistill.support.processes import broadcast_from_first, is_first_process
from innerdistill.training.stage import StageRecord

PACKAGES = ("innerdistill", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "scikit-learn")
DISTANCES_FROM = {"teacher": "distances", "internal_teacher": "internal_distances"}  # names in the record
TRAIN_ROWS = 500  # of train, on which a student that is clearly below its teacher is compared with it once more

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distillation:
    """What a distillation knows that a fine-tuning does not.

    Attributes:
        start: fingerprint of the student's weights before training.
        targets: where the teacher outputs came from, from `Targets.describe`.
        first: distances of the layers before training.
        untrained: logits of the student before training, by split; None where its head is new.
    """

    start: str
    targets: Mapping[str, Any]
    first: FirstDistances
    untrained: Mapping[str, NDArray[Any]] | None = None


def finish(
    job: Job,
    model: PreTrainedModel,
    folder: Path,
    *,
    stages: Sequence[StageRecord],
    distillation: Distillation | None,
) -> None:
    """Save the trained model, evaluate the saved files with transformers alone, and write all files of the run.

    run.json comes last: a folder that has it has all the others. Then the checkpoints are deleted.

    Args:
        job: the job.
        model: trained student; in a fine-tuning, the teacher itself.
        folder: folder of the run.
        stages: what happened in training.
        distillation: start, targets and distances of a student; None for a fine-tuning.
    """
    settle_thresholds(job, model)
    save_model(folder / MODEL, model, job.tokenizer, max_length=job.max_length, head=job.problem_type.head)
    saved = load_classifier(str(folder / MODEL), job.problem_type.head).to(model.device)
    scored = f"{job.data.splits['validation'].num_rows:,} examples of validation"
    trained = "student and teacher" if job.has_teacher else "the student"
    logger.info("Score %s on %s.", "the teacher" if distillation is None else trained, scored)
    logits = {"student": predict_splits(saved, job.splits, job.collate)}
    models = {"student": saved}
    if distillation is not None:
        logits["teacher"] = compute_teacher_logits(job)
        if distillation.untrained is not None:
            logits["untrained"] = dict(distillation.untrained)
        if (teacher := job.of_teacher.teacher) is not None:
            models = {"teacher": teacher, "student": saved}
    comparison, predictions = compare(job.splits, logits, scoring=job.scoring, against_teacher=job.data.against_teacher)
    write_predictions(folder / PREDICTIONS, predictions)
    below = comparison["differences"].get("validation")
    if below is not None and PairedDifference(**below).is_clearly_negative:
        comparison["agreement"]["train"] = _measure_agreement_on_train(job, saved)
    if distillation is not None:
        _write_examples(job, model, folder, predictions=predictions["validation"])
    record = _build_record(
        job,
        model,
        comparison=comparison,
        speed=measure_speed(models, length=compute_typical_length(job.splits["validation"])),
        machine=describe_machine(saved.device),
        stages=stages,
        warnings=collect_warnings(job, comparison, predictions=predictions, stages=stages),
        distillation=distillation,
    )
    write_card(folder, record)
    write_record(folder, record)
    delete_checkpoints(folder)


def is_trained(job: Job, folder: Path, *, teacher: bool) -> bool:
    """Whether training is over: the run's record is there. It must be of the same data, models and package versions.

    A record of others is refused, or deleted with `overwrite`.

    Args:
        job: the job, as it is now.
        folder: folder of the run.
        teacher: whether the run has a teacher.

    Returns:
        True if there is a record; the same in all processes.

    Raises:
        ValueError: the record is of other data, another teacher or other versions.
    """
    difference = None
    if is_first_process() and has_record(folder):
        difference = _find_difference(job, read_record(folder), teacher=teacher)
        if difference and job.recipe.overwrite:
            (folder / RUN).unlink()
            difference = None
    difference = broadcast_from_first(difference)
    if difference:
        raise ValueError(f"output: {folder} holds a run of {difference}; name another folder or set overwrite=true.")
    return difference is not None


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a run; once its record is written, they are of no use.

    Args:
        folder: folder of the run.
    """
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def record_seconds(folder: Path, seconds: float) -> None:
    """Add the wall time of a command to what its run has taken so far.

    Args:
        folder: folder of the run.
        seconds: wall time of the command. Of a run that was stopped before, the time of its stages counts instead if
            that is more.
    """
    record = read_record(folder)
    of_stages = sum(stage.seconds for stage in record.stages)
    if has_record(folder / BASELINE_FOLDER):
        of_stages += sum(stage.seconds for stage in read_record(folder / BASELINE_FOLDER).stages)
    total = max((record.seconds or 0.0) + seconds, of_stages)
    write_record(folder, record.model_copy(update={"seconds": total}))


def get_versions() -> dict[str, str]:
    """Get the versions of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _measure_agreement_on_train(job: Job, student: PreTrainedModel) -> dict[str, float]:
    """Agreement with the teacher on training examples: evidence for what a student that is clearly below it lacks."""
    rows = _select_train_rows(job)
    teacher_logits = job.compute_teacher_logits(_select_train_rows)
    student_logits, labels = predict_logits(student, rows, job.collate), read_of_examples(rows, "labels")
    return job.scoring.predictions.compare(labels, teacher_logits, student_logits)


def _select_train_rows(job: Job) -> Dataset:
    return select_examples_evenly(job.splits["train"], TRAIN_ROWS)


def _write_examples(job: Job, student: PreTrainedModel, folder: Path, *, predictions: Mapping[str, Any]) -> None:
    attention, furthest = [], []
    if job.teacher is not None:
        attention = collect_attention(
            job.teacher, student, job.splits["validation"], job.collate, job.tokenizer, pairs=job.pairs
        )
    if "teacher" in predictions:
        furthest = find_disagreements(job.data.splits["validation"], predictions, scoring=job.scoring)
    for example in furthest:
        example["texts"] = [_show_text(job, text) for text in example["texts"]]
    write_json(folder / EXAMPLES, {"attention": attention, "disagreements": furthest}, indent=None)


def _show_text(job: Job, text: str) -> str:
    return (
        decode_tokens(text, job.tokenizer) if job.data.task.is_tokenised else job.problem_type.examples.show_text(text)
    )


def _build_record(
    job: Job,
    model: PreTrainedModel,
    *,
    comparison: Mapping[str, Any],
    speed: Mapping[str, Any],
    machine: str,
    stages: Sequence[StageRecord],
    warnings: list[str],
    distillation: Distillation | None,
) -> RunRecord:
    origin = _find_origin(job, is_distilled=distillation is not None)
    base_model, license_name = (None, None) if origin is None else read_origin(origin)
    return RunRecord(
        recipe=job.recipe,
        versions=get_versions(),
        machine=machine,
        git_revision=_ask_git("rev-parse", "HEAD") if _ask_git("ls-files", Path(__file__).name) else None,
        extensions=_find_extensions(job, model, stages, is_distilled=distillation is not None),
        data=DataRecord(**job.describe_data()),
        **_describe_distillation(job, model, distillation),
        student=StudentRecord(
            layers=model.config.get_text_config().num_hidden_layers,
            start=None if distillation is None else distillation.start,
            base_model=base_model,
            license=license_name,
            thresholds=None if (chosen := read_thresholds(model.config)) is None else chosen.tolist(),
        ),
        layer_map={} if distillation is None else job.pairs,
        stages=[TrainedStage.model_validate(asdict(stage)) for stage in stages],
        scores=comparison["scores"],
        agreement=comparison["agreement"],
        differences=_read_differences(comparison["differences"]),
        untrained_agreement=comparison.get("untrained_agreement"),
        above_untrained=_read_differences(comparison["above_untrained"]) if "above_untrained" in comparison else None,
        speed=Speed.model_validate(speed),
        warnings=warnings,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _describe_distillation(job: Job, student: PreTrainedModel, distillation: Distillation | None) -> dict[str, Any]:
    """Parts of the record on what the student learned from, and how far its layers are from that."""
    if distillation is None:
        return {"teacher": None}
    targets = TargetsRecord.model_validate(distillation.targets)
    of_teacher = job.read_teacher_thresholds()
    thresholds = None if of_teacher is None else of_teacher.tolist()
    if job.teacher is None:
        return {"teacher": TeacherRecord(**job.describe_teacher(), targets=targets, thresholds=thresholds)}
    first, after = distillation.first, measure_distances(job, student)
    described = {"teacher": {**job.describe_teacher(), "targets": targets}}
    if (internal := job.describe_internal_teacher()) is not None:
        described["internal_teacher"] = internal
    parts: dict[str, Any] = {}
    for name, fields in described.items():
        own = thresholds if name == "teacher" else None
        parts[name] = TeacherRecord(**fields, cls_spread=first.spreads[name], thresholds=own)
        both = {"before": first.layers[name], "after": after[name]}
        parts[DISTANCES_FROM[name]] = Distances.model_validate(both)
    return parts


def _read_differences(by_split: Mapping[str, Mapping[str, Any]]) -> dict[str, Difference]:
    return {split: Difference.model_validate(numbers) for split, numbers in by_split.items()}


def _find_extensions(
    job: Job, model: PreTrainedModel, stages: Sequence[StageRecord], *, is_distilled: bool
) -> dict[str, str]:
    """Package and version of every name of the run that an installed package brings."""
    measured = {name for stage in stages for name in stage.stage.losses if name in LOSSES}
    families = {job.reference_model.config.model_type, model.config.model_type}
    return find_packages(
        {
            "losses": [name for name in sorted(measured) if job.losses[name] is LOSSES[name]],  # not one from Python
            "schedules": [job.recipe.schedule.name] if is_distilled else [],
            "metrics": [job.metric],
            "families": sorted(families),
        }
    )


def _find_origin(job: Job, *, is_distilled: bool) -> str | None:
    """Folder or name of the model that the trained weights come from; None for random ones."""
    source = job.recipe.student.source
    if not is_distilled or source == "base":
        return job.recipe.teacher.base
    if source == "random":
        return None
    return job.reference_model.name_or_path if source == "teacher" else source


def _find_difference(job: Job, record: RunRecord, *, teacher: bool) -> str:
    """What a record and the job do not have in common, in words; empty if they fit."""
    if record.data.fingerprint != job.describe_data()["fingerprint"]:
        return "other data"
    if record.versions != get_versions():
        return "other versions of packages"
    if teacher and (record.teacher is None or record.teacher.fingerprint != job.describe_teacher()["fingerprint"]):
        return "another teacher"
    if teacher and (record.internal_teacher and record.internal_teacher.fingerprint) != job.internal_fingerprint:
        return "another teacher of the internal losses"
    return ""


def _ask_git(*words: str) -> str | None:
    """What git says of the folder of this file. One that it does not know lies in somebody else's repository."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None  # noqa: S603
    except OSError:  # no git on this machine
        return None
