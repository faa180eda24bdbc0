"""Runs whose examples belong together: from the column of the files to the page."""

import csv

import numpy as np
import pytest

from innerdistill import distill
from innerdistill.cli.main import main
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.page import write_report
from innerdistill.report.record import Scores
from innerdistill.report.run_folder import read_predictions, read_record


@pytest.fixture(scope="module")
def grouped_data(data_folder, tmp_path_factory):
    """The classes as train.csv and validation.csv with reviews: of validation, the same text twice is one."""
    folder = tmp_path_factory.mktemp("grouped")
    for name, copies in (("train", 1), ("validation", 2)):
        with (data_folder / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        with (folder / f"{name}.csv").open("w", newline="") as file:
            lines = [[*row, f"review {number // 2}"] for number, row in enumerate(rows)] * copies
            csv.writer(file).writerows([[*header, "review"], *lines])
    return folder


@pytest.fixture(scope="module")
def make_recipe(recipe, grouped_data, teacher_folder, tmp_path_factory):
    """A recipe over these files, with the fine-tuned teacher; keys of `data` by name."""

    def make(**data):
        files = {name: f"{grouped_data}/{name}.csv" for name in ("train", "validation")}
        changes = {"data": {**files, **data}, "schedule": {"name": "soft_labels", "classification_epochs": 1}}
        content = recipe(tmp_path_factory.mktemp("runs") / "run", **changes)
        content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"]}
        return content

    return make


@pytest.fixture(scope="module")
def runs(make_recipe):
    """A run without groups and one with them, on the same examples of every split."""
    selection = make_recipe()["data"]["validation"]  # a file, so that nothing is held out by other hashes
    return [distill(make_recipe(selection=selection, **group)) for group in ({}, {"group": "review"})]


def test_groups_change_standard_errors_and_nothing_else(runs):
    plain, grouped = map(read_record, runs)
    assert plain.data.fingerprint == grouped.data.fingerprint and plain.student == grouped.student
    assert plain.data.groups is None and grouped.data.groups == {"validation": 70, "selection": 70}
    columns, others = (read_predictions(run / "predictions.parquet", "validation") for run in runs)
    assert "group" not in columns and others.pop("group").tolist() == (np.arange(140) // 2).tolist() * 2
    assert all(np.array_equal(columns[name], others[name]) for name in columns)
    for split in ("validation", "selection"):
        for model in ("teacher", "student"):
            ours, theirs = getattr(plain.scores[split], model), getattr(grouped.scores[split], model)
            assert ours.values == theirs.values and theirs.standard_error > 1.2 * ours.standard_error
            assert theirs.above_constant.standard_error > 1.2 * ours.above_constant.standard_error
        assert grouped.differences[split].standard_error > 1.2 * plain.differences[split].standard_error


def test_every_score_of_groups_can_be_computed_again(runs):
    record = read_record(runs[1])
    for split in ("selection", "validation"):
        rows = read_predictions(runs[1] / "predictions.parquet", split)
        again = score_with_errors(
            LabelledExamples.from_columns(rows, scoring=record.data.scoring),
            rows["student"],
            scoring=record.data.scoring,
        )
        assert Scores.model_validate(again) == record.scores[split].student


def test_the_page_says_what_counts_as_one(runs):
    sentence = "Examples with the same “review” count as one: 280 examples, 70 groups."
    plain, grouped = (write_report(run).read_text() for run in runs)
    assert sentence in grouped and "count as one" not in plain


@pytest.mark.parametrize("verb", ["distill", "plan"])
def test_a_split_without_the_column_is_refused(make_recipe, data_folder, tmp_path, capsys, verb):
    recipe = make_recipe(validation=f"{data_folder}/validation.csv", group="review")
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe))
    assert main([verb, str(tmp_path / "recipe.yaml")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"data.validation: {data_folder}/validation.csv: no column 'review'." in error and "Traceback" not in error
