"""Cells run in processes of their own, each with a GPU of its own where there are enough."""

import io
import signal
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from innerdistill.recipe.recipe import Recipe
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.workers import CellProgress, Running, assign_devices


@pytest.mark.parametrize(
    ("given", "devices"), [("3,5", ["3", "5", "3"]), ("GPU-a", ["GPU-a"] * 3), ("", ["", "", ""]), (None, [None] * 3)]
)
def test_every_worker_has_a_gpu_of_its_own(monkeypatch, given, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    elif torch.cuda.is_available():
        pytest.skip("this machine has GPUs, so a worker has one")
    assert assign_devices(3) == devices


def test_no_run_begins_once_a_sweep_is_stopped():
    running = Running()
    process = running.start([sys.executable, "-c", "import time; time.sleep(60)"])
    running.stop()
    assert process.wait(timeout=10) == -signal.SIGTERM
    assert running.start([sys.executable, "-c", ""]) is None


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_cells_that_run_are_named_from_the_start(is_terminal):
    cells = [
        Cell("", "SID", {}, 1, Recipe(), Path("runs/first/SID/seed-1")),
        Cell("cola", "PID", {"temperature": 2.0}, 2, Recipe(), Path("runs/first/PID/seed-2")),
    ]
    console = Console(file=io.StringIO(), width=80, force_terminal=is_terminal, color_system=None)

    def read_new():
        shown = console.file.getvalue()
        console.file.seek(0)
        console.file.truncate()
        assert max(map(len, shown.splitlines()), default=0) <= 80 or is_terminal  # control codes are no columns
        return shown

    with CellProgress(3, 1, console=console) as progress:
        for cell in cells:
            progress.start_cell(cell)
        progress.refresh()
        shown = read_new()
        for name, run in (("SID, seed 1", "SID/seed-1"), ("cola, temperature=2.0, PID, seed 2", "PID/seed-2")):
            log = f"runs/first/{run}.log"
            assert (f"running: {name} ({log})" if is_terminal else f"{name} started: {log}\n") in shown
        progress.end_cell(cells[0])
        progress.count_cell(cells[0], seconds_left=61)
        progress.refresh()
        shown = read_new()
        if is_terminal:
            assert "2/3" in shown and "0:01:01 left" in shown and "PID, seed 2" in shown.rpartition("cells")[2]
            assert "SID, seed 1" not in shown.rpartition("cells")[2]
        else:
            assert shown == "2 of 3 cells, 0:01:01 left: runs/first/SID/seed-1\n"
