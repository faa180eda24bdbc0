"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when it is complete and on the disk.

    Args:
        path: final name.

    Yields:
        The temporary path to write to, in the same folder.
    """
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield temporary
        to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a JSON file whole.

    Args:
        path: final name.
        content: numbers, texts, lists and mappings; no NaN.
        indent: spaces per level; None writes everything into one line.
    """
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def to_disk(path: Path) -> None:
    """Wait until a file is on the disk and not only in the machine's memory.

    Args:
        path: the file.
    """
    with path.open("r+b") as file:  # Windows wants to be able to write
        os.fsync(file.fileno())


def checksum(path: Path) -> int:
    """CRC-32 of a file.

    Args:
        path: the file.

    Returns:
        The checksum.
    """
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 24):
            value = zlib.crc32(chunk, value)
    return value
