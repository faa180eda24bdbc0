"""The speed benchmark's contestants still work on what the project is today, in small."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from contestants import JOBS, STEPS
from workload import Setting, Workload

HAS_TEXTBREWER = importlib.util.find_spec("textbrewer") is not None


@pytest.fixture
def setting(base_folder):
    return Setting(Workload("12", 8, 4), model=str(base_folder), dropout=True, device="cpu")


@pytest.mark.parametrize("contestant", [name for name in STEPS if HAS_TEXTBREWER or "TextBrewer" not in name])
def test_step(contestant, setting):
    step = STEPS[contestant](setting)
    step()
    step()


@pytest.mark.parametrize("contestant", [name for name in JOBS if HAS_TEXTBREWER or "TextBrewer" not in name])
def test_job(contestant, setting):
    JOBS[contestant](setting)()
