"""`results/`: what the documents report has runs behind it, whose scores are those of their predictions."""

import re
from pathlib import Path

import pyarrow.csv
import pytest

from innerdistill.evaluation.scoring import score_outputs
from innerdistill.report.run_folder import get_scoring, read_predictions, read_run
from innerdistill.sweep.gather import group_runs
from innerdistill.sweep.grid import load_sweep, plan_cells

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "results").rglob("sweep.yaml"))


@pytest.fixture(params=SWEEPS, ids=lambda path: str(path.parent.relative_to(ROOT / "results")))
def kept(request):
    """The folder of a sweep and its cells that have run."""
    sweep = load_sweep(request.param, overrides=[f"output={request.param.parent}"])
    return request.param.parent, [cell for cell in plan_cells(sweep) if cell.is_finished()]


def test_every_kept_run_is_a_cell_and_scores_what_its_predictions_say(kept):
    folder, cells = kept
    assert {cell.folder for cell in cells} == {path.parent for path in folder.rglob("run.json")}
    for cell in cells:
        run, columns = read_run(cell.folder), read_predictions(cell.folder / "predictions.parquet", "validation")
        scoring = get_scoring(run)
        for model in ("teacher", "student"):
            found = score_outputs(columns["label"], columns[model], scoring=scoring)[scoring.metric]
            assert found == pytest.approx(run["scores"]["validation"][model][scoring.metric], abs=1e-9)


def test_the_table_of_cells_and_the_report_are_of_these_runs(kept):
    folder, cells = kept
    table = pyarrow.csv.read_csv(folder / "cells.csv")
    metric = read_run(cells[0].folder)["data"]["metric"]
    scores = [read_run(cell.folder)["scores"]["validation"]["student"][metric] for cell in cells]
    assert table[metric].to_pylist() == pytest.approx(scores)
    report = (folder / "report.md").read_text()
    for group in group_runs(cells):
        for method in group.methods.values():
            assert str(method.score(metric)) in report, (group.name, method.name)


def test_the_documents_name_every_sweep():
    text = "".join((ROOT / "docs" / "explanation" / name).read_text() for name in ("results.md", "speed.md"))
    for path in SWEEPS:
        assert re.search(rf"\bresults/{re.escape(str(path.parent.relative_to(ROOT / 'results')))}\b", text), path
