"""`results/`: what the documents report has runs behind it, whose scores are those of their predictions."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from innerdistill.evaluation.scoring import score_outputs
from innerdistill.sweep.gather import group_runs
from innerdistill.sweep.grid import read_sweep
from innerdistill.sweep.store import RunStore
from innerdistill.sweep.tuning import plan_sweep_cells

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "results").rglob("sweep.yaml"))
RUNS = 702


@pytest.fixture(params=SWEEPS, ids=lambda path: str(path.parent.relative_to(ROOT / "results")))
def committed(request):
    """The folder of a sweep and its finished cells, tuning runs among them."""
    sweep = read_sweep(request.param.parent)
    store = RunStore(sweep)
    planned = plan_sweep_cells(sweep, store)
    return request.param.parent, [*planned.tuned, *store.select_finished(planned.cells)]


def test_every_run_is_a_cell_and_scores_what_its_predictions_say(committed):
    folder, finished = committed
    lines = sum(len(path.read_text().splitlines()) for path in folder.glob("blocks/*.jsonl"))
    assert len(finished) == lines > 0
    for entry in finished:
        record, columns = entry.run.record, entry.run.read_predictions("validation")
        for model in ("teacher", "student"):
            scores = score_outputs(columns["label"], columns[model], scoring=record.data.scoring)
            expected = getattr(record.scores["validation"], model).primary
            assert scores[record.data.metric] == pytest.approx(expected, abs=1e-9)


def test_the_table_of_cells_and_the_report_are_of_these_runs(committed):
    folder, finished = committed
    report = (folder / "report.md").read_text()
    by_value = defaultdict(list)  # scores of tuning runs by method and value
    for entry in finished:
        if entry.cell.is_tuning:
            value = entry.run.record.recipe.trainer["learning_rate"]
            by_value[entry.cell.method, value].append(entry.run.record.scores["selection"].student.primary)
    for (method, _), scores in by_value.items():
        table = report.partition("### Tuning of")[2].splitlines()
        row = next(line for line in table if line.startswith(f"| {method} | "))
        assert f"| {np.mean(scores):.4f} ±" in row
    finished = [entry for entry in finished if not entry.cell.is_tuning]
    if not finished:  # nothing but the tuning has begun
        return
    with (folder / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    metric = finished[0].run.record.data.metric
    scores = [entry.run.record.scores["validation"].student.primary for entry in finished]
    assert [float(row[metric]) for row in rows] == scores
    for group in group_runs(finished):
        for method in group.methods.values():
            assert str(method.score(metric)) in report, (group.name, method.name)


def test_results_are_few_files():
    files = [path for path in (ROOT / "results").rglob("*") if path.is_file() and path.parent.name == "blocks"]
    lines = sum(len(path.read_text().splitlines()) for path in files if path.suffix == ".jsonl")
    assert lines == RUNS and len(files) < 100


def test_the_documents_name_every_sweep():
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(path.read_text() for path in documents)
    for path in SWEEPS:
        assert re.search(rf"\bresults/{re.escape(str(path.parent.relative_to(ROOT / 'results')))}\b", text), path
