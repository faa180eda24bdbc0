"""A sweep whose runs have folders is converted into blocks: every value stays, and so do its tables."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from innerdistill.cli.main import main
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.store import RunStore

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from convert_results import check_equal, convert


@pytest.fixture
def old_layout(write_sweep, fill_cells, same, tmp_path):
    """Two methods, two sizes and five seeds in folders, one of the cells missing and one with a baseline."""
    grid = {"student.num_layers": [2, 4]}
    sweep = load_sweep(write_sweep(grid=grid, seeds=[1, 2, 3, 4, 5], output=str(tmp_path / "before")))
    *cells, _ = plan_cells(sweep)
    fill_cells(sweep, cells)
    (cells[0].folder / "baseline").mkdir()
    for name in ("run.json", "predictions.parquet"):
        shutil.copy(same / "baseline" / name, cells[0].folder / "baseline" / name)
    for file in tmp_path.rglob("examples.json"):
        file.unlink()
    return tmp_path / "before"


def test_a_converted_sweep_is_the_same_value_by_value(old_layout, tmp_path):
    after = tmp_path / "after"
    shutil.copytree(old_layout, after)
    assert convert(after) == {"student.num_layers=2": 10, "student.num_layers=4": 9}
    files = sorted(path.relative_to(after).as_posix() for path in after.rglob("*") if path.is_file())
    blocks = [f"blocks/student.num_layers={layers}.{kind}" for layers in (2, 4) for kind in ("jsonl", "parquet")]
    assert files == [*blocks, "sweep.yaml"]

    sweeps = [load_sweep(folder / "sweep.yaml", overrides=[f"output={folder}"]) for folder in (old_layout, after)]
    before, now = (RunStore(sweep).select_finished(plan_cells(sweep)) for sweep in sweeps)
    assert len(before) == len(now) == 19
    for old, new in zip(before, now, strict=True):
        check_equal(old.run, new.run)
    for folder in (old_layout, after):
        assert main(["report", str(folder)]) == 0
    for name in ("report.md", "table.tex"):
        texts = [(folder / name).read_text() for folder in (old_layout, after)]
        assert texts[0].replace("before", "after") == texts[1]
    rows = [list(csv.DictReader((folder / "cells.csv").open(newline=""))) for folder in (old_layout, after)]
    for old, new in zip(*rows, strict=True):
        assert {**old, "folder": old["folder"].replace("before", "after")} == new


def test_a_run_that_differs_from_its_block_is_told(old_layout):
    sweep = load_sweep(old_layout / "sweep.yaml", overrides=[f"output={old_layout}"])
    first, *_, last = (entry.run for entry in RunStore(sweep).select_finished(plan_cells(sweep)))
    with pytest.raises(ValueError, match="its record is not stored without loss"):
        check_equal(first, last)
    with pytest.raises(ValueError, match="its record is not stored without loss"):
        check_equal(first, None)
    (last.folder / "run.json").write_text((first.folder / "run.json").read_text())
    table = first.read_table()
    student = table["student_0"].to_numpy().copy()
    student[-1] = np.nextafter(student[-1], np.float32(9))
    position = table.column_names.index("student_0")
    table = table.set_column(position, "student_0", pa.array(student))
    pyarrow.parquet.write_table(table, last.folder / "predictions.parquet")
    with pytest.raises(ValueError, match="its predictions are not stored without loss"):
        check_equal(FolderRun(last.folder), first)
