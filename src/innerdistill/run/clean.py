"""clean: list what the caches hold, and delete entries by name. Nothing outside the caches is ever deleted."""

from __future__ import annotations

import gc
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from innerdistill.data.arrow import find_cache
from innerdistill.recipe.identity import TARGETS, TEACHER_NAME
from innerdistill.recipe.yaml import read_yaml
from innerdistill.report.run_folder import RECIPE, has_record
from innerdistill.support.in_use import is_in_use, keep_others_out
from innerdistill.support.messages import shorten_value, suggest_name

TOKENS = "tokens"
TARGETS_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class CacheEntry:
    """One entry of a cache.

    Attributes:
        name: name to delete it by.
        content: description of its content.
        folder: its folder.
        file_bytes: size of its files.
        last_use: time of its last use.
        in_use: whether a running process uses it.
    """

    name: str
    content: str
    folder: Path
    file_bytes: int
    last_use: datetime
    in_use: bool


def list_caches(teachers: Path, tokens: Path | None = None) -> list[CacheEntry]:
    """List what the caches hold: fine-tuned teachers, their outputs, and token ids.

    Args:
        teachers: `teacher.folder` of the recipes.
        tokens: folder of the cached token ids; None for the one that runs use.

    Returns:
        The entries, the one whose last use is longest ago first.
    """
    gc.collect()  # a run of this process that has ended may be a circle of references that still holds its outputs
    tokens = tokens or find_cache()
    entries = []
    for folder in _list_folders(teachers, TEACHER_NAME):
        if (folder / RECIPE).is_file():
            entries.append(_describe(folder, folder.name, _describe_teacher(folder)))
    for folder in _list_folders(teachers / TARGETS, TARGETS_NAME):
        entries.append(_describe(folder, f"{TARGETS}/{folder.name}", "teacher outputs"))
    if tokens.is_dir():
        entries.append(_describe(tokens, TOKENS, "token ids of all data"))
    return sorted(entries, key=lambda entry: entry.last_use)


def delete_caches(
    names: Sequence[str], teachers: Path, tokens: Path | None = None
) -> tuple[list[CacheEntry], list[str]]:
    """Delete entries of the caches, except those that a running process uses.

    Args:
        names: names from `list_caches`.
        teachers: `teacher.folder` of the recipes.
        tokens: folder of the cached token ids; None for the one that runs use.

    Returns:
        The deleted entries, and the names of those that are in use.

    Raises:
        ValueError: no entry has this name; nothing is deleted then.
    """
    entries = {entry.name: entry for entry in list_caches(teachers, tokens)}
    for name in names:
        if name not in entries:
            hint = suggest_name(name, entries, kind="entries")
            raise ValueError(f"--delete: no entry {shorten_value(name)} in {teachers}. {hint}")
    deleted, in_use = [], []
    for name in dict.fromkeys(names):
        folder = entries[name].folder
        with keep_others_out(folder.parent):
            if is_in_use(folder):
                in_use.append(name)
                continue
            shutil.rmtree(folder)
        deleted.append(entries[name])
    return deleted, in_use


def _list_folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """The subfolders with such a name; a link may lead out of the cache."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _describe(folder: Path, name: str, content: str) -> CacheEntry:
    file_bytes, last_use = 0, folder.stat().st_mtime
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running process may delete files of its own
            status = path.lstat()
            file_bytes += status.st_size
            last_use = max(last_use, status.st_mtime)
    return CacheEntry(name, content, folder, file_bytes, datetime.fromtimestamp(last_use), is_in_use(folder))


def _describe_teacher(folder: Path) -> str:
    state = "teacher" if has_record(folder) else "unfinished teacher"
    with suppress(ValueError, AttributeError):  # a damaged recipe
        base = read_yaml(folder / RECIPE)["teacher"].get("base")
        return f"{state} from {Path(base).name}" if isinstance(base, str) else state
    return state
