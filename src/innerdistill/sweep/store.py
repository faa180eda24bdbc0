"""The finished runs of a sweep, wherever they are stored: in folders of their own, or in blocks."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from innerdistill.report.stored_run import FolderRun, StoredRun
from innerdistill.support.files import slugify
from innerdistill.sweep.blocks import Block, write_block
from innerdistill.sweep.declaration import BLOCKS, TEACHER_SEED, TUNING, Sweep
from innerdistill.sweep.grid import Cell

LONGEST_NAME = 200  # bytes of a block's name; file systems take 255


@dataclass(frozen=True)
class CellRun:
    """A cell with its finished run.

    Attributes:
        cell: place in the grid.
        run: its finished run.
    """

    cell: Cell
    run: StoredRun


class RunStore:
    """Where the finished runs of a sweep are looked up, and written to blocks."""

    def __init__(self, sweep: Sweep, *, others: Iterable[Block] = ()) -> None:
        """Nothing is read yet.

        Args:
            sweep: the sweep.
            others: blocks of other machines, which are looked into as if they were the sweep's.
        """
        self.folder = sweep.folder
        self._blocks = {file: Block(file) for file in sorted((sweep.folder / BLOCKS).glob("*.jsonl"))}
        self._blocks |= {block.file: block for block in others}

    def find_run(self, cell: Cell) -> StoredRun | None:
        """Look up the finished run of a cell.

        Args:
            cell: place in the grid.

        Returns:
            A run of exactly the cell's recipe, from its own folder if it is there; None if there is none.

        Raises:
            ValueError: two places hold different runs of the cell, or a block is damaged.
        """
        runs = [run for run in self._list_finished(cell) if not run.list_differences(cell.recipe)]
        for other in runs[1:]:
            if other.record.stages != runs[0].record.stages:  # seconds are those of one run alone
                raise ValueError(
                    f"{runs[0].place} and {other.place} hold different runs of the same cell; delete the one that is "
                    "out of date."
                )
        return runs[0] if runs else None

    def list_outdated(self, cells: Sequence[Cell]) -> list[str]:
        """List the blocks that have runs of another recipe.

        Args:
            cells: cells that are not finished.

        Returns:
            For every such block, a sentence that names its first such run and the keys with both values.
        """
        sentences: dict[Path, str] = {}
        for cell in cells:
            for file, block in self._blocks.items():
                run = block.find_run(self.name_run(cell))
                if file not in sentences and run is not None and (keys := run.list_differences(cell.recipe)):
                    sentences[file] = f"{run.place} counts as not run, since its recipe differs: {', '.join(keys[:3])}."
        return list(sentences.values())

    def list_changes(self, cell: Cell) -> list[str]:
        """List the keys in which the recipe of a cell has changed since it was run.

        Args:
            cell: a cell without a run of its recipe.

        Returns:
            Dotted keys with both values; empty if there is no finished run of another recipe.
        """
        finished = self._list_finished(cell)
        return finished[0].list_differences(cell.recipe) if finished else []

    def select_finished(self, cells: Iterable[Cell]) -> list[CellRun]:
        """Select the cells that are finished.

        Args:
            cells: cells of the sweep.

        Returns:
            Those with a finished run of exactly their recipe, with this run.

        Raises:
            ValueError: as `find_run`.
        """
        finished = []
        for cell in cells:
            if (run := self.find_run(cell)) is not None:
                finished.append(CellRun(cell, run))
        return finished

    def write_finished_blocks(self, cells: Sequence[Cell], finished: Sequence[CellRun]) -> None:
        """Write the blocks of which all cells are finished, unless blocks have all of their runs already.

        Other runs that such a block had stay in it: their folders may be gone.

        Args:
            cells: all cells of the sweep.
            finished: those that are finished.

        Raises:
            ValueError: a run is damaged, or has predictions that a block cannot store.
        """
        expected = Counter(name_block(cell) for cell in cells)
        runs: dict[str, dict[str, StoredRun]] = {name: {} for name in expected}
        by_folder = {entry.cell.folder: entry.run for entry in finished}
        for cell in cells:  # in this order, whichever run was finished first
            if cell.folder in by_folder:
                runs[name_block(cell)][self.name_run(cell)] = by_folder[cell.folder]
        for block, of_block in runs.items():
            if len(of_block) == expected[block] and not all(self._is_in_blocks(*pair) for pair in of_block.items()):
                self._write_block(self.folder / BLOCKS / f"{block}.jsonl", of_block)

    def _is_in_blocks(self, name: str, run: StoredRun) -> bool:
        """Whether a block has this run; only the very same record is."""
        stored = (block.find_run(name) for block in self._blocks.values())
        return any(other is not None and other.content == run.content for other in stored)

    def _write_block(self, file: Path, runs: dict[str, StoredRun]) -> None:
        others = self._blocks[file].list_runs() if file in self._blocks else {}
        write_block(file, {**others, **runs})
        self._blocks[file] = Block(file)

    def _list_finished(self, cell: Cell) -> list[StoredRun]:
        """Finished runs of a cell, whatever their recipe, the one in its own folder first."""
        name = self.name_run(cell)
        runs: list[StoredRun] = [FolderRun(cell.folder)]
        for block in self._blocks.values():
            if (run := block.find_run(name)) is not None:
                runs.append(run)
        return [run for run in runs if run.is_finished(cell.recipe)]

    def name_run(self, cell: Cell) -> str:
        """Name the run of a cell, as blocks do.

        Args:
            cell: place in the grid.

        Returns:
            The cell's folder inside the sweep's.
        """
        return cell.folder.relative_to(self.folder).as_posix()


def is_of_tuning(block: Block) -> bool:
    """Whether a block holds tuning runs.

    Args:
        block: block of a sweep.

    Returns:
        True for tuning runs.
    """
    return block.file.stem.partition(",")[0] == TUNING


def name_block(cell: Cell) -> str:
    """Name the block that a cell belongs to: task, setting and seed of the teacher.

    Args:
        cell: place in the grid.

    Returns:
        Such as `cola,student.num_layers=3,teacher.seed=1`; no part has a comma of its own. The tuning runs with the
        same values of the tuned keys are a block too, such as `tuning,trainer.learning_rate=0.0001`: hours, not a day.
    """
    parts = [cell.task, *(f"{key}={value}" for key, value in cell.setting.items())]
    if cell.is_tuning:
        parts = [TUNING, *parts]
    elif cell.recipe.teacher.base is not None and TEACHER_SEED not in cell.setting:
        parts.append(f"{TEACHER_SEED}={cell.recipe.teacher.seed}")
    name = ",".join(slugify(part) for part in parts if part) or "teacher"
    if len(name.encode()) > LONGEST_NAME:
        checksum = zlib.crc32(name.encode())
        name = f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')},{checksum:08x}"
    return name
