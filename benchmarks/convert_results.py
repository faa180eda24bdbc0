"""Convert a sweep's folder: its run folders become blocks, value for value.

    python benchmarks/convert_results.py results/cola [FOLDER ...]

Every finished run is stored in the block of its teacher, compared with what its folder holds, and then loses its
run.json and predictions.parquet. Sweeps that ran before there were blocks need it once; `sweep` writes blocks itself.
"""

import json
import sys
from pathlib import Path

from innerdistill.report.run_folder import PREDICTIONS, RUN
from innerdistill.report.stored_run import FolderRun, StoredRun
from innerdistill.sweep.blocks import Block, write_block
from innerdistill.sweep.declaration import BLOCKS
from innerdistill.sweep.grid import plan_cells, read_sweep
from innerdistill.sweep.store import name_block


def convert(folder: Path) -> dict[str, int]:
    """Convert the runs of one sweep.

    Args:
        folder: folder of the sweep.

    Returns:
        Number of runs by block.

    Raises:
        ValueError: a run cannot be stored without loss; its folder is still there.
    """
    sweep = read_sweep(folder)
    blocks: dict[str, dict[str, FolderRun]] = {}
    for cell in plan_cells(sweep):
        if (cell.folder / RUN).is_file():
            name = cell.folder.relative_to(folder).as_posix()
            blocks.setdefault(name_block(cell), {})[name] = FolderRun(cell.folder)
    for name, runs in blocks.items():
        file = folder / BLOCKS / f"{name}.jsonl"
        write_block(file, runs)
        block = Block(file)
        for run_name, run in runs.items():
            check_equal(run, block.find_run(run_name))
        for run in runs.values():
            remove(run)
    return {name: len(runs) for name, runs in blocks.items()}


def check_equal(run: StoredRun, stored: StoredRun | None) -> None:
    """Compare a run with what a block has of it: every value of its record and, bit for bit, of its predictions.

    Args:
        run: run in its folder.
        stored: the same run in a block.

    Raises:
        ValueError: something differs.
    """
    if stored is None or json.dumps(run.content) != json.dumps(stored.content):
        raise ValueError(f"{run.place}: its record is not stored without loss.")
    ours, theirs = run.read_table(), stored.read_table()
    same = set(ours.column_names) == set(theirs.column_names)
    for name in ours.column_names if same else []:
        first, second = ours[name], theirs[name]
        same &= first.type == second.type and first.null_count == second.null_count == 0
        same &= first.to_numpy().tobytes() == second.to_numpy().tobytes() if name != "split" else first.equals(second)
    if not same:
        raise ValueError(f"{run.place}: its predictions are not stored without loss.")
    if run.baseline is not None:
        check_equal(run.baseline, stored.baseline)


def remove(run: FolderRun) -> None:
    """Remove what is in the block now, and the folders that are empty then.

    Args:
        run: run in its folder.
    """
    for folder in (run.folder / "baseline", run.folder):
        for name in (RUN, PREDICTIONS):
            (folder / name).unlink(missing_ok=True)
    for folder in (run.folder / "baseline", run.folder, *run.folder.parents):
        if folder.is_dir() and any(folder.iterdir()):
            break
        if folder.is_dir():
            folder.rmdir()


def main() -> None:
    """Convert all folders of the command line."""
    for folder in sys.argv[1:]:
        for name, runs in convert(Path(folder)).items():
            print(f"{folder}: {runs} runs -> blocks/{name}.jsonl and .parquet")


if __name__ == "__main__":
    main()
