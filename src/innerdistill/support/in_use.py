"""Entries of a cache that running processes use: such an entry is not deleted.

A process that uses an entry holds a lock of its own beside it. The system releases the lock with the process, however
that ends.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".clean.lock"  # held for a moment by those that begin to use an entry, and by those that delete one


def hold(entry: Path) -> FileLock:
    """Mark an entry of a cache as in use, and its last use as now.

    Args:
        entry: folder in the cache; need not exist. Where nothing can be written, nothing is marked.

    Returns:
        An object; the entry is in use as long as that lives.
    """
    mark = FileLock(entry.with_name(f".{entry.name}.use-{uuid.uuid4().hex[:12]}"))
    with suppress(OSError):  # what cannot be written cannot be deleted either
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.parent / LOCK):
            mark.acquire()
            weakref.finalize(mark, _delete_file, Path(mark.lock_file))
            if entry.exists():
                os.utime(entry)
    return mark


@cache
def hold_until_exit(entry: Path) -> FileLock:
    """Mark an entry of a cache as in use until this process ends.

    Args:
        entry: folder in the cache; need not exist.

    Returns:
        As `hold`.
    """
    return hold(entry)


def is_in_use(entry: Path) -> bool:
    """Whether a running process uses an entry of a cache. Marks of processes that were killed are deleted.

    Args:
        entry: folder in the cache.

    Returns:
        True if one does.
    """
    for file in entry.parent.glob(f".{entry.name}.use-*"):
        try:
            with FileLock(file, timeout=0):
                _delete_file(file)
        except Timeout:
            return True
    return False


@contextmanager
def keep_others_out(folder: Path) -> Iterator[None]:
    """Let no process begin to use an entry, until this block has ended.

    Args:
        folder: folder of the cache.

    Yields:
        Nothing.
    """
    with FileLock(folder / LOCK):
        yield


def _delete_file(file: Path) -> None:
    with suppress(OSError):  # of Windows, where an open file stays
        file.unlink(missing_ok=True)
