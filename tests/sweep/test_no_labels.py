"""Sweeps over runs without labels: everything is compared by the agreement with the teacher."""

import csv

import numpy as np
import pytest

from innerdistill import distill
from innerdistill.cli.printing import print_sweep
from innerdistill.evaluation.predicted_classes import predict_classes
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.grid import Cell, load_sweep
from innerdistill.sweep.store import CellRun
from innerdistill.sweep.sweep import run_sweep

SENTENCE = "No labels were given: scores on selection and validation are agreement with the teacher."


@pytest.fixture(scope="module")
def make_run(recipe, data_folder, teacher_folder, tmp_path_factory):
    """A finished cell of a run over the texts of train.csv, whose labels are not there."""
    folder = tmp_path_factory.mktemp("runs")
    file = folder / "texts.csv"
    with (data_folder / "train.csv").open(newline="") as labelled, file.open("w", newline="") as texts:
        csv.writer(texts).writerows([("text",), *((row["text"],) for row in csv.DictReader(labelled))])

    def make(method, layers, **data):
        content = recipe(folder / f"{method}-{layers}-{len(data)}", student={"num_layers": layers})
        content |= {
            "data": {"train": str(file), "text": "text", **data},
            "schedule": {"name": method, "total_steps": 8},
        }
        content["teacher"] = {"path": str(teacher_folder), "folder": str(folder / "teachers")}
        run = distill(content)
        (run / "report.html").unlink()  # it stands outside the folder of the sweep
        return CellRun(
            Cell("", method, {"student.num_layers": layers}, 1, run.record.recipe, run.folder), FolderRun(run)
        )

    return make


def test_a_sweep_without_labels_compares_by_agreement(make_run, write_report, tmp_path, capsys):
    finished = [make_run(method, layers) for method in ("soft_labels", "sid") for layers in (1, 2)]
    groups = write_report(tmp_path, finished, compare=[("sid", "soft_labels")], share=0.9)
    print_sweep(groups)
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith(SENTENCE) and "accuracy" not in out.lower() and "Share of" not in out
    for name in ("report.html", "report.md", "table.tex", "cells.csv"):
        text = (tmp_path / name).read_text()
        assert "accuracy" not in text.lower() and "pearson" not in text.lower(), name
        assert "Share of the teacher" not in text and "Right and wrong" not in text, name
    page = (tmp_path / "report.html").read_text()
    assert f'<div class="answer">\n<p>{SENTENCE}</p>' in page
    assert "`share` is not judged there" in page and "The share of teacher is" not in page
    with (tmp_path / "cells.csv").open(newline="") as cells:
        rows = list(csv.DictReader(cells))
    for row, entry in zip(rows, finished, strict=True):
        columns = entry.run.read_predictions("validation")
        equal = predict_classes(columns["teacher"]) == predict_classes(columns["student"])
        assert float(row["agreement_with_the_teacher"]) == pytest.approx(equal.mean())
        assert row["share_of_teacher"] == ""
    (answers,) = groups[-1].methods["sid"].list_answers()  # of the last entry
    np.testing.assert_allclose(answers.pseudo_values[0], equal.astype(float), atol=1e-9)


def test_labelled_validation_and_selection_without_labels(make_run, write_report, data_folder, tmp_path):
    finished = [make_run(method, 2, validation=f"{data_folder}/validation.csv") for method in ("soft_labels", "sid")]
    (group,) = write_report(tmp_path, finished, compare=[("sid", "soft_labels")])
    assert group.metric == "accuracy" and group.get_metric("selection") == "agreement_with_the_teacher"
    page = (tmp_path / "report.html").read_text()
    assert "No labels were given for train: scores on selection are agreement with the teacher." in page
    assert "agreement with the teacher on selection" in page and "accuracy on validation" in page


def test_methods_with_and_without_unlabelled_texts_are_compared(write_sweep, data_folder, base_folder):
    more = {"labelled": {}, "more": {"data.unlabelled": f"{data_folder}/unlabelled.csv"}}
    path = write_sweep(methods=more, seeds=[1, 2], compare=[["more", "labelled"]], teacher={"base": str(base_folder)})
    sweep = load_sweep(path, overrides=["recipe.schedule.name=soft_labels"])
    (group,) = run_sweep(sweep).groups
    labelled, more = (method.first_record for method in group.methods.values())
    assert labelled.teacher.fingerprint == more.teacher.fingerprint and labelled.student.start == more.student.start
    assert "unlabelled" in more.data.rows and "unlabelled" not in labelled.data.rows
    assert [(comparison.method, comparison.against) for comparison in group.comparisons] == [("more", "labelled")]
