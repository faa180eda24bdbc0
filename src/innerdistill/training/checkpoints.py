"""Checkpoints: the state of an unfinished run. The same command resumes from it and ends with the same student.

identity.json           everything that the result of the run depends on
02/start/               the student before stage 2
02/checkpoint-150/      the Trainer's state after step 150 of stage 2, as transformers writes it

Every checkpoint also holds progress.json, the records of the stages so far, and checksums.json. The checksums are
written last. A checkpoint without them, or with a file that does not match, is skipped: the run resumes from the
checkpoint before it.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from innerdistill.support.files import compute_checksum, flush_to_disk, write_json
from innerdistill.support.processes import is_first_process, wait_for_all
from innerdistill.training.stage import StageRecord

PROGRESS, CHECKSUMS, WEIGHTS = "progress.json", "checksums.json", "model.safetensors"
START, IDENTITY = "start", "identity.json"
CALLBACKS = "callbacks"  # key of the identity, only of a run that has some
TRAINER_STATE = "trainer_state.json"  # written by transformers
BROKEN_STEP = "broken_step.json"  # the examples of a step whose loss is NaN or infinite, in the folder of its stage
MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint from which a run can resume.

    Attributes:
        folder: folder of the checkpoint.
        stage: number of the stage to resume in, 1-based; the number of stages + 1 if all are done.
        records: values of the record of every stage so far, the unfinished one included.
    """

    folder: Path
    stage: int
    records: list[dict[str, Any]]

    @property
    def is_start(self) -> bool:
        """Whether the checkpoint is the start of its stage."""
        return self.folder.name == START


class Checkpoints:
    """The checkpoints of one run. Old ones are deleted, but never the last complete one."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Describe the checkpoints; nothing is read or written yet.

        Args:
            folder: folder for checkpoints alone.
            identity: everything that the result depends on, by name; values that JSON can hold.
        """
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity, default=str))
        self.latest_time = time.monotonic()

    @property
    def seconds_since_latest(self) -> float:
        """Seconds since the first process wrote the latest checkpoint, or since this object was created."""
        return time.monotonic() - self.latest_time

    def begin(
        self, student: PreTrainedModel, records: Sequence[StageRecord], *, overwrite: bool = False
    ) -> ResumePoint:
        """Find where a run resumes, and load the student and the records; without a checkpoint, start at stage 1.

        Args:
            student: untrained student; gets the weights from the start of a stage. Inside one the Trainer loads them.
            records: one record per stage; get the values of the checkpoint.
            overwrite: whether to replace the checkpoints of another run instead of refusing.

        Returns:
            The latest complete checkpoint, or the start of stage 1.

        Raises:
            ValueError: the checkpoints belong to another run; names what differs.
        """
        differences = self._list_differences()
        if differences:
            problem = f"{self.folder.parent} holds an unfinished run that differs in {differences[0]}"
            if not overwrite:
                raise ValueError(f"output: {problem}; name another folder or set overwrite=true.")
            logger.warning("%s; overwriting it.", problem)
        point = None if differences else next(self._iterate_complete(), None)
        if point is None:
            if is_first_process() and not differences and any(self.folder.glob("[0-9]*")):
                logger.warning("No checkpoint in %s can be resumed; the run starts from the beginning.", self.folder)
            self.remove()
            if is_first_process():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(self.folder / IDENTITY, self.identity)
            return ResumePoint(self.get_stage_folder(1) / START, 1, [])
        logger.info("Resume from %s.", point.folder)
        for record, values in zip(records, point.records, strict=False):
            record.restore(values)
        if point.is_start:
            student.load_state_dict(load_file(point.folder / WEIGHTS))
        return point

    def get_stage_folder(self, stage: int) -> Path:
        """Get the folder of a stage's checkpoints.

        Args:
            stage: number of the stage, 1-based.

        Returns:
            The folder; it need not exist.
        """
        return self.folder / f"{stage:02d}"

    def save_start(self, stage: int, student: PreTrainedModel, records: Iterable[StageRecord]) -> None:
        """Save the student at the start of a stage, and delete checkpoints from before the previous stage.

        Args:
            stage: number of the stage, 1-based; the number of stages + 1 when all are done.
            student: student at the end of the previous stage.
            records: records of the stages before this one.
        """
        if is_first_process():
            folder = self.get_stage_folder(stage) / START
            folder.mkdir(parents=True, exist_ok=True)
            write_weights(student, folder / WEIGHTS)
            self.seal(folder, records)
            for older in self.folder.glob("[0-9]*"):
                if int(older.name) < stage - 1:
                    shutil.rmtree(older)
        wait_for_all()

    def seal(self, folder: Path, records: Iterable[StageRecord]) -> None:
        """Complete a checkpoint: write the records of the stages, and then the checksums of all files.

        Args:
            folder: folder of the checkpoint, with the model and the Trainer's state.
            records: records of the stages so far.
        """
        (folder / CHECKSUMS).unlink(missing_ok=True)
        content = {"records": [record.progress for record in records]}
        (folder / PROGRESS).write_text(json.dumps(content), encoding="utf-8")
        checksums = {}
        for path in sorted(filter(Path.is_file, folder.iterdir())):
            flush_to_disk(path)
            checksums[path.name] = compute_checksum(path)
        write_json(folder / CHECKSUMS, checksums)
        self.latest_time = time.monotonic()

    def remove(self) -> None:
        """Delete all checkpoints.

        Raises:
            ValueError: the folder holds files that are not checkpoints.
        """
        if not is_first_process() or not self.folder.exists():
            return
        if not (self.folder / IDENTITY).exists() and not all(map(_is_checkpoint_file, self.folder.iterdir())):
            raise ValueError(f"{self.folder} holds files that are not checkpoints of a run; name another folder.")
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        (self.folder / IDENTITY).unlink(missing_ok=True)  # last: beside it, files are known to be checkpoints
        shutil.rmtree(self.folder)

    def _list_differences(self) -> list[str]:
        """What the unfinished run in the folder depends on and this run does not, in words."""
        earlier = read_identity(self.folder)
        if not earlier:
            return []  # no run that could be resumed
        differences = []
        for name in {**earlier, **self.identity}:
            if earlier.get(name) != self.identity.get(name):
                differences.append(_describe_difference(name, earlier.get(name), self.identity.get(name)))
        return differences

    def _iterate_complete(self) -> Iterator[ResumePoint]:
        """Checkpoints that are complete, the latest first. Damaged ones are deleted."""
        if not read_identity(self.folder):
            return
        for stage in sorted(self.folder.glob("[0-9]*"), reverse=True):
            steps = sorted(stage.glob("checkpoint-[0-9]*"), key=lambda path: int(path.name[11:]), reverse=True)
            for folder in (*steps, stage / START):
                if not folder.is_dir():
                    continue
                problem = _find_problem(folder)
                if problem is None:
                    content = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
                    yield ResumePoint(folder, int(stage.name), content["records"])
                else:
                    logger.warning("%s %s; resuming from the checkpoint before it.", folder, problem)
                    shutil.rmtree(folder)  # the Trainer would count it against save_total_limit


def write_weights(model: PreTrainedModel, path: Path) -> None:
    """Write the weights of a model by the names that they have in the model.

    save_pretrained writes those of some families by the names of their original files, and transformers' Trainer passes
    over names that the model does not have when it resumes. Some families load weights as views of one larger tensor,
    so each is copied.

    Args:
        model: the model.
        path: file to write.
    """
    weights = {name: values.to("cpu", copy=True).contiguous() for name, values in model.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})


def write_broken_step(folder: Path, step: int, rows: Mapping[str, Sequence[Any]]) -> Path:
    """Write the examples of a step whose loss is NaN or infinite into a JSON file, for the user to look at.

    Args:
        folder: folder of the stage's checkpoints.
        step: number of the step in the stage, 1-based.
        rows: examples of the step by column; a label of NaN, which means no label, becomes null.

    Returns:
        Path of the file.
    """
    labels = [None if np.isnan(label).any() else label for label in rows["labels"]]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / BROKEN_STEP, {"step": step, **rows, "labels": labels}, indent=None)
    return folder / BROKEN_STEP


def read_identity(folder: Path) -> dict[str, Any]:
    """Read what the result of an unfinished run depends on.

    Args:
        folder: folder of the run's checkpoints.

    Returns:
        Values by name; empty if there is no unfinished run, or its file is damaged.

    Raises:
        ValueError: the file exists but cannot be read.
    """
    try:
        with _explain_unreadable(folder / IDENTITY):
            identity = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (*MISSING, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return {}
    return identity if isinstance(identity, dict) else {}


def _describe_difference(name: str, earlier: Any, now: Any) -> str:
    if name == CALLBACKS:
        return f"{name} ({', '.join(earlier or ['none'])}, now {', '.join(now or ['none'])})"
    are_short = isinstance(earlier, str | int | float) and isinstance(now, str | int | float)
    if are_short and len(f"{earlier}{now}") < 100:
        return f"{name} ({earlier}, now {now})"
    return name


def _find_problem(folder: Path) -> str | None:
    """Why a run cannot resume from a checkpoint; None if it can."""
    if not _is_complete(folder):
        return "is incomplete or damaged"
    if folder.name != START:  # at the end of the stage, the Trainer also loads the checkpoint with the best score
        best = json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8")).get("best_global_step")
        name = f"checkpoint-{best}"
        if best is not None and name != folder.name and not _is_complete(folder.with_name(name)):
            return f"needs {name}, its best checkpoint, which is incomplete or damaged"
    return None


def _is_complete(folder: Path) -> bool:
    """Whether all files of a checkpoint are there and match their checksums."""
    try:
        with _explain_unreadable(folder):
            checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
            return PROGRESS in checksums and all(
                compute_checksum(folder / name) == checksum for name, checksum in checksums.items()
            )
    except (*MISSING, UnicodeDecodeError, json.JSONDecodeError, RecursionError, TypeError, AttributeError):
        return False


@contextmanager
def _explain_unreadable(path: Path) -> Iterator[None]:
    """Refuse a file that exists but cannot be read. It may be readable later, so it is not deleted as damaged."""
    try:
        yield
    except MISSING:
        raise
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror})"
        raise ValueError(f"{problem}; re-run the command, or delete it to resume without it.") from None


def _is_checkpoint_file(path: Path) -> bool:
    """Whether a path in a folder without identity.json belongs to a run's checkpoints, judged by its name."""
    if path.name.startswith(f".{IDENTITY}."):  # identity.json while it was being written
        return True
    if not re.fullmatch(r"\d\d", path.name):
        return False
    return all(re.fullmatch(rf"{START}|checkpoint-\d+|{BROKEN_STEP}", part.name) for part in path.iterdir())
