"""Finished runs are found in folders and in blocks, and blocks of several machines are put together."""

import json
import re
import shutil

import pytest

from innerdistill.cli.main import main
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.store import RunStore, name_block
from innerdistill.sweep.sweep import report_on, run_sweep


@pytest.fixture
def nothing_runs(monkeypatch):
    """Cells that are missing when a sweep would run them."""
    missing = []
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda cells, *_, **__: missing.extend(cells))
    return missing


def forget_folders(cells):
    for cell in cells:
        shutil.rmtree(cell.folder)


def test_a_block_is_written_when_all_its_cells_are_finished(write_sweep, fill_cells, nothing_runs, tmp_path):
    sweep = load_sweep(write_sweep(seeds=[1, 2]))
    *first, last = plan_cells(sweep)
    fill_cells(sweep, first)
    run_sweep(sweep)
    assert nothing_runs == [last] and not (tmp_path / "sweep" / "blocks").exists()
    fill_cells(sweep, [last])
    run_sweep(sweep)
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "sweep" / "blocks").iterdir()}
    assert sorted(files) == ["teacher.jsonl", "teacher.parquet"]
    run_sweep(sweep)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "sweep" / "blocks").iterdir()} == files


def test_a_cell_in_a_block_is_finished_without_its_folder(write_sweep, fill_cells, nothing_runs, tmp_path):
    sweep = load_sweep(write_sweep(seeds=[1, 2]))
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    run_sweep(sweep)
    files = ("report.md", "table.tex", "cells.csv")
    before = [(tmp_path / "sweep" / name).read_text() for name in files]
    forget_folders(cells)
    run_sweep(sweep)
    assert nothing_runs == []
    assert [(tmp_path / "sweep" / name).read_text() for name in files] == before
    assert main(["report", str(tmp_path / "sweep")]) == 0
    assert [(tmp_path / "sweep" / name).read_text() for name in files] == before


def test_a_cell_of_another_recipe_is_not_finished(write_sweep, fill_cells, nothing_runs):
    sweep = load_sweep(write_sweep())
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    run_sweep(sweep)
    for forget in (False, True):
        if forget:
            forget_folders(cells)
        changed = load_sweep(write_sweep(), overrides=["methods.sid.temperature=2"])
        store, (_, sid) = RunStore(changed), plan_cells(changed)
        assert [entry.cell.method for entry in store.select_finished(plan_cells(changed))] == ["soft labels"]
        assert store.list_changes(sid) == ["temperature (1.0, now 2.0)"]


def test_runs_that_a_sweep_no_longer_has_stay_in_its_block(write_sweep, fill_cells, nothing_runs):
    sweep = load_sweep(write_sweep())
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    run_sweep(sweep)
    forget_folders(cells)
    other = {"soft labels": {"schedule.name": "soft_labels"}, "pid": {"schedule.name": "pid"}}
    with_other = load_sweep(write_sweep(methods=other, compare=[]))
    fill_cells(with_other, plan_cells(with_other)[1:])
    run_sweep(with_other)
    assert [len(RunStore(one).select_finished(plan_cells(one))) for one in (sweep, with_other)] == [2, 2]


@pytest.fixture
def two_machines(write_sweep, fill_cells, nothing_runs, base_folder, tmp_path):
    """A sweep over four teachers of which either machine has run two; a function gives a machine other facts."""
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null"]

    def make(changes=None):
        for machine, seeds in enumerate(([1, 2], [3, 4])):
            path = write_sweep(grid={"teacher.seed": seeds}, output=str(tmp_path / f"machine-{machine}"))
            sweep = load_sweep(path, overrides=base)
            for seed in seeds:
                of_teacher = [cell for cell in plan_cells(sweep) if cell.setting["teacher.seed"] == seed]
                facts = {"teacher.fingerprint": f"of seed {seed}", **((changes or {}) if machine else {})}
                fill_cells(sweep, of_teacher, facts)
            run_sweep(sweep)
        path = write_sweep(grid={"teacher.seed": [1, 2, 3, 4]}, output=str(tmp_path / "together"))
        for machine in range(2):
            shutil.copytree(
                tmp_path / f"machine-{machine}" / "blocks", tmp_path / "together" / "blocks", dirs_exist_ok=True
            )
        return load_sweep(path, overrides=base)

    return make


def test_blocks_of_two_machines_give_one_report(two_machines, fill_cells, tmp_path):
    sweep = two_machines()
    groups = report_on(sweep)
    assert [len(list(group.list_runs())) for group in groups] == [2] * 4
    together = (tmp_path / "together" / "report.md").read_text()
    shutil.rmtree(tmp_path / "together" / "blocks")
    for cell in plan_cells(sweep):
        fill_cells(sweep, [cell], {"teacher.fingerprint": f"of seed {cell.setting['teacher.seed']}"})
    report_on(sweep)
    assert (tmp_path / "together" / "report.md").read_text() == together


def test_blocks_of_other_versions_are_refused_by_their_files(two_machines):
    sweep = two_machines({"versions.torch": "1.0"})
    with pytest.raises(ValueError, match=r"blocks/teacher\.seed=\d\.jsonl \(.* differ in versions"):
        report_on(sweep)


def test_a_block_of_other_data_is_refused_by_its_file(write_sweep, fill_cells, nothing_runs, tmp_path):
    sweep = load_sweep(write_sweep())
    cells = plan_cells(sweep)
    fill_cells(sweep, cells[:1])
    fill_cells(sweep, cells[1:], {"data.fingerprint": "another"})
    for cell in cells:  # as if either had come from another machine
        store = RunStore(sweep)
        store.write_finished_blocks([cell], store.select_finished([cell]))
        for file in (tmp_path / "sweep" / "blocks").glob("teacher.*"):
            file.rename(file.with_name(f"{cell.method}{file.suffix}"))
        shutil.rmtree(cell.folder)
    with pytest.raises(ValueError, match=r"blocks/soft labels\.jsonl|blocks/sid\.jsonl.* different data"):
        report_on(sweep)


def test_two_runs_of_one_cell_are_refused(write_sweep, fill_cells, nothing_runs, tmp_path):
    sweep = load_sweep(write_sweep())
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    run_sweep(sweep)
    file = cells[0].folder / "run.json"
    content = json.loads(file.read_text())
    content["machine"] = "the record was completed later"
    file.write_text(json.dumps(content))
    assert len(report_on(sweep)) == 1
    content["stages"][0]["seconds"] += 1
    file.write_text(json.dumps(content))
    both = rf"{re.escape(str(cells[0].folder))} and .*teacher\.jsonl \(.*\) hold different runs of the same cell"
    with pytest.raises(ValueError, match=both):
        report_on(sweep)


def test_names_of_blocks(write_sweep, base_folder):
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null", "recipe.teacher.seed=7"]
    tasks = {"a b": {}, "数" * 80: {}}
    path = write_sweep(
        tasks=tasks, grid={"student.num_layers": [1], "layer_map": [[4]]}, methods={"sid": {}}, compare=[]
    )
    first, long = (name_block(cell) for cell in plan_cells(load_sweep(path, overrides=base)))
    assert first == "a-b,student.num_layers=1,layer_map=-4,teacher.seed=7"
    assert len(long.encode()) < 230 and len(long) > 60
