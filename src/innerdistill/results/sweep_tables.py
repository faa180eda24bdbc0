"""Tables of a sweep, made once: report.html, report.md and table.tex draw the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from innerdistill.results.card import kept
from innerdistill.results.sweep_results import SPLIT, Group, Method, Value


@dataclass(frozen=True)
class Table:
    """Words and numbers as they are shown.

    Attributes:
        title: what it says; empty under a heading that says it.
        header: of the columns, the first one of texts.
        rows: cells, in the order of the header.
        note: how to read it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables_over(groups: Sequence[Group]) -> list[Table]:
    """What a sweep shows over all its tasks and settings.

    Args:
        groups: of the sweep.

    Returns:
        Scores of all methods side by side and the sizes of all models, if there are several groups.
    """
    return [_overview(groups), _sizes(groups)] if len(groups) > 1 else []


def tables_of(group: Group, *, alone: bool) -> list[Table]:
    """What a sweep shows of one task and setting.

    Args:
        group: its runs.
        alone: whether it is the only one, so that `tables_over` shows nothing.

    Returns:
        Scores; sizes, if it is alone; distances, if any layers were mapped; rows by right and wrong, if there are
        classes.
    """
    agreed = all(method.agreement is not None for method in group.methods.values())
    tables = [_scores(group)]
    tables += [_sizes([group])] if alone else []
    tables += [_distances(group)] if group.pairs else []
    return [*tables, _agreement(group)] if agreed else tables


def _overview(groups: Sequence[Group]) -> Table:
    """Methods against tasks and settings; the longer of the two runs down."""
    methods = list(dict.fromkeys(name for group in groups for name in group.methods))
    seeds = [len(method.runs) for group in groups for method in group.methods.values()]
    ends = dict.fromkeys((min(seeds), max(seeds)))
    metrics = list(dict.fromkeys(group.metric for group in groups))
    columns = [
        (
            f"{metrics[0] if len(metrics) == 1 else 'primary metric'} on {SPLIT}",
            "teacher",
            *methods,
            "best constant answer",
        ),
        *(
            (
                group.name + (f", {group.metric}" if len(metrics) > 1 else ""),
                _of_teacher(group),
                *(_cell(group, name) for name in methods),
                _number(group.teacher["constant"]),
            )
            for group in groups
        ),
    ]
    header, *rows = columns if len(groups) > len(methods) + 2 else zip(*columns, strict=True)
    return Table(
        "All tasks and settings",
        header,
        tuple(rows),
        f"± of a method is the standard deviation over seeds ({' to '.join(map(str, ends))} of them); of the teacher, "
        "the standard error over rows.",
    )


def _cell(group: Group, name: str) -> str:
    return str(group.methods[name].score(group.metric)) if name in group.methods else "–"


def _sizes(groups: Sequence[Group]) -> Table:
    """Every size of a teacher or student once, with its latency."""
    found: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    files: dict[tuple[str, int, int], int | None] = {}
    for run in (run for group in groups for _, run in group.runs()):
        beside = run["speed"]["teacher"]["latency_ms"]["p50"]
        for name in ("teacher", "student"):
            model = (name, run[name]["layers"], run["speed"][name]["parameters"])
            latency = run["speed"][name]["latency_ms"]["p50"]
            found.setdefault(model, []).append((latency, latency / beside))
            files[model] = run["speed"][name]["file_bytes"]
    rows = []
    for (name, layers, parameters), measured in sorted(
        found.items(), key=lambda of: (-of[0][2], of[0][0] == "student")
    ):
        latency, share = np.median(measured, axis=0)
        stored = files[name, layers, parameters]
        megabytes = f"{stored / 1e6:.0f}" if stored else "–"
        rows.append((
            name, str(layers), f"{parameters / 1e6:.1f} M", megabytes, f"{latency:.1f}", f"{100 * share:.0f} %",
        ))  # fmt: skip
    return Table(
        "Sizes",
        ("model", "layers", "parameters", "megabytes", "milliseconds for one text", "share of the teacher's time"),
        tuple(rows),
        "Times are medians over the runs, measured in each beside the teacher, while other runs may have run.",
    )


def _scores(group: Group) -> Table:
    metric, *others = group.metrics
    chosen = all("student" in run["scores"].get("selection", {}) for _, run in group.runs())
    of_teacher = group.any_run["scores"]["selection"]["teacher"][metric] if chosen else None
    columns: dict[str, list[str]] = {
        f"{SPLIT}, {group.teacher['rows']} rows": ["teacher", *map(_named, group.methods.values())],
        metric: [_of_teacher(group)],
        "kept": [""],
        "on selection": [_number(of_teacher)],
        "as teacher": [""],
        **{name: [_number(group.teacher[name])] for name in others},
        "layers": [str(group.any_run["teacher"]["layers"])],
        "seeds": [""],
        "cosine at the end of stages": [""],
        "steps": [""],
        "CPU seconds": [""],
    }
    for method in group.methods.values():
        score = method.score(metric)
        columns[metric].append(str(score))
        columns["kept"].append(kept(score.mean, group.teacher[metric]))
        columns["on selection"].append(str(method.score(metric, "selection")) if chosen else "")
        columns["as teacher"].append(str(method.as_teacher))
        for name in others:
            columns[name].append(_number(method.score(name).mean))
        columns["layers"].append(str(method.first["student"]["layers"]))
        columns["seeds"].append(str(len(method.runs)))
        columns["cosine at the end of stages"].append(" ".join(map(_number, method.cosines)))
        columns["steps"].append(f"{method.total('steps'):.0f}")
        columns["CPU seconds"].append(f"{method.total('cpu_seconds'):.0f}")
    if not chosen:
        del columns["on selection"]
    constant = ["best constant answer", _number(group.teacher["constant"])]
    rows = [*zip(*columns.values(), strict=True), (*constant, *[""] * (len(columns) - len(constant)))]
    notes = [
        "± of a method is the standard deviation over seeds; of the teacher, the standard error over rows.",
        f"Kept is the share of the teacher's {metric}.",
    ]
    if chosen:
        notes.append("On selection, the rows held out of train, is the column to choose a method or a setting by.")
    if group.exploratory:
        notes.append(f"What sets {'; '.join(group.exploratory)} apart from others is exploratory: no comparison was")
        notes.append("declared.")
    return Table("Scores", tuple(name.replace("_", " ") for name in columns), tuple(rows), " ".join(notes))


def _named(method: Method) -> str:
    return method.name + (f" ({method.collapsed} of {len(method.runs)} collapsed)" if method.collapsed else "")


def _distances(group: Group) -> Table:
    kinds = {"KL": "attention_kl", "CLS": "cls_cosine"}

    def cells(method: Method) -> Iterable[str]:
        for kind in kinds.values():
            for pair in group.pairs:
                yield _number(method.distances[pair][kind], none="∞") if pair in method.distances else "–"

    return Table(
        "How far the students' insides are from the teacher's",
        ("after training", *(f"{name}, {k} ← {m}" for name in kinds for k, m in group.pairs)),
        tuple((method.name, *cells(method)) for method in group.methods.values()),
        f"KL of the attention distributions, nats per row; cosine distance of [CLS]. Mean over seeds, {SPLIT} rows. "
        "Student's layer ← teacher's; a dash: that method does not map them.",
    )


def _agreement(group: Group) -> Table:
    def cells(found: dict[str, float] | None) -> Iterable[str]:
        return (f"{rows:.1f}" for rows in (found or {}).values())

    return Table(
        "Right and wrong together",
        ("rows, mean over seeds", "both right", "only the teacher right", "only the student right", "both wrong"),
        tuple((method.name, *cells(method.agreement)) for method in group.methods.values()),
    )


def _of_teacher(group: Group, name: str | None = None) -> str:
    """A score of the teacher, the primary one with its standard error over rows."""
    scores: dict[str, Any] = group.teacher
    error = f" ± {_number(scores['standard_error'])}" if name in (None, group.metric) else ""
    return _number(scores[name or group.metric]) + error


def _number(value: float | None, *, none: str = "–") -> str:
    return none if value is None else str(Value((value,)))
