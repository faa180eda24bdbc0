"""Distillation without labels: the teacher labels train, and scores are the agreement with it."""

import csv
import json
import shutil

import numpy as np
import pytest
from datasets import Dataset
from safetensors.numpy import load_file

from innerdistill import distill, evaluate, load_recipe
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.preview import refuse_early


@pytest.fixture(scope="session")
def text_folder(fill_once, data_folder):
    """The texts of train.csv and validation.csv without their labels."""

    def fill(folder):
        for name in ("train", "validation"):
            with (data_folder / f"{name}.csv").open(newline="") as file:
                texts = [row["text"] for row in csv.DictReader(file)]
            with (folder / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("text",), *((text,) for text in texts)])

    return fill_once("texts", fill)


@pytest.fixture
def without_labels(recipe, text_folder, teacher_folder, tmp_path):
    """A recipe without labels as a mapping."""

    def make(**sections):
        content = recipe(tmp_path / "run", **sections)
        content["data"] = {"train": f"{text_folder}/train.csv", "text": "text", **sections.get("data", {})}
        content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
        content["teacher"] |= sections.get("teacher", {})
        return content

    return make


def test_a_run_without_labels_is_scored_against_its_teacher(without_labels):
    record = read_record(distill(without_labels(checkpoint="best")))
    assert record.data.against_teacher == ("selection", "validation")
    assert record.data.metric == "agreement_with_the_teacher" and record.data.names == ("neg", "pos")
    scores, agreement = record.scores["validation"], record.agreement["validation"]
    assert scores.student.primary == agreement["equal_predictions"] > 0.7
    assert list(scores.student.values) == ["agreement_with_the_teacher"]
    assert 0 < agreement["output_distance"] < 1
    assert agreement["teacher_right_student_right"] == 0
    assert scores.teacher.primary == 1
    assert set(record.stages[-1].epochs[-1].scores) == {"agreement_with_the_teacher"}
    assert record.scores["selection"].student.primary == max(
        epoch.scores["agreement_with_the_teacher"] for epoch in record.stages[-1].epochs
    )
    assert "accuracy" not in json.dumps(record.model_dump(mode="json", exclude={"recipe"}))
