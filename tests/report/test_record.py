"""run.json with a type: records of every age load, and nothing is lost when they are written again."""

import json
from pathlib import Path

import pytest

from innerdistill.recipe.renames import translate_old_values
from innerdistill.report.record import SCHEMA_VERSION, parse_record
from innerdistill.report.run_folder import read_record, write_record

ROOT = Path(__file__).parents[2]
BLOCKS = sorted((ROOT / "results").rglob("blocks/*.jsonl"))


def read_lines(block):
    return [json.loads(line) for line in block.read_text().splitlines()]


@pytest.fixture
def content():
    """The parsed run.json of one committed run."""
    return read_lines(BLOCKS[0])[0]["record"]


def contains(whole, part):
    if isinstance(part, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return whole == part


def test_every_committed_record_loads_and_is_written_without_loss(tmp_path):
    lines = [line for block in BLOCKS for line in read_lines(block)]
    assert len(lines) >= 500
    for line in lines:
        path, before = line["run"], line["record"]
        record = parse_record(before, where=path)
        write_record(tmp_path, record)
        assert read_record(tmp_path) == record, path
        after = json.loads((tmp_path / "run.json").read_text())
        if "schema_version" not in before:
            assert after.pop("schema_version") == SCHEMA_VERSION and after.pop("extensions") == {}
            before["data"].setdefault("positive", 1)
            before["data"].setdefault("problem_type", "single_label_classification")
            before["teacher"]["targets"]["cached"] = before["teacher"]["targets"].pop("kept")
        recipes = [content.pop("recipe") for content in (after, before)]
        assert contains(recipes[0], translate_old_values(recipes[1])), (
            path
        )  # keys that are younger than the run have their defaults
        assert after == before, path


def test_numbers_of_a_record_have_names(content):
    record = parse_record(content, where="run.json")
    student, metric = record.scores["validation"].student, record.data.metric
    assert student.primary == student.values[metric] == content["scores"]["validation"]["student"][metric]
    assert list(student.values) == ["accuracy", "f1", "macro_f1", "mcc"]
    assert record.get_agreement("validation") == content["agreement"]["validation"]["equal_predictions"]
    assert record.agreement == content["agreement"]
    assert record.steps == sum(stage["steps"] for stage in content["stages"])
    assert record.data.scoring.names == tuple(content["data"]["names"])


def test_a_metric_of_an_extension_is_read_and_written(content):
    content["scores"]["validation"]["student"]["macro_recall"] = 0.5
    record = parse_record(content, where="run.json")
    assert record.scores["validation"].student.values["macro_recall"] == 0.5
    assert record.model_dump(mode="json")["scores"]["validation"]["student"]["macro_recall"] == 0.5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("scores"), "not the record of a run, or not all of it (scores: field required)"),
        (lambda content: content["scores"].pop("validation"), "(scores has no split 'validation')"),
        (lambda content: content["student"].update(layers="six"), "student.layers: input should be a valid integer"),
        (lambda content: content.update(comment="mine"), "comment: extra inputs are not permitted"),
        (lambda content: content["scores"]["validation"]["student"].update(f1="high"), "f1: input should be a valid"),
        (lambda content: content["scores"]["validation"]["student"].update(metric="auc"), "metric 'auc' has no score"),
        (lambda content: content.update(schema_version=SCHEMA_VERSION + 1), "a later innerdistill wrote this record"),
        (lambda content: content.update(schema_version="new"), "schema_version: input should be a valid integer"),
    ],
)
def test_a_record_that_is_damaged_or_too_new_is_refused_in_one_sentence(content, change, sentence):
    change(content)
    with pytest.raises(ValueError) as error:
        parse_record(content, where="run.json")
    assert sentence in str(error.value) and str(error.value).startswith("run.json: ")
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("text", ["[]", "{", "", '"run"', "{}"])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json: "):
        read_record(tmp_path)


def test_a_folder_without_record_is_no_finished_run(tmp_path):
    with pytest.raises(ValueError, match=r"no finished run there \(run.json is missing\)"):
        read_record(tmp_path)
