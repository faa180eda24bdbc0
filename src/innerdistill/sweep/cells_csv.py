"""cells.csv: a row for every run of a sweep, for people who compute further with it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from innerdistill.report.formatting import compute_share, list_metrics
from innerdistill.report.record import Scores
from innerdistill.report.run_folder import get_problem_type
from innerdistill.support.files import open_whole_file
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import SPLIT

CELLS = "cells.csv"


def write_cells(folder: Path, cells: Sequence[Cell], groups: Sequence[Group]) -> None:
    """Write cells.csv; without runs there is none.

    Args:
        folder: folder of the sweep.
        cells: finished cells, in the order of the rows.
        groups: their runs.
    """
    if not cells:
        (folder / CELLS).unlink(missing_ok=True)
        return
    by_name = {group.name: group for group in groups}
    rows = [_row(cell, by_name[cell.group].methods[cell.method].runs[cell.seed]) for cell in cells]
    names = dict.fromkeys(name for row in rows for name in row)
    with open_whole_file(folder / CELLS) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(cell: Cell, run: Mapping[str, Any]) -> dict[str, Any]:
    teacher, student = (run["scores"][SPLIT][name] for name in ("teacher", "student"))
    agreed = run["agreement"][SPLIT]
    metric = student["metric"]
    row: dict[str, Any] = {"task": cell.task, "method": cell.method}
    row |= {key: _plain(value) for key, value in cell.setting.items()}
    row["seed"] = cell.seed
    row |= {name: student[name] for name in list_metrics(Scores.model_validate(student))}
    row["teacher"] = teacher[metric]
    row["share_of_teacher"] = compute_share(student[metric], teacher[metric])
    row["selection"] = run["scores"]["selection"]["student"][metric]
    row["agreement"] = agreed[get_problem_type(run).predictions.agreement]
    row["layers"] = run["student"]["layers"]
    row["parameters"] = run["speed"]["student"]["parameters"]
    row |= {f"{name}_milliseconds": run["speed"][name]["latency_ms"]["p50"] for name in ("teacher", "student")}
    row |= {key: sum(stage[key] for stage in run["stages"]) for key in ("steps", "cpu_seconds")}
    row |= {name: agreed[name] for name in agreed if name.startswith("teacher_")}  # examples by right and wrong
    for layer, distances in run["distances"]["after"].items():
        row |= {f"{name}_{layer}": distances[name] for name in ("attention_kl", "cls_cosine")}
    row["revision"] = run["git_revision"]
    row["folder"] = str(cell.folder)
    return row


def _plain(value: Any) -> Any:
    """A value of the grid as a cell: true and false as in YAML; what is no number and no text becomes text."""
    return str(value).lower() if isinstance(value, bool) else value
