"""The models of a sweep are timed once, in turns, if they are on disk."""

import shutil

import pytest

from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.latency import list_sizes, measure_sweep, read_latency
from innerdistill.sweep.sweep import report_on, run_sweep


@pytest.fixture
def runs(same, write_sweep, fill_cells):
    """The sweep and the runs of its two cells, the first of which has its model."""
    sweep = load_sweep(write_sweep())
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    shutil.copytree(same / "model", cells[0].folder / "model")
    return sweep, [FolderRun(cell.folder) for cell in cells]


def test_teacher_and_one_student_of_each_size_are_timed_in_one_measurement(runs):
    sweep, finished = runs
    measure_sweep(sweep.folder, finished)
    latency = read_latency(sweep.folder)
    assert [size.model for size in latency.sizes] == ["teacher", "student"]
    assert latency.sizes[1].folder == str(finished[0].folder / "model")
    assert list(latency.get_latencies()) == list_sizes(run.record for run in finished)
    assert all(0 < size.latency_ms.p20 <= size.latency_ms.p50 for size in latency.sizes)
    report_on(sweep)
    page = (sweep.folder / "report.html").read_text()
    assert f"one text of {latency.length} tokens" in page and f"<td>{latency.sizes[1].latency_ms.p50:.1f}</td>" in page


def test_what_was_timed_is_not_timed_again(runs):
    sweep, finished = runs
    measure_sweep(sweep.folder, finished)
    before = (sweep.folder / "latency.json").stat().st_mtime_ns
    measure_sweep(sweep.folder, finished)
    shutil.rmtree(finished[0].folder / "model")
    measure_sweep(sweep.folder, finished)
    assert (sweep.folder / "latency.json").stat().st_mtime_ns == before


def test_a_sweep_that_keeps_no_models_keeps_one_of_each_size_until_it_is_timed(runs, monkeypatch):
    sweep, finished = runs
    sweep = sweep.model_copy(update={"keep_models": False})
    models = [run.folder / "model" for run in finished]
    shutil.copytree(models[0], models[1])
    seen = []

    def run_none(*_, **__):
        seen.append([model.is_dir() for model in models])

    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", run_none)
    run_sweep(sweep)
    assert seen == [[True, False]]
    assert read_latency(sweep.folder) is not None and not any(model.is_dir() for model in models)


def test_without_models_no_latency_is_shown(runs):
    sweep, finished = runs
    measure_sweep(sweep.folder, finished[1:])  # the teacher is there, but no student
    assert not (sweep.folder / "latency.json").exists()
    report_on(sweep)
    for name in ("report.html", "report.md"):
        assert "milliseconds" not in (sweep.folder / name).read_text()


def test_a_damaged_model_or_measurement_costs_the_latency_only(runs, caplog):
    sweep, finished = runs
    (finished[0].folder / "model" / "model.safetensors").write_bytes(b"damaged")
    measure_sweep(sweep.folder, finished)
    assert "Latency was not measured" in caplog.text and read_latency(sweep.folder) is None
    (sweep.folder / "latency.json").write_text('{"length": "many"}')
    assert read_latency(sweep.folder) is None
    report_on(sweep)
