"""Sweeps: cells run once, continue where they were, fail alone, and are compared."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from innerdistill.cli.main import main
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.output_folder import lock_folder
from innerdistill.report.run_folder import read_run
from innerdistill.support.files import write_json
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.sweep import run_sweep
from innerdistill.sweep.workers import Running, devices_of

METHODS = {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"schedule.name": "sid"}}


@pytest.fixture
def write(recipe, teacher_folder, tmp_path):
    def write(**changes):
        content = recipe("unused")
        content.pop("output")
        content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
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


def check_a_finished_sweep(write, tmp_path, capsys):
    """Run the sweep to its end with two workers, and compare its tables with its runs, whose files are returned."""
    assert main(["sweep", str(write()), "--workers", "2"]) == 0
    shown, log = capsys.readouterr()
    assert "sid against soft labels" in shown and "intervals need at least 5 seeds" in shown
    assert "2 of 2 cells, 0:00:00 left: " in log  # where no bar is shown
    runs = [tmp_path / "sweep" / method / "seed-1" / "run.json" for method in ("sid", "soft-labels")]
    before = [run.stat().st_mtime_ns for run in runs]
    with (tmp_path / "sweep" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and {row["method"] for row in rows} == {"soft labels", "sid"}
    for row in rows:
        scores = read_run(row["folder"])["scores"]["validation"]["student"]
        assert float(row["accuracy"]) == scores["accuracy"] and int(row["steps"]) == 8
    return runs, before


def test_a_sweep_runs_its_cells_and_compares(write, tmp_path, capsys):
    check_a_finished_sweep(write, tmp_path, capsys)


@pytest.mark.slow  # every cell is a process of its own, which imports everything
def test_a_sweep_continues_compares_and_names_what_failed(write, tmp_path, capsys, monkeypatch):
    """One story: a sweep killed, continued, changed, and tampered with."""
    kill_in_a_cell(write(), tmp_path)  # what it had done is gone on with, and is compared below with a run left alone
    runs, before = check_a_finished_sweep(write, tmp_path, capsys)
    report = tmp_path / "sweep" / "report.md"
    numbers = read_run(runs[0].parent)["scores"]
    runs[0].unlink()  # as if it had been killed before its last file
    broken = {"trainer.learning_rate": 1e30, "trainer.max_grad_norm": 0, "schedule.name": "finetune"}
    methods = {**METHODS, "broken": broken, "dies": {"schedule.total_steps": 1_000_000}}
    threading.Thread(target=kill_when_it_runs, args=[f"{tmp_path}/sweep/dies"], daemon=True).start()
    # As many workers, so that a run has as many threads: sums of other parts round otherwise.
    assert main(["sweep", str(write(methods=methods, keep_models=False)), "--workers", "2"]) == 1
    assert [(run.parent / "model").exists() for run in runs] == [False, False]
    said = " ".join(capsys.readouterr().err.split())
    assert "the loss is no longer a finite number" in said and "killed by SIGKILL" in said
    written = report.read_text()
    assert "## Failed" in written and "killed by SIGKILL" in written
    report.unlink()
    assert main(["report", str(tmp_path / "sweep")]) == 0
    assert report.read_text() == written
    assert [run.stat().st_mtime_ns == time for run, time in zip(runs, before, strict=True)] == [False, True]
    assert read_run(runs[0].parent)["scores"] == numbers

    changed = {**METHODS, "sid": {"schedule.name": "sid", "temperature": 2.0}}
    unfinished = [cell.method for cell in plan_cells(load_sweep(write(methods=changed))) if not cell.is_finished()]
    assert unfinished == ["sid"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("innerdistill.sweep.sweep.run_cells", stop)
        run_sweep(load_sweep(write(methods=changed)))
    assert "| soft labels |" in report.read_text() and "| sid |" not in report.read_text()

    (runs[0].parent / "predictions.parquet").unlink()  # without them nothing can be compared: made again
    assert main(["sweep", str(write())]) == 0
    assert (runs[0].parent / "predictions.parquet").is_file()

    record = read_run(runs[0].parent)
    record["versions"]["torch"] = "1.0"
    write_json(runs[0], record)
    runs[1].unlink()
    for _ in ("after the run that is missing", "before any run"):
        assert main(["sweep", str(write())]) == 2
        assert "were made with different versions" in capsys.readouterr().err
        assert runs[1].exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "methods: dictionary should have at least 1 item"),
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"grid": {"student.num_layers": []}}, "grid.student.num_layers: it has no values"),
        ({"compare": [["sid", "pid"]]}, "compare: no method 'pid'; the methods are"),
        ({"compare": [["sid", "sid"]]}, "compare: 'sid' with 'sid': expected two methods, and each pair once"),
        ({"compare": [["sid", "soft labels"], ["soft labels", "sid"]]}, "compare: 'soft labels' with 'sid': expected two methods, and each pair once"),
        ({"methods": {"a": {"schedule.nmae": "sid"}}, "compare": []}, "cell a/seed-1: recipe: unknown key 'schedule.nmae'"),
        ({"methods": {"a b": {}, "a/b": {}}, "compare": []}, "two cells of the sweep would be in"),
        ({"methods": {"a": {"trainer.learning_rte": 1}}, "compare": []},
         "cell a/seed-1: trainer: TrainingArguments has no key 'learning_rte'; did you mean 'learning_rate'?"),
        ({"methods": {"a": {"schedule.name": "sdi"}}, "compare": []}, "cell a/seed-1: schedule.name: unknown schedule 'sdi'"),
        ({"methods": {"a": {"losses.gold_lable": 1}}, "compare": []}, "cell a/seed-1: losses: unknown loss 'gold_lable'"),
        ({"metods": {}}, "unknown key 'metods': did you mean 'methods'?"),
        ({"seeds": [0, 0]}, "seeds: 0 stands there twice."),
        ({"grid": {"teacher.seed": [1, 2]}}, "grid.teacher.seed: teacher.path is one teacher, whatever its seed"),
        ({"grid": {"student.num_layers": [2, 2]}}, "grid.student.num_layers: 2 stands there twice."),
        ({"methods": {"": {}}, "compare": []}, "methods: one of them has no name."),
        ({"methods": {"report.html": {}}, "compare": []}, "the sweep keeps report.html in its folder itself"),
        ({"grid": {"seed": [1, 2]}}, "grid.seed: a sweep has the list `seeds`."),
        ({"tasks": {"a": {"output": "x"}}}, "tasks.a.output: a sweep has its own `output`"),
        ({"grid": {"schedule": [{}, {"total_steps": 4}]}},
         "grid.schedule would take back methods.soft labels.schedule.name; name keys inside it in the grid."),
        ({"methods": {"a": {"temperature": 1}, "b": {"temperature": 4}}, "grid": {"temperature": [2, 8]}, "compare": []},
         "grid.temperature would take back methods.a.temperature; give it in one place."),
        ({"methods": {"a": {}, "b": {"data.train_rows": 50}}, "compare": []},
         "methods 'a' and 'b' have other values of data.train_rows"),
    ],
)  # fmt: skip
def test_bad_sweeps_in_one_sentence(write, tmp_path, capsys, changes, message):
    assert main(["sweep", str(write(**changes))]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_a_folder_of_somebody_else_is_left_alone(write, tmp_path, capsys):
    """Notes, a run, or a sweep.yaml that was written by hand and says something else."""
    theirs = tmp_path / "sweep"
    theirs.mkdir()
    for name, text in (("report.md", "mine"), ("sweep.yaml", "# mine\nrecipe: {}\nmethods: {a: {}}\nseeds: [1]\n")):
        (theirs / name).write_text(text)
        assert main(["sweep", str(write())]) == 2
        assert "name another folder" in capsys.readouterr().err.replace("\n", " ")
        assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [(name, text)]
        (theirs / name).unlink()


def test_a_sweep_in_the_folder_of_its_own_file_leaves_it_as_it_is(write, tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    text = "# mine\n" + write().read_text()
    (tmp_path / "sweep" / "sweep.yaml").write_text(text)
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    for output in (tmp_path / "sweep", f"{tmp_path}/./sweep/"):
        run_sweep(load_sweep(tmp_path / "sweep" / "sweep.yaml", overrides=[f"output={output}"]))
        assert (tmp_path / "sweep" / "sweep.yaml").read_text() == text
    (tmp_path / "sweep" / "failed.json").write_text("[1]")  # damaged: only the causes are not known
    run_sweep(load_sweep(tmp_path / "sweep" / "sweep.yaml"))


def test_every_key_can_be_swept(write):
    path = write(
        seeds=[1, 2],
        grid={"student.num_layers": [1, 2], "data.train_rows": [100, None]},
        tasks={"a": {}, "b": {"temperature": 2.0}},
    )
    cells = plan_cells(load_sweep(path))
    assert len(cells) == 2 * 2 * 2 * 2 * 2 == len({cell.folder for cell in cells})
    assert {(cell.recipe.student.num_layers, cell.recipe.data.train_rows) for cell in cells} == {
        (1, 100), (1, None), (2, 100), (2, None)
    }  # fmt: skip
    assert [cell.seed for cell in cells[:4]] == [1, 1, 2, 2]  # seed by seed


def test_methods_of_different_teachers_are_refused_before_anything_runs(write, base_folder, tmp_path, capsys):
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null"]
    faster = {"soft labels": {}, "sid": {"trainer.learning_rate": 3e-4}}
    assert main(["sweep", str(write(methods=faster)), *base]) == 2
    assert "set teacher.trainer.learning_rate for all" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sweep").exists()
    assert plan_cells(load_sweep(write(methods=faster), overrides=[*base, "recipe.teacher.trainer.learning_rate=1e-3"]))


def test_later_parts_of_a_sweep_win(write):
    """A method that speaks of a section takes back neither what the grid says of a key in it nor what all have."""
    path = write(
        tasks={"t": {"trainer.learning_rate": 5e-5}},
        methods={"a": {"trainer": {"weight_decay": 0.1}}},
        grid={"trainer.learning_rate": [1e-5, 1e-4]},
        compare=[],
    )
    trainers = [cell.recipe.trainer for cell in plan_cells(load_sweep(path))]
    common = {"per_device_train_batch_size": 16, "use_cpu": True, "weight_decay": 0.1}
    assert trainers == [{**common, "learning_rate": rate} for rate in (1e-5, 1e-4)]


def test_what_is_said_of_a_part_of_a_section_leaves_the_rest(write):
    """On the command line and in the file alike."""
    path = write(methods={"a": {"schedule.name": "sid"}, "b": {"schedule": {"name": "pid"}}}, compare=[])
    cells = plan_cells(load_sweep(path, overrides=["methods.a.schedule.threshold=0.5"]))
    found = [
        (cell.recipe.schedule.name, cell.recipe.schedule.total_steps, cell.recipe.schedule.threshold) for cell in cells
    ]
    assert found == [("sid", 8, 0.5), ("pid", 8, None)]


def test_one_sweep_at_a_time_in_a_folder(write, tmp_path, capsys):
    with lock_folder(tmp_path / "sweep"):
        assert main(["sweep", str(write())]) == 2
    assert "another process is at work in" in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "sweep.yaml").exists()


@pytest.mark.parametrize(
    ("given", "devices"), [("3,5", ["3", "5", "3"]), ("GPU-a", ["GPU-a"] * 3), ("", ["", "", ""]), (None, [None] * 3)]
)
def test_every_worker_has_a_gpu_of_its_own(monkeypatch, given, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    elif torch.cuda.is_available():
        pytest.skip("this machine has GPUs, so a worker has one")
    assert devices_of(3) == devices


def test_no_run_begins_once_a_sweep_is_stopped():
    running = Running()
    process = running.start([sys.executable, "-c", "import time; time.sleep(60)"])
    running.stop()
    assert process.wait(timeout=10) == -signal.SIGTERM
    assert running.start([sys.executable, "-c", ""]) is None


def kill_in_a_cell(path, tmp_path):
    """Start a sweep, kill it once its cells run, and wait until they are gone too."""
    command = [sys.executable, "-m", "innerdistill.cli.main", "sweep", str(path), "--workers", "2"]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "sweep").glob("*/*/checkpoints/0*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running(str(tmp_path))
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    deadline = time.monotonic() + 20
    while running(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(str(tmp_path))


def kill_when_it_runs(word):
    """Kill the cell whose command line holds a word, once it is there."""
    deadline = time.monotonic() + 120
    while not (found := running(word)) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(next(iter(found)), signal.SIGKILL)


def running(word):
    """Cells whose command line holds a word: command lines by process."""
    found = {}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(process.parent.name)] = process.read_bytes().decode(errors="replace")
    return {number: line for number, line in found.items() if "innerdistill.cli.sweep_cell" in line and word in line}
