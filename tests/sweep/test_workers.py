"""Cells run in processes of their own, each with a GPU of its own where there are enough."""

import signal
import sys

import pytest
import torch

from innerdistill.sweep.workers import Running, assign_devices


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
