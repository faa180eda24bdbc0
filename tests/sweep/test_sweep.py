"""Sweeps: cells run once, continue where they were, fail alone, and are compared."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from innerdistill.cli.main import main
from innerdistill.report.output_folder import lock_folder
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.store import RunStore
from innerdistill.sweep.sweep import report_on, run_sweep

METHODS = {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"schedule.name": "sid"}}


def check_a_finished_sweep(write_sweep, tmp_path, capsys):
    """Run the sweep to its end with two workers, and compare its tables with its runs, whose files are returned."""
    assert main(["sweep", str(write_sweep()), "--workers", "2"]) == 0
    printed, log = capsys.readouterr()
    shown = " ".join(printed.split())  # a sentence may be wrapped
    assert "sid against soft labels" in shown and shown.count("A test needs 5 seeds") == 1
    assert "2 of 2 cells, 0:00:00 left: " in log  # where no bar is shown
    assert f"sid, seed 1 started: {tmp_path / 'sweep' / 'sid' / 'seed-1.log'}" in log.splitlines()
    assert "seeds: one seed shows no spread between runs; a test needs 5 seeds, a claim 8." in log.splitlines()
    assert "Loading weights" not in log  # the bars of libraries
    runs = [tmp_path / "sweep" / method / "seed-1" / "run.json" for method in ("sid", "soft-labels")]
    before = [run.stat().st_mtime_ns for run in runs]
    with (tmp_path / "sweep" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and {row["method"] for row in rows} == {"soft labels", "sid"}
    for row in rows:
        scores = FolderRun(row["folder"]).record.scores["validation"].student
        assert float(row["accuracy"]) == scores.primary and int(row["steps"]) == 8
    return runs, before


def test_a_sweep_runs_its_cells_and_compares(write_sweep, tmp_path, capsys):
    check_a_finished_sweep(write_sweep, tmp_path, capsys)
    assert sorted(path.name for path in (tmp_path / "sweep" / "blocks").iterdir()) == [
        "teacher.jsonl",
        "teacher.parquet",
    ]


@pytest.mark.slow
def test_a_sweep_continues_compares_and_names_what_failed(write_sweep, fast_start, tmp_path, capsys, monkeypatch):
    """One story: a sweep killed, continued, changed, and tampered with."""
    kill_in_a_cell(write_sweep(), tmp_path)  # what it had done is resumed, and is compared below with a run left alone
    runs, before = check_a_finished_sweep(write_sweep, tmp_path, capsys)
    report = tmp_path / "sweep" / "report.md"
    numbers = FolderRun(runs[0].parent).record.scores
    runs[0].unlink()  # as if it had been killed before its last files
    blocks = tmp_path / "sweep" / "blocks"
    shutil.rmtree(blocks)
    broken = {"trainer.learning_rate": 1e30, "trainer.max_grad_norm": 0, "schedule.name": "finetune"}
    methods = {**METHODS, "broken": broken, "dies": {"schedule.total_steps": 1_000_000}}
    threading.Thread(target=kill_when_it_runs, args=[f"{tmp_path}/sweep/dies"], daemon=True).start()
    # As many workers, so that a run has as many threads: sums of other parts round otherwise.
    assert main(["sweep", str(write_sweep(methods=methods, keep_models=False)), "--workers", "2"]) == 1
    assert [(run.parent / "model").exists() for run in runs] == [False, False]
    said = " ".join(capsys.readouterr().err.split())
    assert "the loss is no longer a finite number" in said and "killed by SIGKILL" in said
    written = report.read_text()
    assert "## Failed" in written and "killed by SIGKILL" in written
    report.unlink()
    assert main(["report", str(tmp_path / "sweep")]) == 0
    assert report.read_text() == written
    assert [run.stat().st_mtime_ns == time for run, time in zip(runs, before, strict=True)] == [False, True]
    assert FolderRun(runs[0].parent).record.scores == numbers
    assert not blocks.exists()  # cells are missing

    changed = {**METHODS, "sid": {"schedule.name": "sid", "temperature": 2.0}}
    sweep = load_sweep(write_sweep(methods=changed))
    assert [entry.cell.method for entry in RunStore(sweep).select_finished(plan_cells(sweep))] == ["soft labels"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("innerdistill.sweep.sweep.run_cells", stop)
        run_sweep(sweep)
    assert "| soft labels |" in report.read_text() and "| sid |" not in report.read_text()

    (runs[0].parent / "predictions.parquet").unlink()  # without them nothing can be compared: re-run
    assert main(["sweep", str(write_sweep())]) == 0
    assert (runs[0].parent / "predictions.parquet").is_file()


def test_a_run_that_cannot_be_compared_stops_the_sweep(write_sweep, fill_cells, tmp_path, monkeypatch, capsys):
    """After the run that was missing, and from then on before any other."""
    sweep = load_sweep(write_sweep())
    first, second = plan_cells(sweep)
    fill_cells(sweep, [first], {"versions.torch": "1.0"})

    def run_missing(missing, failed, *, check, **_):
        assert missing == [second]
        fill_cells(sweep, missing)
        check(second)

    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", run_missing)
    for _ in range(2):
        assert main(["sweep", str(write_sweep())]) == 2
        assert "differ in versions" in capsys.readouterr().err
    assert second.folder.is_dir() and not (tmp_path / "sweep" / "blocks").exists()


def test_a_folder_of_somebody_else_is_left_alone(write_sweep, tmp_path, capsys):
    """Notes, a run, or a sweep.yaml that was written by hand and says something else."""
    theirs = tmp_path / "sweep"
    theirs.mkdir()
    for name, text in (("report.md", "mine"), ("sweep.yaml", "# mine\nrecipe: {}\nmethods: {a: {}}\nseeds: [1]\n")):
        (theirs / name).write_text(text)
        assert main(["sweep", str(write_sweep())]) == 2
        assert "name another folder" in capsys.readouterr().err.replace("\n", " ")
        assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [(name, text)]
        (theirs / name).unlink()


def test_a_sweep_in_the_folder_of_its_own_file_leaves_it_as_it_is(write_sweep, tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    text = "# mine\n" + write_sweep().read_text()
    (tmp_path / "sweep" / "sweep.yaml").write_text(text)
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    for output in (tmp_path / "sweep", f"{tmp_path}/./sweep/"):
        run_sweep(load_sweep(tmp_path / "sweep" / "sweep.yaml", overrides=[f"output={output}"]))
        assert (tmp_path / "sweep" / "sweep.yaml").read_text() == text
    (tmp_path / "sweep" / "failed.json").write_text("[1]")  # damaged: only the causes are not known
    run_sweep(load_sweep(tmp_path / "sweep" / "sweep.yaml"))


def test_what_failed_is_forgotten_once_it_is_finished(write_sweep, fill_cells, monkeypatch):
    """Also if another machine's block brought it; a cell that is not finished keeps its cause."""
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    sweep = load_sweep(write_sweep())
    first, second = plan_cells(sweep)
    fill_cells(sweep, [first])
    names = [cell.folder.relative_to(sweep.folder).as_posix() for cell in (first, second)]
    (sweep.folder / "failed.json").write_text(json.dumps(dict.fromkeys([*names, "gone/seed-1"], "no memory")))
    report_on(sweep)
    assert json.loads((sweep.folder / "failed.json").read_text()) == {names[1]: "no memory"}
    fill_cells(sweep, [second])
    assert run_sweep(sweep).failed == {} and not (sweep.folder / "failed.json").exists()


def test_a_stopped_sweep_says_how_it_is_resumed(write_sweep, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", stop)
    assert main(["sweep", str(write_sweep())]) == 130
    said = capsys.readouterr().err
    assert "Nothing is stored yet. Run the same command again to start:\n  innerdistill sweep " in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"seeds": [1], "compare": []},
            "seeds: one seed shows no spread between runs; a test needs 5 seeds, a claim 8.",
        ),
        ({"seeds": [1, 2, 3, 4]}, "seeds: 4 seeds show a spread, but a test needs 5 seeds, a claim 8."),
        ({"seeds": [1, 2, 3, 4], "compare": []}, None),
        ({"seeds": [1, 2, 3, 4, 5]}, None),
        ({"seeds": [1], "teachers": [1, 2]}, None),
    ],
)
def test_too_few_seeds_are_announced_before_anything_runs(write_sweep, base_folder, monkeypatch, caplog, changes, said):
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda *_, **__: None)
    with caplog.at_level("INFO", logger="innerdistill"):
        run_sweep(load_sweep(write_sweep(teacher={"base": str(base_folder)}, **changes)))
    assert [text for text in caplog.messages if text.startswith("seeds: ")] == ([said] if said else [])


def test_a_sweep_in_the_cache_of_teachers_is_refused(write_sweep, tmp_path, capsys):
    assert main(["sweep", str(write_sweep(output=str(tmp_path / "teachers" / "cola-0123456789ab")))]) == 2
    assert "the cache of teachers (teacher.folder)" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "teachers").exists()


def test_one_sweep_at_a_time_in_a_folder(write_sweep, tmp_path, capsys):
    with lock_folder(tmp_path / "sweep"):
        assert main(["sweep", str(write_sweep())]) == 2
    assert "another process is at work in" in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "sweep.yaml").exists()


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


@pytest.mark.slow
def test_a_useless_teacher_stops_the_sweep_once(write_sweep, fast_start, swapped_teacher, capsys):
    """The teacher's label order is swapped, so every cell would stop at it."""
    assert main(["sweep", str(write_sweep()), f"recipe.teacher.path={swapped_teacher}"]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert printed.count("the teacher's label order seems to be swapped") == 1
    assert "set teacher.allow_weak=true. In a sweep, this key belongs under `recipe:`." in printed
