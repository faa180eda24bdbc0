"""cells.csv has a row for every run."""

import csv

import pytest


def read_cells(folder):
    with (folder / "cells.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_are_those_of_the_records(make_finished, write_report, tmp_path):
    changes = {"scores.validation.student.accuracy": 0.25, "scores.selection.student.accuracy": 0.1 + 0.2}
    finished = [make_finished(seed=seed, task="a", changes=changes) for seed in (1, 2)]
    write_report(tmp_path, finished)
    record = finished[0].run.record
    for seed, row in enumerate(read_cells(tmp_path), start=1):
        assert (row["task"], row["method"], row["seed"]) == ("a", "SID", str(seed))
        assert float(row["accuracy"]) == 0.25 and float(row["selection"]) == 0.1 + 0.2  # to the last digit
        assert float(row["share_of_teacher"]) == pytest.approx(0.25 / record.scores["validation"].teacher.primary)
        assert float(row["agreement"]) == 1 and float(row["teacher_right_student_wrong"]) == 0
        assert int(row["steps"]) == record.steps and float(row["cls_cosine_4"]) == record.distances.after[4].cls_cosine
        assert row["folder"] == str(finished[seed - 1].cell.folder)


def test_swept_values_of_every_kind_are_written(make_finished, write_report, tmp_path):
    values = [[1, 2], "a, b", None, True, 7, 0.5]
    write_report(tmp_path, [make_finished(setting={"key": value}) for value in values], grid={"key": values})
    assert [row["key"] for row in read_cells(tmp_path)] == ["[1, 2]", "a, b", "", "true", "7", "0.5"]


def test_runs_of_other_layers_share_the_columns(finished, make_finished, write_report, tmp_path):
    distance = {"teacher_layer": 2, "attention_kl": None, "cls_cosine": 0.5}
    other = make_finished("SID", {"student.num_layers": 2}, changes={"distances.after": {"9": distance}})
    write_report(tmp_path, [other, finished[5]])
    first, second = read_cells(tmp_path)
    assert (first["cls_cosine_9"], first["attention_kl_9"], first["cls_cosine_4"]) == ("0.5", "", "")
    assert second["cls_cosine_9"] == "" and second["cls_cosine_4"] != ""


def test_without_runs_there_is_no_table(make_finished, write_report, tmp_path):
    write_report(tmp_path, [make_finished()])
    write_report(tmp_path, [], methods={"SID": {}}, seeds=[1])
    assert not (tmp_path / "cells.csv").exists()
