"""Latency of a sweep's models: one measurement at its end, in turns, of the teacher and of one student of each size.

Times of different runs are not comparable: other runs shared the machine. So tables show this measurement or none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from innerdistill.report.record import RunRecord
from innerdistill.report.record_part import Part
from innerdistill.report.run_folder import MODEL
from innerdistill.report.speed_record import Latency, ModelSpeed
from innerdistill.report.stored_run import StoredRun
from innerdistill.support.files import read_json, write_json
from innerdistill.sweep.declaration import LATENCY

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """A size of a model, as tables show it: two heads with a few hundred parameters more or less are the same size.

    Attributes:
        model: teacher or student.
        layers: number of layers.
        parameters: number of parameters in millions.
        megabytes: size of its files; a dash if they are not known.
    """

    model: str
    layers: int
    parameters: str
    megabytes: str


class MeasuredSize(Part):
    """Latency of a model that stands for its size."""

    model: str = Field(description="teacher or student")
    layers: int
    parameters: str
    megabytes: str
    folder: str = Field(description="folder of the model that was timed")
    latency_ms: Latency


class SweepLatency(Part):
    """The measurement of a sweep."""

    machine: str = Field(description="operating system, CPU or GPU, threads")
    length: int = Field(description="tokens per example; one example per call")
    sizes: list[MeasuredSize]

    def get_latencies(self) -> dict[Size, Latency]:
        """Get the latency of every size that was measured.

        Returns:
            Percentiles in milliseconds, by size.
        """
        return {Size(size.model, size.layers, size.parameters, size.megabytes): size.latency_ms for size in self.sizes}


def list_sizes(records: Iterable[RunRecord]) -> list[Size]:
    """List the sizes of teachers and students.

    Args:
        records: records of runs.

    Returns:
        Each size once: the largest first, teachers before students.
    """
    sizes: dict[Size, None] = {}
    for record in records:
        sizes |= dict.fromkeys(describe_sizes(record))
    return sorted(sizes, key=lambda size: (-size.layers, size.model != "teacher"))


def describe_sizes(record: RunRecord) -> list[Size]:
    """Describe the sizes of the models of a run.

    Args:
        record: record of the run.

    Returns:
        Teacher and student, or the student alone if only outputs of a teacher were there.
    """
    sizes = []
    if record.teacher is not None and record.teacher.layers is not None and record.speed.teacher is not None:
        sizes.append(_describe_size("teacher", record.teacher.layers, record.speed.teacher))
    return [*sizes, _describe_size("student", record.student.layers, record.speed.student)]


def measure_sweep(folder: Path, runs: Sequence[StoredRun]) -> None:
    """Measure the latency of the teacher and of one student of each size, in turns, where their models are on disk.

    Nothing is measured if every size on disk has been measured already.

    Args:
        folder: folder of the sweep, into which the measurement is written.
        runs: finished runs of the sweep.
    """
    models = _find_models(runs)
    earlier = read_latency(folder)
    measured = set() if earlier is None else set(earlier.get_latencies())
    if set(models) <= measured or not any(size.model == "student" for size in models):
        return
    try:
        loaded = _load_models(models)
    except (OSError, ValueError) as error:  # the scores of the sweep are complete without it
        logger.warning("Latency was not measured: %s", error)
        return
    _write_latency(folder, models, loaded, length=max(run.record.speed.student.length for run in runs))


def select_untimed(folder: Path, runs: Sequence[StoredRun]) -> set[Path]:
    """Select one model of each size that has not been timed yet: it has to stay on disk until then.

    Args:
        folder: folder of the sweep.
        runs: finished runs of the sweep.

    Returns:
        Folders of models of students and teachers.
    """
    earlier = read_latency(folder)
    timed = set() if earlier is None else set(earlier.get_latencies())
    return {model for size, model in _find_models(runs).items() if size not in timed}


def read_latency(folder: Path) -> SweepLatency | None:
    """Read the measurement of a sweep.

    Args:
        folder: folder of the sweep.

    Returns:
        The measurement; None if there is none, or the file is damaged.
    """
    try:
        return SweepLatency.model_validate(read_json(folder / LATENCY))
    except (FileNotFoundError, ValueError):
        return None


def _describe_size(model: str, layers: int, speed: ModelSpeed) -> Size:
    megabytes = f"{speed.file_bytes / 1e6:.0f}" if speed.file_bytes else "–"
    return Size(model, layers, f"{speed.parameters / 1e6:.1f} M", megabytes)


def _find_models(runs: Sequence[StoredRun]) -> dict[Size, Path]:
    """The folder of one model of each size that is on disk."""
    folders: dict[Size, Path] = {}
    for run in runs:
        teacher = run.record.teacher
        places = {"student": run.folder / MODEL, "teacher": Path(teacher.path) if teacher and teacher.path else None}
        for size in describe_sizes(run.record):
            folder = places[size.model]
            if size not in folders and folder is not None and folder.is_dir():
                folders[size] = folder
    return folders


def _load_models(folders: dict[Size, Path]) -> dict[str, PreTrainedModel]:
    """Models by folder, on the device that a run would choose."""
    from innerdistill.models.pretrained import default_device  # noqa: PLC0415 - a report does not wait for torch
    from innerdistill.problem_types.problem_types import load_fine_tuned  # noqa: PLC0415

    models = {}
    for folder in folders.values():
        models[str(folder)] = load_fine_tuned(str(folder))[0].to(default_device())
    return models


def _write_latency(folder: Path, sizes: dict[Size, Path], models: dict[str, PreTrainedModel], *, length: int) -> None:
    from innerdistill.evaluation.latency import describe_machine, measure_speed  # noqa: PLC0415
    from innerdistill.models.families import max_positions  # noqa: PLC0415

    readable = min(max_positions(model) for model in models.values())
    speeds: dict[str, Any] = measure_speed(models, length=min(length, readable))
    measured = []
    for size, model in sizes.items():
        measured.append(MeasuredSize(**vars(size), folder=str(model), latency_ms=speeds[str(model)]["latency_ms"]))
    device = next(iter(models.values())).device
    latency = SweepLatency(machine=describe_machine(device), length=min(length, readable), sizes=measured)
    write_json(folder / LATENCY, latency.model_dump(mode="json"))
