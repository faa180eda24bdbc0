"""cells.csv: a row for every run of a sweep, for people who compute further with it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from innerdistill.report.formatting import compute_share, list_metrics
from innerdistill.report.record import RunRecord
from innerdistill.support.files import open_whole_file
from innerdistill.sweep.grid import Cell
from innerdistill.sweep.methods import COUNTS, SPLIT, sum_cpu_seconds
from innerdistill.sweep.store import CellRun

CELLS = "cells.csv"


def write_cells(folder: Path, finished: Sequence[CellRun]) -> None:
    """Write cells.csv; without runs there is none.

    Args:
        folder: folder of the sweep.
        finished: finished cells, in the order of the rows.
    """
    if not finished:
        (folder / CELLS).unlink(missing_ok=True)
        return
    rows = [_describe(entry) for entry in finished]
    names = dict.fromkeys(name for row in rows for name in row)
    with open_whole_file(folder / CELLS) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _describe(entry: CellRun) -> dict[str, Any]:
    row = _describe_cell(entry.cell) | _describe_run(entry.run.record)
    row["folder"] = str(entry.cell.folder)
    return row


def _describe_cell(cell: Cell) -> dict[str, Any]:
    """Its place in the grid; true and false as in YAML."""
    row: dict[str, Any] = {"task": cell.task, "method": cell.method}
    for key, value in cell.setting.items():
        row[key] = str(value).lower() if isinstance(value, bool) else value
    row["seed"] = cell.seed
    return row


def _describe_run(record: RunRecord) -> dict[str, Any]:
    scores, speed = record.scores[SPLIT], record.speed
    student, teacher = scores.student, scores.teacher
    row: dict[str, Any] = {name: student.values[name] for name in list_metrics(student)}
    if teacher is not None:  # its outputs may be columns that validation lacks
        row["teacher"] = teacher.primary
        row["share_of_teacher"] = compute_share(student.primary, teacher)
    row["selection"] = record.scores["selection"].student.primary
    if SPLIT in record.agreement:
        row["agreement"] = record.get_agreement(SPLIT)
    row["layers"] = record.student.layers
    row["parameters"] = speed.student.parameters
    if speed.teacher is not None:
        row["teacher_milliseconds"] = speed.teacher.latency_ms.p50
    row["student_milliseconds"] = speed.student.latency_ms.p50
    row["steps"] = record.steps
    row["cpu_seconds"] = sum_cpu_seconds(record)
    row |= {name: number for name, number in record.agreement.get(SPLIT, {}).items() if name in COUNTS}
    if record.distances is not None:
        for layer, distance in record.distances.after.items():
            row[f"attention_kl_{layer}"] = distance.attention_kl
            row[f"cls_cosine_{layer}"] = distance.cls_cosine
            if distance.token_cosine is not None:
                row[f"token_cosine_{layer}"] = distance.token_cosine
    row["revision"] = record.git_revision
    return row
