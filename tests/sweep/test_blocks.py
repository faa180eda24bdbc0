"""Blocks store runs without loss."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from innerdistill.report.run_folder import write_predictions
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.blocks import Block, write_block


def same_bits(first, second):
    assert set(first.column_names) == set(second.column_names)
    for name in first.column_names:
        ours, theirs = first[name], second[name]
        assert ours.type == theirs.type, name
        if pa.types.is_floating(ours.type):
            assert ours.to_numpy().tobytes() == theirs.to_numpy().tobytes(), name
        else:
            assert ours.equals(theirs), name


@pytest.fixture
def make_run(tmp_path):
    """A run folder with made predictions of 3 + 5 examples; what is not random is given."""

    def make(name, *, teacher=None, label=None, seed=0, student_type=np.float32, grouped=()):
        folder, draw = tmp_path / "sweep" / name, np.random.default_rng(seed)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(
            json.dumps({"scores": {"of": name, "exactly": 0.1 + 0.2}, "int": 1, "real": 1.0})
        )
        splits = {}
        for split, rows in (("selection", [3, 5, 9]), ("validation", [0, 1, 2, 3, 4])):
            columns = {"row": np.array(rows), "label": label(rows) if label else np.array(rows) % 2}
            if split in grouped:
                columns["group"] = (np.array(rows) // 2).astype(np.int32)
            if teacher is not None:
                columns["teacher"] = np.resize(teacher, (len(rows), 2)).astype(np.float32)
            splits[split] = columns | {"student": draw.normal(size=(len(rows), 2)).astype(student_type)}
        write_predictions(folder / "predictions.parquet", splits)
        return FolderRun(folder)

    return make


@pytest.fixture
def store(tmp_path):
    """Write runs into a block, and read the block."""

    def write(*runs):
        file = tmp_path / "sweep" / "blocks" / "a.jsonl"
        write_block(file, {run.folder.relative_to(tmp_path / "sweep").as_posix(): run for run in runs})
        return Block(file)

    return write


def test_records_and_predictions_are_read_as_they_were(make_run, store):
    """Of runs with a shared teacher, with another teacher, and without one."""
    runs = [
        make_run("a/seed-1", teacher=[0.0, 1.5, np.nan]),
        make_run("a/seed-2", teacher=[0.0, 1.5, np.nan], seed=2),
        make_run("b/seed-1", teacher=[-0.0, 1.5, np.nan]),
        make_run("c/seed-1"),
    ]
    block = store(*runs)
    assert [line["teacher"] for line in block.lines.values()] == ["teacher", "teacher", "b/seed-1/teacher", None]
    for run, stored in zip(runs, block.list_runs().values(), strict=True):
        assert json.dumps(stored.content) == json.dumps(run.content)
        same_bits(run.read_table(), stored.read_table())
        for split in ("selection", "validation", "test"):
            ours, theirs = run.read_predictions(split), stored.read_predictions(split)
            assert ours.keys() == theirs.keys()
            assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_shared_outputs_of_the_teacher_are_stored_once(make_run, store):
    block = store(*(make_run(f"a/seed-{seed}", teacher=[0.5], seed=seed) for seed in range(5)))
    models = pa.parquet.read_table(block.predictions)["model"].to_pylist()
    assert models.count("teacher") == 8 and len(models) == 8 * (1 + 5)


def test_labels_of_a_regression_are_numbers(make_run, store):
    run = make_run("a/seed-1", label=lambda rows: np.array(rows) / 3)
    (stored,) = store(run).list_runs().values()
    same_bits(run.read_table(), stored.read_table())


@pytest.mark.parametrize("grouped", [("validation",), ("selection", "validation")])
def test_groups_of_examples_are_stored_and_the_teacher_still_once(make_run, store, grouped):
    """A split of train that has no groups has nulls there, and no groups when it is read."""
    runs = [make_run(f"a/seed-{seed}", teacher=[0.5], seed=seed, grouped=grouped) for seed in (1, 2)]
    block = store(*runs)
    assert {line["teacher"] for line in block.lines.values()} == {"teacher"}
    for run, stored in zip(runs, block.list_runs().values(), strict=True):
        same_bits(run.read_table(), stored.read_table())
        for split in ("selection", "validation"):
            assert ("group" in stored.read_predictions(split)) == (split in grouped)
        assert stored.read_predictions("validation")["group"].tolist() == [0, 0, 1, 1, 2]


def test_a_baseline_is_stored_with_its_run(make_run, store):
    run = make_run("a/seed-1", teacher=[0.5])
    baseline = make_run("a/seed-1/baseline", teacher=[0.5], seed=3)
    block = store(run)
    assert list(block.list_runs()) == ["a/seed-1"]
    stored = block.find_run("a/seed-1").baseline
    assert stored.content == baseline.content and stored.baseline is None
    same_bits(baseline.read_table(), stored.read_table())


def test_predictions_that_a_block_cannot_hold_are_refused(make_run, store):
    run = make_run("a/seed-1")
    with pytest.raises(ValueError, match=r"b/seed-1: its predictions have other columns than those beside them"):
        store(run, make_run("b/seed-1", student_type=np.float64))
    file = run.folder / "predictions.parquet"
    table = pa.parquet.read_table(file)
    for damaged in (table.append_column("notes", table["label"]), table.drop_columns("student_0")):
        pa.parquet.write_table(damaged, file)
        with pytest.raises(ValueError, match="a/seed-1: its predictions have"):
            store(run)
    assert not (run.folder.parent.parent / "blocks" / "a.jsonl").exists()


def test_damaged_blocks_are_named(make_run, store, tmp_path):
    block = store(make_run("a/seed-1"))
    lines, predictions = block.file.read_text(), block.predictions
    for text in ("{", "[1]", '{"run": "a"}'):
        block.file.write_text(text)
        with pytest.raises(ValueError, match=r"a\.jsonl: damaged, or no block of a sweep"):
            Block(block.file).find_run("a/seed-1")
    block.file.write_text(lines)
    shutil.copy(predictions, tmp_path / "kept")
    predictions.write_bytes(predictions.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.parquet does not belong to a\.jsonl"):
        Block(block.file).find_run("a/seed-1")
    predictions.unlink()
    with pytest.raises(ValueError, match=r"a\.jsonl: damaged, or no block"):
        Block(block.file).find_run("a/seed-1")
    shutil.copy(tmp_path / "kept", predictions)
    assert Block(block.file).find_run("a/seed-1") is not None
