"""The outcome of a sweep: cells.csv with one row per run, report.md with means, deviations and comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from innerdistill.results.card import cell as escaped
from innerdistill.results.card import metric_names
from innerdistill.results.run_folder import read_predictions, read_run, whole_file
from innerdistill.results.statistics import Comparison, compare_methods, two_level_interval

SPLIT = "validation"


@dataclass(frozen=True)
class Cell:
    """A place in the grid.

    Attributes:
        task: name of the data set; empty if there is only one.
        method: name of the method.
        setting: values of the swept keys.
        seed: of the student.
        folder: of the run.
    """

    task: str
    method: str
    setting: Mapping[str, Any]
    seed: int
    folder: Path

    @property
    def group(self) -> str:
        """What it is compared within: task and setting."""
        return ", ".join([*filter(None, [self.task]), *(f"{key}={value}" for key, value in self.setting.items())])


@dataclass
class Group:
    """Cells of one task and setting, which differ in method and seed only.

    Attributes:
        name: of the group.
        runs: run.json by method and seed.
        folders: of the runs, by method and seed.
    """

    name: str
    runs: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    folders: dict[tuple[str, int], Path] = field(default_factory=dict)


def write_sweep_report(
    folder: Path,
    cells: Sequence[Cell],
    *,
    compare: Sequence[tuple[str, str]] = (),
    margin: float | None = None,
    failed: Mapping[Path, str] | None = None,
) -> Path:
    """Write cells.csv and report.md from the runs of a sweep.

    Args:
        folder: of the sweep.
        cells: that have run.
        compare: declared comparisons, corrected together within each task and setting.
        margin: for equivalence.
        failed: cause by folder of the cells that failed.

    Returns:
        Path of report.md.

    Raises:
        ValueError: cells of one group that saw other data, another teacher or other versions.
    """
    groups: dict[str, Group] = {}
    for cell in cells:
        group = groups.setdefault(cell.group, Group(cell.group))
        group.runs[cell.method][cell.seed] = read_run(cell.folder)
        group.folders[cell.method, cell.seed] = cell.folder
    lines = ["# Sweep", ""]
    for group in groups.values():
        _check_alike(group)
        lines += _section(group, compare, margin)
    if failed:
        lines += ["## Failed", "", *(f"- {path}: {escaped(cause)}" for path, cause in failed.items()), ""]
    if cells:
        with whole_file(folder / "cells.csv") as path:
            pa.csv.write_csv(pa.Table.from_pylist([_row(cell, groups) for cell in cells]), path)
    with whole_file(folder / "report.md") as path:
        path.write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.md"


def _check_alike(group: Group) -> None:
    """Numbers of different data, teachers or versions are not put into one table."""
    first: tuple[Path, dict[str, Any]] | None = None
    for (method, seed), folder in group.folders.items():
        run = group.runs[method][seed]
        facts = {"data": run["data"]["fingerprint"], "teacher": (run["teacher"] or {}).get("fingerprint"),
                 "versions": run["versions"]}  # fmt: skip
        if first is None:
            first = folder, facts
        for name, value in facts.items():
            if value != first[1][name]:
                raise ValueError(
                    f"{folder} and {first[0]} were made with different {name}; delete the one that is out of date and "
                    "run the sweep again."
                )


def _section(group: Group, compare: Sequence[tuple[str, str]], margin: float | None) -> list[str]:
    any_run = next(iter(next(iter(group.runs.values())).values()))
    metric, teacher = any_run["data"]["metric"], any_run["scores"][SPLIT]["teacher"]
    names = metric_names(teacher)
    found = _compare(group, compare, margin)
    lines = [f"## {escaped(group.name)}", ""] if group.name else []
    lines += [*(f"- {comparison.sentence(metric)}" for comparison in found), ""] if found else []
    lines += [
        f"| {teacher['rows']} rows | layers | seeds | {' | '.join(names)} | as teacher | steps | CPU seconds |",
        "|---|" + "---|" * (len(names) + 5),
        f"| teacher | {any_run['teacher']['layers']} | | "
        + " | ".join(f"{teacher[name]:.4f}" + (f" ± {teacher['standard_error']:.4f} (rows)" if name == metric else "")
                     for name in names)
        + " | | | |",
    ]  # fmt: skip
    for method, runs in group.runs.items():
        lines.append(_method_row(method, list(runs.values()), names))
    lines.append(f"| best constant answer | | | {teacher['constant']:.4f} |" + " |" * (len(names) + 2))
    return [*lines, "", "± of a method is the standard deviation over seeds.", ""]


def _method_row(method: str, runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    def spread(values: Sequence[float]) -> str:
        deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        return f"{np.mean(values):.4f}{deviation}"

    scores = [run["scores"][SPLIT]["student"] for run in runs]
    collapsed = sum(bool(score.get("collapsed")) for score in scores)
    name = escaped(method) + (f" ({collapsed} of {len(runs)} collapsed)" if collapsed else "")
    agreed = [run["agreement"][SPLIT] for run in runs]
    same = spread([found.get("equal_predictions", found.get("pearson")) for found in agreed])
    steps = np.mean([sum(stage["steps"] for stage in run["stages"]) for run in runs])
    seconds = np.mean([sum(stage["cpu_seconds"] for stage in run["stages"]) for run in runs])
    cells = " | ".join(spread([score[key] for score in scores]) for key in names)
    layers = runs[0]["student"]["layers"]
    return f"| {name} | {layers} | {len(runs)} | {cells} | {same} | {steps:.0f} | {seconds:.0f} |"


def _compare(group: Group, compare: Sequence[tuple[str, str]], margin: float | None) -> list[Comparison]:
    """The declared comparisons within one task and setting, over the seeds that all compared methods have."""
    pairs = [pair for pair in compare if all(group.runs.get(method) for method in pair)]
    if not pairs:
        return []
    seeds = sorted(set.intersection(*(set(group.runs[method]) for pair in pairs for method in pair)))
    if not seeds:
        return []
    data = group.runs[pairs[0][0]][seeds[0]]["data"]
    metric, names = data["metric"], data["names"]
    scores = {
        method: [group.runs[method][seed]["scores"][SPLIT]["student"][metric] for seed in seeds]
        for pair in pairs
        for method in pair
    }
    logits: dict[str, Any] = {}
    labels = None
    for method in scores:
        read = [read_predictions(group.folders[method, seed] / "predictions.parquet", SPLIT) for seed in seeds]
        labels, logits[method] = read[0]["label"], np.stack([columns["student"] for columns in read])
    assert labels is not None
    intervals = {
        (method, against): two_level_interval(labels, logits[method], logits[against], metric=metric, names=names)
        for method, against in pairs
    }
    return compare_methods(scores, pairs, intervals=intervals, margin=margin)


def _row(cell: Cell, groups: Mapping[str, Group]) -> dict[str, Any]:
    run = groups[cell.group].runs[cell.method][cell.seed]
    scores, agreed = run["scores"][SPLIT]["student"], run["agreement"][SPLIT]
    row: dict[str, Any] = {"task": cell.task, "method": cell.method, **cell.setting, "seed": cell.seed}
    row |= {name: scores[name] for name in metric_names(scores)}
    row |= {"as_teacher": agreed.get("equal_predictions", agreed.get("pearson")), "layers": run["student"]["layers"]}
    row |= {"parameters": run["speed"]["student"]["parameters"]}
    row |= {key: sum(stage[key] for stage in run["stages"]) for key in ("steps", "cpu_seconds")}
    return {**row, "folder": str(cell.folder)}
