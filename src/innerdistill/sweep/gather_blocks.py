"""Blocks that several machines have run, put together into one sweep. Everything is checked before anything is written.

A block of another recipe, other data, another teacher or other package versions is refused by its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from innerdistill.support.files import open_whole_file
from innerdistill.sweep.alike import check_alike
from innerdistill.sweep.blocks import Block
from innerdistill.sweep.declaration import BLOCKS, Sweep
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.store import RunStore, is_of_tuning
from innerdistill.sweep.sweep import open_sweep_folder
from innerdistill.sweep.tuning import plan_sweep_cells


def gather_blocks(sweep: Sweep, folders: Sequence[Path]) -> list[Path]:
    """Copy the blocks of other folders into the folder of a sweep. A block that is there already is left as it is.

    Args:
        sweep: the sweep.
        folders: folders in which other machines have run blocks of this sweep.

    Returns:
        The blocks that were copied: their .jsonl files in the folder of the sweep.

    Raises:
        ValueError: a folder without blocks, a damaged block, or one that does not belong to this sweep or to the other
            blocks. Nothing is written then.
    """
    blocks = [block for folder in folders for block in _list_blocks(folder)]
    store = RunStore(sweep, others=blocks)
    planned = plan_sweep_cells(sweep, store)
    cells = [*planned.tuning, *(planned.cells if planned.is_tuned else [])]
    by_name = {store.name_run(cell): cell for cell in cells}
    for block in sorted(blocks, key=lambda block: not is_of_tuning(block)):  # the others depend on them
        if not planned.is_tuned and not is_of_tuning(block):
            raise ValueError(
                f"--gather: {block.file} depends on tuning runs that are missing; gather the blocks of tuning too."
            )
        _check_recipes(block, by_name)
    check_alike(store.select_finished(cells))
    new = _select_new(sweep.folder / BLOCKS, blocks)
    with open_sweep_folder(sweep):
        (sweep.folder / BLOCKS).mkdir(exist_ok=True)
        for target, block in new.items():
            for source, copy in ((block.predictions, Block(target).predictions), (block.file, target)):
                with open_whole_file(copy) as temporary:
                    shutil.copyfile(source, temporary)
    return list(new)


def _list_blocks(folder: Path) -> list[Block]:
    """The blocks of a sweep's folder, or of its folder `blocks` itself."""
    inside = folder if folder.name == BLOCKS else folder / BLOCKS
    blocks = [Block(file) for file in sorted(inside.glob("*.jsonl"))]
    if not blocks:
        raise ValueError(f"--gather: {inside} has no blocks (*.jsonl); name the folder of a sweep that has run some.")
    return blocks


def _check_recipes(block: Block, cells: Mapping[str, Cell]) -> None:
    """Every run of a block that the sweep knows has the recipe of its cell, and there is at least one."""
    runs = block.list_runs()
    if not cells.keys() & runs.keys():
        raise ValueError(f"--gather: {block.file} holds no run of this sweep; its first is {next(iter(runs), None)}.")
    for name, run in runs.items():
        if name in cells and (keys := run.list_differences(cells[name].recipe)):
            raise ValueError(
                f"--gather: {run.place} has another recipe than this sweep; they differ in {', '.join(keys[:3])}."
            )


def _select_new(folder: Path, blocks: Sequence[Block]) -> dict[Path, Block]:
    """The blocks to copy, by where they go; those whose runs are there already are left out."""
    new: dict[Path, Block] = {}
    for block in blocks:
        target = folder / block.file.name
        first = new.get(target) or (Block(target) if target.is_file() else None)
        if first is None:
            new[target] = block
        elif any(first.lines.get(name) != line for name, line in block.lines.items()):
            raise ValueError(
                f"--gather: {block.file} and {first.file} hold different runs; delete the one that is out of date."
            )
    return new
