"""The folder of a run: what is missing from it, when it is finished, and its predictions."""

import numpy as np
import pytest
from records import make_record

from innerdistill.report.run_folder import (
    find_model_folder,
    has_record,
    is_finished,
    list_missing,
    read_predictions,
    write_predictions,
    write_record,
)


@pytest.fixture
def trained(tmp_path):
    """A function that makes the folder of a run whose training is over, with a recipe."""

    def make(**keys):
        record = make_record({"output": str(tmp_path / "run"), **keys})
        for folder in [tmp_path / "run"]:
            folder.mkdir()
            (folder / "predictions.parquet").touch()
            write_record(folder, record)
        return tmp_path / "run", record.recipe

    return make


def test_an_empty_folder_lacks_everything(tmp_path, trained):
    _, recipe = trained(baseline=True, onnx=True)
    missing = ["predictions.parquet", "run.json", "baseline/run.json", "model/onnx", "report.html"]
    assert list_missing(tmp_path / "empty", recipe) == missing
    assert not is_finished(tmp_path / "empty", recipe) and not has_record(tmp_path / "empty")


def test_a_run_without_its_report_is_finished(trained):
    folder, recipe = trained()
    assert list_missing(folder, recipe) == ["report.html"] and is_finished(folder, recipe) and has_record(folder)
    (folder / "report.html").touch()
    assert list_missing(folder, recipe) == []


@pytest.mark.parametrize(
    ("keys", "missing"),
    [({"baseline": True}, "baseline/run.json"), ({"onnx": True}, "model/onnx")],
)
def test_a_run_without_what_its_recipe_asks_for_is_not_finished(trained, keys, missing):
    folder, recipe = trained(**keys)
    assert list_missing(folder, recipe) == [missing, "report.html"] and not is_finished(folder, recipe)


def test_a_run_whose_predictions_are_gone_is_not_finished(trained):
    folder, recipe = trained()
    (folder / "predictions.parquet").unlink()
    assert list_missing(folder, recipe)[0] == "predictions.parquet" and not is_finished(folder, recipe)


def test_the_model_folder_of_a_run_and_of_a_model(trained, tmp_path):
    folder, _ = trained()
    assert find_model_folder(tmp_path / "a model") == tmp_path / "a model"
    with pytest.raises(ValueError, match="the run has no model; it was deleted, or its sweep has keep_models=false"):
        find_model_folder(folder)
    (folder / "model").mkdir()
    assert find_model_folder(str(folder)) == folder / "model"


def test_predictions_of_splits_with_different_models_are_read_as_they_were_written(tmp_path):
    generator = np.random.default_rng(0)
    splits = {
        "validation": {
            "row": np.arange(5), "label": np.array([0, 1, 1, 0, 2]),
            "student": generator.normal(size=(5, 3)), "teacher": generator.normal(size=(5, 3)),
        },
        "test": {"row": np.arange(2), "label": np.array([-1, -1]), "student": generator.normal(size=(2, 3))},
    }  # fmt: skip
    write_predictions(tmp_path / "predictions.parquet", splits)
    for split, columns in splits.items():
        restored = read_predictions(tmp_path / "predictions.parquet", split)
        assert all(np.array_equal(restored[name], columns[name]) for name in columns)


def test_a_file_that_holds_no_predictions_is_named(tmp_path):
    (tmp_path / "predictions.parquet").write_bytes(b"no table")
    for name in ("predictions.parquet", "nowhere.parquet"):
        with pytest.raises(ValueError, match=rf"{name}: missing, damaged or not the predictions of a run"):
            read_predictions(tmp_path / name, "validation")


def test_embeddings_of_texts_and_of_pairs_are_read_as_they_were_written(tmp_path):
    generator = np.random.default_rng(0)

    def draw(*shape):
        return generator.normal(size=shape).astype(np.float32)

    splits = {
        "selection": {
            "row": np.arange(3),
            "label": np.full(3, np.nan),
            "student": draw(3, 1, 4),
            "teacher": draw(3, 1, 4),
        },
        "validation": {"row": np.arange(2), "label": np.array([0.5, 1.0]), "student": draw(2, 2, 4)}
        | {"teacher": draw(2, 2, 4), "untrained": draw(2, 2, 4)},
    }
    write_predictions(tmp_path / "predictions.parquet", splits)
    for split, columns in splits.items():
        restored = read_predictions(tmp_path / "predictions.parquet", split)
        assert restored.keys() == columns.keys()
        assert all(np.array_equal(restored[name], columns[name], equal_nan=True) for name in columns)
