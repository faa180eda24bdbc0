"""Sweeps over runs without a teacher: its outputs are columns of the data."""

import csv

import pytest

from innerdistill.cli.main import main
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.latency import list_sizes, measure_sweep, read_latency
from innerdistill.sweep.sweep import report_on

WHERE = "The teacher's outputs are the probabilities in the columns n, p."


def write_rows(source, target, *, outputs=True):
    """The rows of a labelled file; in every eighth, the outputs speak for the wrong class."""
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows if outputs else ()):
        right = 0.25 if number % 8 == 0 else 0.9
        row["p"] = right if row["label"] == "pos" else round(1 - right, 2)
        row["n"] = round(1 - row["p"], 2)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(target)


@pytest.fixture
def write_sweep(recipe, data_folder, teacher_folder, tmp_path):
    """Write sweep.yaml: two temperatures and a baseline, each of 8 steps."""

    def write(*, outputs=True, **changes):
        content = recipe("unused")
        content.pop("output")
        content["data"] = {
            "train": write_rows(data_folder / "train.csv", tmp_path / "train.csv"),
            "validation": write_rows(data_folder / "validation.csv", tmp_path / "validation.csv", outputs=outputs),
            "text": "text",
            "probabilities": {"neg": "n", "pos": "p"},
        }
        content["teacher"] = {"folder": str(tmp_path / "stores")}
        content["student"] = {"source": str(teacher_folder), "num_layers": 2}
        content |= {"schedule": {"name": "soft_labels", "total_steps": 8}, "checkpoint_minutes": 0}
        sweep = {
            "recipe": content,
            "methods": {
                "cold": {"temperature": 1},
                "warm": {"temperature": 2},
                "baseline": {"schedule.name": "finetune"},
            },
            "seeds": [1, 2],
            "compare": [["warm", "cold"], ["warm", "baseline"]],
            "output": str(tmp_path / "sweep"),
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(write_yaml({**sweep, **changes}))
        return path

    return write


def read_cells(folder):
    with (folder / "cells.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_temperatures_and_a_baseline(write_sweep, fast_start, tmp_path, capsys):
    file = str(write_sweep())
    assert main(["plan", file]) == 0
    assert "0 of 6 runs are finished" in " ".join(capsys.readouterr().out.split())
    assert main(["sweep", file, "--workers", "2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warm against cold" in out and "share of teacher" in out and "None" not in out
    folder = tmp_path / "sweep"
    for name in ("report.html", "report.md", "table.tex"):
        text = (folder / name).read_text().replace("&#39;", "'")
        assert "None" not in text and "Distance from the teacher" not in text, name
    markdown = (folder / "report.md").read_text()
    assert f"{WHERE} Nothing is known of its layers, its size or its speed." in markdown
    assert "share of the teacher's time" not in markdown and "| student | 2 |" in markdown
    rows = read_cells(folder)
    assert len(rows) == 6 and len({row["teacher"] for row in rows}) == 1
    for row in rows:
        assert "teacher_milliseconds" not in row and float(row["agreement"]) > 0 and row["share_of_teacher"]
        scores = FolderRun(row["folder"]).record.scores["validation"]
        assert float(row["accuracy"]) == scores.student.primary and float(row["teacher"]) == scores.teacher.primary
    # One block has all runs, and the teacher's outputs once.
    written = markdown
    for run in {row["folder"] for row in rows}:
        (FolderRun(run).folder / "run.json").unlink()
    (group,) = report_on(load_sweep(file))
    assert (folder / "report.md").read_text() == written and group.teacher is not None
    assert main(["plan", file]) == 0
    assert "6 of 6 runs are finished" in " ".join(capsys.readouterr().out.split())


def test_validation_without_outputs_has_no_agreement(write_sweep, fast_start, tmp_path, capsys):
    methods = {"cold": {"temperature": 1}, "warm": {"temperature": 2}}
    options = {"outputs": False, "methods": methods, "seeds": [1], "compare": [["warm", "cold"]]}
    file = str(write_sweep(**options, grid={"student.num_layers": [1, 2]}))
    assert main(["sweep", file, "--workers", "2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "None" not in out and "warm" in out
    markdown = (tmp_path / "sweep" / "report.md").read_text()
    assert "The validation split lacks them, so students have no agreement there." in markdown
    assert "None" not in markdown and "Share of the teacher" not in markdown
    rows = read_cells(tmp_path / "sweep")
    assert not {"teacher", "share_of_teacher", "agreement", "teacher_milliseconds"} & set(rows[0])
    assert "None" not in (tmp_path / "sweep" / "report.html").read_text()


def test_the_students_alone_are_timed(write_sweep, recipe, tmp_path):
    from innerdistill import distill

    sweep = load_sweep(write_sweep(seeds=[1], methods={"cold": {}, "warm": {"temperature": 2}}, compare=[]))
    assert isinstance(sweep, Sweep)
    cell = plan_cells(sweep)[0]
    run = FolderRun(distill(cell.recipe.model_copy(update={"output": str(tmp_path / "run")})).folder)
    assert [size.model for size in list_sizes([run.record])] == ["student"]
    (tmp_path / "timed").mkdir()
    measure_sweep(tmp_path / "timed", [run])
    assert [size.model for size in read_latency(tmp_path / "timed").get_latencies()] == ["student"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teachers": [1, 2]}, "teachers: data.probabilities is one teacher, whatever its seed; give teacher.base."),
        ({"methods": {"cold": {}, "deep": {"schedule.name": "sid"}}, "compare": []}, "set schedule.name=soft_labels"),
    ],
)
def test_what_needs_a_teacher_is_refused(write_sweep, changes, sentence, capsys):
    assert main(["sweep", str(write_sweep(**changes))]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
