"""What a run says of its time: an estimate by its first steps, and a correction where that was wrong."""

from types import SimpleNamespace

import pytest

from innerdistill.run.train import TimeEstimate
from innerdistill.training import callbacks
from innerdistill.training.callbacks import StepTimer


@pytest.fixture
def estimate():
    """Two stages of 100 steps; a step of the second one costs twice as much."""
    return TimeEstimate("Training", [(100, 1.0), (100, 2.0)])


@pytest.fixture
def said(caplog):
    caplog.set_level("INFO", logger="innerdistill")
    return lambda: caplog.messages


def test_a_wrong_estimate_is_corrected_once(estimate, said):
    estimate(1, 7, 6.0)  # 300 units of 6 s
    assert said() == ["Training takes about 30 minutes, judged by its first steps."]
    estimate(1, 40, 5.0)
    assert len(said()) == 1
    estimate(2, 50, 4.0)  # 2 s a unit, 100 units left
    assert said()[1:] == ["The rest of the training takes about 3 minutes."]
    estimate(2, 60, 40.0)
    assert len(said()) == 2


def test_a_later_stage_that_costs_what_was_expected_is_no_error(estimate, said):
    estimate(1, 7, 6.0)
    estimate(2, 50, 12.0)
    assert len(said()) == 1


def test_seconds_are_not_corrected(estimate, said):
    estimate(1, 7, 0.1)
    estimate(1, 27, 0.2)
    estimate(2, 99, 0.9)
    assert len(said()) == 1


def test_steps_are_timed_again_and_again(monkeypatch):
    """The first steps of a measurement are left out, and so is what happens between two measurements."""
    clock, measured = iter([0, 9, 18, *range(19, 24), 100, 109, 118, *range(120, 130, 2)]), []
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(callbacks, "ENOUGH_SECONDS", 4.0)
    timer = StepTimer(lambda step, seconds: measured.append((step, seconds)))
    for step in range(1, 17):
        timer.on_step_end(None, SimpleNamespace(global_step=step), None)
    assert measured == [(8, 1.0), (16, 2.0)]
