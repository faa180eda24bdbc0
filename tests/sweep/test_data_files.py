"""A data file that has changed since a sweep's runs is named, even if nothing is left to run."""

import shutil

import pytest

from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.sweep import run_sweep


@pytest.fixture
def sweep(write_sweep, data_folder, tmp_path, monkeypatch):
    """A sweep over data files of its own, of which no cell would run."""
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    files = {}
    for split in ("train", "validation"):
        files[split] = shutil.copy(data_folder / f"{split}.csv", tmp_path)
    overrides = [f"recipe.data.{split}={path}" for split, path in files.items()]
    return load_sweep(write_sweep(), overrides=overrides)


def test_a_changed_file_of_finished_runs_is_named(sweep, fill_cells, tmp_path):
    fill_cells(sweep, plan_cells(sweep))
    run_sweep(sweep)
    run_sweep(sweep)
    validation = tmp_path / "validation.csv"
    text = validation.read_bytes()
    validation.write_bytes(text.replace(b"word1 ", b"word2 ", 1))
    with pytest.raises(ValueError, match=r"validation\.csv has changed since runs of this sweep read it; restore it"):
        run_sweep(sweep)
    validation.write_bytes(text)
    run_sweep(sweep)
    validation.unlink()  # the results can still be read
    run_sweep(sweep)


def test_results_are_read_where_the_data_are_not(write_sweep, fill_cells, monkeypatch):
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    gone = [
        "recipe.data.path=gone/CoLA",
        "recipe.data.task=cola",
        "recipe.data.train=null",
        "recipe.data.text=sentence",
    ]
    sweep = load_sweep(write_sweep(), overrides=[*gone, "recipe.data.validation=null"])
    fill_cells(sweep, plan_cells(sweep))
    run_sweep(sweep)


def test_a_file_may_change_before_there_are_runs(sweep, fill_cells, tmp_path):
    run_sweep(sweep)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("good1,pos\n")
    run_sweep(sweep)
    (sweep.folder / "data_files.json").write_text("[")  # damaged: it is written anew
    fill_cells(sweep, plan_cells(sweep))
    run_sweep(sweep)
    assert "train.csv" in (sweep.folder / "data_files.json").read_text()
