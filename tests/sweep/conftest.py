"""Cells and sweeps that are made by hand, from a run that was made once."""

import itertools
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from records import set_value

from innerdistill import distill
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.gather import gather
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.report import write_sweep_report
from innerdistill.sweep.store import CellRun

METHODS = {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"schedule.name": "sid"}}  # of a sweep that runs
ATTACK = "<script>alert(1)</script> & $x_1"  # name of a method


@pytest.fixture(scope="session")
def same(recipe, teacher_folder, tmp_path_factory):
    """A student that is its teacher: all layers, its head, and a learning rate of 0."""
    content = recipe(
        tmp_path_factory.mktemp("same") / "run",
        student={"num_layers": 4, "head": "teacher"},
        trainer={"learning_rate": 0.0},
        schedule={"total_steps": 12},
        baseline=True,
    )
    content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"]}
    return distill(content)


def answer_anew(file, accuracy):
    """Give the student of a file of predictions other answers to the validation examples; their accuracy."""
    table = pa.parquet.read_table(file)
    columns = {name: table[name].to_numpy().copy() for name in ("student_0", "student_1")}
    rows = np.flatnonzero(table["split"].to_numpy() == "validation")
    labels, right = table["label"].to_numpy()[rows], np.arange(len(rows)) < round(accuracy * len(rows))
    answers = np.where(right, labels, 1 - labels)
    for index, (name, column) in enumerate(columns.items()):
        column[rows] = answers == index
        table = table.set_column(table.column_names.index(name), name, pa.array(column))
    pa.parquet.write_table(table, file)
    return float(right.mean())


@pytest.fixture(scope="session")
def make_finished(same, tmp_path_factory):
    """A finished cell: that run in another place of a grid, with changes of its run.json by dotted key.

    With an accuracy its student is right on the first examples of validation, and wrong on the rest.
    """
    root, number = tmp_path_factory.mktemp("finished"), itertools.count()

    def make(method="SID", setting=None, seed=1, *, task="", note=None, accuracy=None, changes=None):
        folder = root / str(next(number))
        folder.mkdir()
        for name in ("predictions.parquet", "examples.json"):
            shutil.copy(same / name, folder / name)
        content = json.loads((same / "run.json").read_text())
        for key, value in (changes or {}).items():
            set_value(content, key, value)
        if accuracy is not None:
            scored = answer_anew(folder / "predictions.parquet", accuracy)
            set_value(content, "scores.validation.student.accuracy", scored)
        (folder / "run.json").write_text(json.dumps(content))
        recipe = Recipe.model_validate({"data": {"note": note}})
        return CellRun(Cell(task, method, setting or {}, seed, recipe, folder), FolderRun(folder))

    return make


@pytest.fixture(scope="session")
def finished(make_finished):
    """Two methods, two sizes of the student, five seeds: all the same run, but one method named like an attack."""
    return [
        make_finished(
            method,
            {"student.num_layers": layers},
            seed,
            changes={"speed.student.parameters_without_embeddings": layers * 1_000_000},
        )
        for method, layers, seed in itertools.product(("SID", ATTACK), (2, 4), range(1, 6))
    ]


@pytest.fixture(scope="session")
def pair():
    """The methods of the finished cells."""
    return "SID", ATTACK


@pytest.fixture(scope="session")
def sweep_of():
    """The sweep of some finished cells, all of them declared; changes of it by name."""

    def make(finished, *, output="unused", **changes):
        content = {"recipe": {}, "methods": {}, "tasks": {}, "grid": {}, "seeds": [], "output": str(output)}
        for cell in (entry.cell for entry in finished):
            content["methods"][cell.method] = content["tasks"][cell.task] = {}
            content["seeds"] += [cell.seed] if cell.seed not in content["seeds"] else []
            for key, value in cell.setting.items():
                values = content["grid"].setdefault(key, [])
                values += [value] if value not in values else []
        return Sweep(**{**content, "tasks": content["tasks"] or {"": {}}, **changes})

    return make


@pytest.fixture(scope="session")
def gather_finished(sweep_of):
    """Groups of some finished cells; changes of their sweep by name."""
    return lambda finished, **changes: gather(sweep_of(finished, **changes), finished)


@pytest.fixture(scope="session")
def write_report(sweep_of):
    """Write the report over some finished cells into a folder; changes of their sweep by name."""

    def write(folder, finished, *, failed=None, **changes):
        return write_sweep_report(sweep_of(finished, output=folder, **changes), finished, failed=failed)

    return write


@pytest.fixture
def write_sweep(recipe, teacher_folder, tmp_path):
    """Write sweep.yaml: two methods of 8 steps; the teacher's keys, and other changes by key."""

    def write(*, teacher=None, **changes):
        content = recipe("unused")
        content.pop("output")
        content["teacher"] = {**(teacher or {"path": str(teacher_folder)}), "folder": str(tmp_path / "teachers")}
        sweep = {
            "recipe": {**content, "schedule": {"total_steps": 8}, "checkpoint_minutes": 0},
            "methods": METHODS,
            "seeds": [1],
            "compare": [["sid", "soft labels"]],
            "output": str(tmp_path / "sweep"),
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(write_yaml({**sweep, **changes}))
        return path

    return write


@pytest.fixture
def fill_cells(same):
    """Put that run into the folders of a sweep's cells, with their recipes and changes of run.json by dotted key."""

    def fill(sweep, cells, changes=None):
        sweep.folder.mkdir(exist_ok=True)
        (sweep.folder / "sweep.yaml").write_text(write_yaml(sweep.model_dump(mode="json")))
        for cell in cells:
            cell.folder.mkdir(parents=True)
            for name in ("predictions.parquet", "examples.json"):
                shutil.copy(same / name, cell.folder / name)
            content = json.loads((same / "run.json").read_text())
            content["recipe"] = cell.recipe.model_dump(mode="json")
            for key, value in (changes or {}).items():
                set_value(content, key, value)
            (cell.folder / "run.json").write_text(json.dumps(content))

    return fill
