"""Figures of a sweep as SVG texts: comparisons, seeds side by side, score per epoch, score against size or rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from innerdistill.report.figures import INK, STUDENT, STYLE, TEACHER, WIDTH, list_scores_by_step, render_svg
from innerdistill.report.record import TrainedStage
from innerdistill.sweep.groups import Group, places
from innerdistill.sweep.methods import Method

COLOURS = ("#7b8794", "#c1549c", "#7a9e2f", "#b5523b", "#4f5d95", "#a98600", "#5f8f8f", "#8d6a4f", "#9a6fb0")
OF_SCHEDULE = {  # the same in every figure; what else there is takes COLOURS in turn
    "finetune": "#ca6702", "soft_labels": "#d4a017", "all_layers": "#3a86ff", "pid": "#e0457b", "sid": STUDENT,
}  # fmt: skip
LETTERS = 48  # of a name that fit into the width of a figure
LINES = ("-", "--", "-.")  # the teacher's is dotted


def differences(groups: Sequence[Group]) -> str:
    """Every declared comparison: a point for each seed or teacher, the mean as a stroke, its interval as a bar.

    Args:
        groups: of a sweep.

    Returns:
        SVG; empty without comparisons.
    """
    rows = [(place, one) for place in places(groups) for one in place.comparisons if place.is_above_chance]
    if not rows:
        return ""
    metrics = list(dict.fromkeys(place.metric for place, _ in rows))
    units = " or ".join(dict.fromkeys(one.over.removesuffix("s") for _, one in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, alpha=0.45, linewidth=1)
        for row, (_, one) in enumerate(rows):
            colour = {"better": STUDENT, "worse": OF_SCHEDULE["finetune"]}.get(one.verdict, COLOURS[0])
            if one.interval:
                axes.plot(one.interval, [row, row], color=colour, alpha=0.35, linewidth=7, solid_capstyle="butt")
            axes.plot(one.differences, [row] * one.units, "o", color=colour, alpha=0.6, markersize=5)
            axes.plot([one.difference], [row], "|", color=colour, markersize=15, markeredgewidth=2.5)
        names = [f"{one.method} − {one.against}" + (f", {place.name}" if place.name else "") for place, one in rows]
        _rows(figure, axes, names)
        axes.set_xlabel(
            f"difference of {', '.join(metrics)} on validation: a point per {units},\nmean and 95 % interval"
        )
        return render_svg(figure, "Differences of the declared comparisons with their intervals")


def seeds_side_by_side(group: Group) -> str:
    """Every seed of every method as a point, means and teacher as lines; the best constant answer where it is near.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    methods, colours = list(group.methods.values()), _lines(group.methods)
    teacher = group.teacher
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), layout="constrained")
        axes = figure.subplots()
        axes.axvline(teacher[group.metric], color=TEACHER, linestyle=":", label="teacher")
        for row, method in enumerate(methods):
            values, colour = method.score(group.metric), colours[method.name]["color"]
            axes.plot(values.values, [row] * len(values.values), "o", color=colour, alpha=0.55, markersize=6)
            axes.plot([values.mean], [row], "|", color=colour, markersize=15, markeredgewidth=2.5)
        if teacher["constant"] > axes.get_xlim()[0]:  # else it would press the points together
            axes.axvline(teacher["constant"], color=INK, alpha=0.45, linestyle="--", label="best constant answer")
        _rows(figure, axes, [method.name for method in methods])
        axes.set_xlabel(f"{group.metric} on validation: a point per seed, the stroke is the mean")
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return render_svg(figure, f"{group.metric} on validation of every seed of every method")


def score_per_epoch(group: Group) -> str:
    """Score on the selection split over the steps of the run, the mean over seeds; a ring where a stage was completed.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    lines = _lines(group.methods)
    with matplotlib.rc_context(STYLE):
        figure, axes = _with_legend_below(len(lines) + 1)
        for method in group.methods.values():
            curve = mean_curve(method, group.metric)
            if not curve:
                continue
            line = lines[method.name]
            axes.plot(list(curve), list(curve.values()), label=method.name, marker=".", markersize=5, **line)
            ends = np.cumsum([stage["steps"] for stage in method.first["stages"]][:-1]).tolist()
            rings = [(step, mean) for step, mean in curve.items() if step in ends]
            if rings:
                axes.plot(*zip(*rings, strict=True), "o", color=line["color"], markersize=9, fillstyle="none")
        selection = group.any_run["scores"].get("selection", {}).get("teacher")
        if selection is not None:
            axes.axhline(selection[group.metric], color=TEACHER, linestyle=":", label="teacher")
        axes.set_xlabel("optimiser steps of all stages")
        axes.set_ylabel(f"{group.metric} on selection")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        return render_svg(figure, f"{group.metric} on selection over the optimiser steps, by method")


def mean_curve(method: Method, metric: str) -> dict[int, float]:
    """Score on selection by the steps of the run until then, the mean over seeds.

    Args:
        method: its runs.
        metric: of the score.

    Returns:
        One entry per step at which every seed was scored.
    """
    stages = [[TrainedStage.model_validate(stage) for stage in run["stages"]] for run in method.runs.values()]
    curves = [list_scores_by_step(of_run, metric) for of_run in stages]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: float(np.mean([curve[step] for curve in curves])) for step in shared}


def score_against(groups: Sequence[Group], key: str) -> str:
    """Score of every method over the values of one swept key, the mean with its deviation over seeds.

    Args:
        groups: of one task, which differ in that key.
        key: dotted; for `student.num_layers` the axis shows the parameters outside the embeddings, for
            `data.train_rows` the rows that were trained on.

    Returns:
        SVG.
    """
    metric = groups[0].metric
    with matplotlib.rc_context(STYLE):
        lines = _lines({name: method for group in reversed(groups) for name, method in group.methods.items()})
        figure, axes = _with_legend_below(len(lines) + 1)
        for name, line in lines.items():
            points = [(_position(group, key, name), group.methods[name]) for group in groups if name in group.methods]
            points.sort(key=lambda point: point[0])
            values = [method.score(metric) for _, method in points]
            axes.errorbar(
                [x for x, _ in points], [value.mean for value in values],
                yerr=[value.deviation or 0 for value in values],
                label=name, marker="o", markersize=5, capsize=3, **line,
            )  # fmt: skip
        first = next(iter(groups[0].methods))
        having = [group for group in groups if first in group.methods]
        teachers = sorted((_position(group, key, first), group.teacher[metric]) for group in having)
        axes.plot(*zip(*teachers, strict=True), color=TEACHER, linestyle=":", label="teacher")
        if key == "data.train_rows":
            axes.set_xscale("log")
        ticks = sorted({_position(group, key, next(iter(group.methods))) for group in groups})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(axis_name(key))
        axes.set_ylabel(f"{metric} on validation")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        return render_svg(figure, f"{metric} on validation against {axis_name(key)}, by method")


def axis_name(key: str) -> str:
    """What a swept key is called on an axis.

    Args:
        key: dotted.

    Returns:
        Words.
    """
    known = {"student.num_layers": "parameters outside the embeddings, millions", "data.train_rows": "training rows"}
    return known.get(key, key)


def _position(group: Group, key: str, method: str) -> float:
    run = group.methods[method].first
    if key == "student.num_layers":
        return round(float(run["speed"]["student"]["parameters_without_embeddings"]) / 1e6, 2)
    if key == "data.train_rows":  # null means all of them; selection is not trained on
        return float(run["data"]["rows"]["train"])
    return float(group.setting[key])


def _lines(methods: Mapping[str, Method]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of every method: by its schedule, if it is the first of it; 27 others can be told apart."""
    found: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    others = 0
    for name, method in methods.items():
        schedule = method.first["recipe"]["schedule"]["name"]
        if schedule in OF_SCHEDULE and schedule not in taken:
            taken.add(schedule)
            found[name] = {"color": OF_SCHEDULE[schedule], "linestyle": LINES[0]}
        else:
            dashes = LINES[others // len(COLOURS) % len(LINES)]
            found[name] = {"color": COLOURS[others % len(COLOURS)], "linestyle": dashes}
            others += 1
    return found


def _rows(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, which stands above what is drawn in it and so takes no width."""
    wrapped = [fill(name, LETTERS) for name in names]
    lines = max(name.count("\n") + 1 for name in wrapped)
    figure.set_figheight(0.95 + (0.1 + 0.4 * lines) * len(names))
    for row, name in enumerate(wrapped):
        text = axes.text(0.01, row - 0.17, name, transform=axes.get_yaxis_transform(), ha="left", va="bottom")
        text.set_in_layout(False)
        axes.axhline(row + 0.5, color=INK, alpha=0.1, linewidth=0.8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.5, -0.6)


def _with_legend_below(entries: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 3.5 + 0.2 * -(-entries // 2)), layout="constrained")
    return figure, figure.subplots()
