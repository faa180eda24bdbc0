"""Checkpoints: the state of an unfinished run, from which the same command goes on to the very same student.

identity.json           what the run depends on
02/start/               the student before stage 2
02/checkpoint-150/      everything after step 150 of stage 2, as transformers' Trainer writes it

Both kinds hold progress.json, which says what happened until then, and checksums.json, which is written last: a folder
without it, or with another file than it names, is passed over, and the one before is used.
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

from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel

from innerdistill.support.files import compute_checksum, flush_to_disk, write_json
from innerdistill.support.processes import is_first_process, wait_for_all
from innerdistill.training.stage import StageRecord

PROGRESS, CHECKSUMS, WEIGHTS = "progress.json", "checksums.json", "model.safetensors"
START, IDENTITY = "start", "identity.json"
TRAINER_STATE = "trainer_state.json"  # of transformers
BROKEN_STEP = "broken_step.json"  # beside the checkpoints of a stage: the examples of a step whose loss is no number
NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """Where a run can go on.

    Attributes:
        folder: of the checkpoint.
        stage: 1-based; one more than there are stages if all of them are done.
        records: what happened in every stage until then, the unfinished one included.
    """

    folder: Path
    stage: int
    records: list[dict[str, Any]]

    @property
    def is_start(self) -> bool:
        """Whether it is the beginning of its stage."""
        return self.folder.name == START


class Checkpoints:
    """The checkpoints of one run. Older ones go, but never the last one that is whole."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Describe them; nothing is read or written yet.

        Args:
            folder: holds nothing else.
            identity: everything that the result depends on, by name; JSON.
        """
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity, default=str))
        self.latest = time.monotonic()

    def age(self) -> float:
        """Seconds since the latest checkpoint, or since the beginning; known to the first process."""
        return time.monotonic() - self.latest

    def begin(self, student: PreTrainedModel, records: Sequence[StageRecord], *, overwrite: bool = False) -> Point:
        """Bring a run to where it can go on; if nowhere, to its beginning.

        Args:
            student: fresh; gets the weights that its stage started from. Those inside a stage the Trainer loads.
            records: one per stage; get what happened until then.
            overwrite: replace the checkpoints of another run instead of refusing.

        Returns:
            The latest point that is whole.

        Raises:
            ValueError: the checkpoints are of another run; names what differs.
        """
        others = self._differences()
        if others:
            began = f"{self.folder.parent} holds an unfinished run that began with {others[0]}"
            if not overwrite:
                raise ValueError(f"output: {began}; set overwrite=true to start again, or name another folder.")
            logger.warning("%s; starting again.", began)
        point = None if others else next(self._points(), None)
        if point is None:
            if is_first_process() and not others and any(self.folder.glob("[0-9]*")):
                logger.warning("no checkpoint in %s can be gone on from; the run starts again.", self.folder)
            self.remove()
            if is_first_process():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(self.folder / IDENTITY, self.identity)
            return Point(self.get_stage_folder(1) / START, 1, [])
        logger.info("going on from %s", point.folder)
        for record, happened in zip(records, point.records, strict=False):
            record.restore(happened)
        if point.is_start:
            load_model(student, str(point.folder / WEIGHTS), device=str(student.device))
        return point

    def get_stage_folder(self, stage: int) -> Path:
        """Where the checkpoints of a stage are.

        Args:
            stage: 1-based.

        Returns:
            Its folder; need not exist.
        """
        return self.folder / f"{stage:02d}"

    def start_stage(self, stage: int, student: PreTrainedModel, records: Iterable[StageRecord]) -> None:
        """Keep the student that a stage starts from. What is two stages old goes.

        Args:
            stage: 1-based; one more than there are stages when all of them are done.
            student: as the stage before left it.
            records: of the stages before.
        """
        if is_first_process():
            folder = self.get_stage_folder(stage) / START
            folder.mkdir(parents=True, exist_ok=True)
            save_model(student, str(folder / WEIGHTS))
            self.seal(folder, records)
            for older in self.folder.glob("[0-9]*"):
                if int(older.name) < stage - 1:
                    shutil.rmtree(older)
        wait_for_all()

    def seal(self, folder: Path, records: Iterable[StageRecord]) -> None:
        """Complete a checkpoint whose other files are there.

        Args:
            folder: of the checkpoint.
            records: of all stages until then.
        """
        (folder / CHECKSUMS).unlink(missing_ok=True)
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody reads
        content = {"records": [record.progress for record in records]}
        (folder / PROGRESS).write_text(json.dumps(content), encoding="utf-8")
        found = {}
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            flush_to_disk(path)
            found[path.name] = compute_checksum(path)
        write_json(folder / CHECKSUMS, found)
        self.latest = time.monotonic()

    def remove(self) -> None:
        """Delete all checkpoints.

        Raises:
            ValueError: the folder holds something else.
        """
        if not is_first_process() or not self.folder.exists():
            return
        if not (self.folder / IDENTITY).exists() and not all(_is_ours(path) for path in self.folder.iterdir()):
            raise ValueError(f"{self.folder} holds files that are not checkpoints of a run; name another folder.")
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        (self.folder / IDENTITY).unlink(missing_ok=True)  # last: what lies beside it is known to be ours
        shutil.rmtree(self.folder)

    def _differences(self) -> list[str]:
        """What the run that is there began with and this one does not, in words."""
        found = read_identity(self.folder)
        if not found:
            return []  # nothing that could be gone on with
        names = [*found, *(name for name in self.identity if name not in found)]
        pairs = [(name, found.get(name), self.identity.get(name)) for name in names]
        return [_difference(*pair) for pair in pairs if pair[1] != pair[2]]

    def _points(self) -> Iterator[Point]:
        """Points that are whole, the latest first."""
        if not read_identity(self.folder):
            return
        for stage in sorted(self.folder.glob("[0-9]*"), reverse=True):
            steps = sorted(stage.glob("checkpoint-[0-9]*"), key=lambda path: int(path.name[11:]), reverse=True)
            for folder in (*steps, stage / START):
                if not folder.is_dir():
                    continue
                if (problem := _problem(folder)) is None:
                    content = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
                    yield Point(folder, int(stage.name), content["records"])
                else:
                    logger.warning("%s %s; going on from the one before.", folder, problem)
                    shutil.rmtree(folder)  # the Trainer would count it among those it keeps


def write_broken_step(folder: Path, step: int, rows: Mapping[str, Sequence[Any]]) -> Path:
    """Write the examples of a step whose loss is no number into a file, for people.

    Args:
        folder: of the stage's checkpoints.
        step: of the stage.
        rows: its examples by column; a label of NaN, which means none, becomes null.

    Returns:
        The file.
    """
    labels = [None if label != label else label for label in rows["labels"]]  # noqa: PLR0124 - NaN
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / BROKEN_STEP, {"step": step, **rows, "labels": labels}, indent=None)
    return folder / BROKEN_STEP


def read_identity(folder: Path) -> dict[str, Any]:
    """What the unfinished run of a folder depends on.

    Args:
        folder: of its checkpoints.

    Returns:
        By name; nothing if there is no such run, or no trace of what it was.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with _saying_when_unreadable(folder / IDENTITY):
            found = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (*NOT_THERE, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _difference(name: str, found: Any, wanted: Any) -> str:
    if isinstance(found, str | int | float) and isinstance(wanted, str | int | float) and len(f"{found}{wanted}") < 100:
        return f"{name} {found} and not {wanted}"
    return f"another {name}"


def _problem(folder: Path) -> str | None:
    """Why nobody can go on from a checkpoint; None if it is whole."""
    if not _is_whole(folder):
        return "is incomplete or damaged"
    if folder.name != START:  # the Trainer reads the one that scored best until then at the end of the stage
        best = json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8")).get("best_global_step")
        name = f"checkpoint-{best}"
        if best is not None and name != folder.name and not _is_whole(folder.with_name(name)):
            return f"goes back to {name}, which is incomplete or damaged"
    return None


def _is_whole(folder: Path) -> bool:
    try:
        with _saying_when_unreadable(folder):
            wanted = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
            return PROGRESS in wanted and all(
                compute_checksum(folder / name) == value for name, value in wanted.items()
            )
    except (*NOT_THERE, UnicodeDecodeError, json.JSONDecodeError, RecursionError, TypeError, AttributeError):
        return False


@contextmanager
def _saying_when_unreadable(path: Path) -> Iterator[None]:
    """What cannot be read, perhaps only for now, is not taken for damaged, and so not deleted."""
    try:
        yield
    except NOT_THERE:
        raise
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror})"
        raise ValueError(f"{problem}; give the command again, or delete it to go on without it.") from None


def _is_ours(path: Path) -> bool:
    """Whether a file or folder beside which no identity lies is part of a run's checkpoints."""
    if path.name.startswith(f".{IDENTITY}."):  # it was being written
        return True
    inside = re.compile(rf"{START}|checkpoint-\d+|{BROKEN_STEP}")
    return bool(re.fullmatch(r"\d\d", path.name)) and all(inside.fullmatch(part.name) for part in path.iterdir())
