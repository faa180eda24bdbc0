"""Have the data files of a sweep changed since its runs? Their checksums stand in the sweep's folder.

Runs of other data are refused by the fingerprint in their records. A sweep whose cells are all finished reads no data,
so it would not notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from innerdistill.data.split_files import locate_splits, reads_dataset
from innerdistill.data.tasks import resolve_task
from innerdistill.support.files import compute_checksum, read_json, write_json
from innerdistill.sweep.declaration import DATA_FILES
from innerdistill.sweep.grid import Cell


def check_data_files(folder: Path, cells: Sequence[Cell], *, has_runs: bool) -> None:
    """Check that the data files are those of the finished runs, and write down their checksums.

    Files that are not there, and data sets of `datasets`, are not checked.

    Args:
        folder: folder of the sweep.
        cells: cells of the sweep.
        has_runs: whether any cell is finished; without runs, files may have changed.

    Raises:
        ValueError: a file has changed; the sentence names it.
    """
    checksums = {str(path): compute_checksum(path) for path in _list_files(cells)}
    known = _read_checksums(folder) if has_runs else {}
    for path, checksum in checksums.items():
        if known.get(path, checksum) != checksum:
            raise ValueError(
                f"{path} has changed since runs of this sweep read it; restore it, or name another folder as output."
            )
    if known != {**known, **checksums}:
        write_json(folder / DATA_FILES, {**known, **checksums})


def _list_files(cells: Sequence[Cell]) -> list[Path]:
    """The data files of some cells, each once, of those that are there."""
    files: dict[Path, None] = {}
    for recipe in {repr(cell.recipe.data): cell.recipe.data for cell in cells}.values():
        with suppress(ValueError):  # their folder is not there, so they cannot have changed
            files |= (
                {} if reads_dataset(recipe) else dict.fromkeys(locate_splits(recipe, resolve_task(recipe)).values())
            )
    return [path for path in files if path.is_file()]


def _read_checksums(folder: Path) -> dict[str, int]:
    try:
        content = read_json(folder / DATA_FILES)
    except (ValueError, FileNotFoundError):  # damaged, or not written by an earlier version
        return {}
    return content if isinstance(content, dict) else {}
