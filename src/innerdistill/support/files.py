"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from innerdistill.support.messages import get_first_line

ROOM = 1 << 20  # bytes; what did not fit has left less
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
OF_THE_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR,
    errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip

logger = logging.getLogger(__name__)


@contextmanager
def open_whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when it is complete and on the disk.

    Args:
        path: final name.

    Yields:
        The temporary path to write to, in the same folder.
    """
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_whole_folder(folder: Path) -> Iterator[Path]:
    """Write files under a temporary name and rename their folder when all are complete and on the disk.

    Args:
        folder: final name, which no other process writes; what is there is replaced.

    Yields:
        The temporary folder to write into, beside the other.
    """
    for left in folder.parent.glob(f".{folder.name}.partial-*"):  # a killed process left it
        shutil.rmtree(left, ignore_errors=True)
    temporary, before = (folder.with_name(f".{folder.name}.partial-{part}") for part in (os.getpid(), "before"))
    try:
        temporary.mkdir()
        yield temporary
        for path in filter(Path.is_file, temporary.rglob("*")):
            flush_to_disk(path)
        with suppress(FileNotFoundError):
            folder.replace(before)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def slugify(text: str) -> str:
    """A text as a part of a path, without the signs that mean something to a shell or a file system.

    Args:
        text: such as the name of a method.

    Returns:
        Letters, digits and the signs _.=+- alone.

    >>> slugify("soft & gold/labels")
    'soft-gold-labels'
    """
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.") or "-"


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any], *, indent: int | None = 2) -> None:
    """Write a JSON file whole.

    Args:
        path: final name.
        content: numbers, texts, lists and mappings; no NaN.
        indent: spaces per level; None writes everything into one line.
    """
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    with open_whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def acquire_lock(lock: FileLock, *, what: Path) -> AbstractContextManager[Any]:
    """Take a lock, and say so if another process has it: it may be at work for hours.

    Args:
        lock: to take.
        what: that process makes.

    Returns:
        What releases the lock when it is left.
    """
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.info("Wait for another process, which makes %s.", what)
        return lock.acquire()


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        ValueError: it is damaged or cannot be read.
        FileNotFoundError: it is not there.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or cannot be read ({get_first_line(error)}).") from None


def flush_to_disk(path: Path) -> None:
    """Wait until a file is on the disk and not only in the machine's memory.

    Args:
        path: the file.
    """
    with path.open("r+b") as file:  # Windows wants to be able to write
        os.fsync(file.fileno())


def compute_checksum(path: Path) -> int:
    """CRC-32 of a file.

    Args:
        path: the file.

    Returns:
        The checksum.
    """
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Writing by torch, which says many things about a full disk but that it is full.

    Args:
        folder: on that disk.

    Raises:
        OSError: there is no room.
    """
    try:
        yield
    except RuntimeError as error:
        if shutil.disk_usage(folder).free > ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def describe_disk_problem(error: BaseException | None) -> str | None:
    """What a disk that is full, read-only or broken made some library say, in a sentence.

    Args:
        error: any exception; those that led to it are looked at too.

    Returns:
        The sentence; None if it is about something else.
    """
    known = OF_THE_DISK
    while error is not None:
        if isinstance(error, OSError) and error.errno in known:
            return f"{error.filename or 'a file of the run'}: {error.strerror}."
        if (number := re.search(r"os error (\d+)", str(error))) and int(number[1]) in OF_THE_DISK:  # safetensors
            return f"a file of the run: {os.strerror(int(number[1]))}."
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        known = FULL  # what went before may have been dealt with, but for these
    return None
