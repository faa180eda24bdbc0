"""Figures of a sweep as SVG texts: seeds side by side, score per epoch, score against size or rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from innerdistill.results.figures import INK, STYLE, TEACHER, scores_by_step, svg
from innerdistill.results.sweep_results import Group, Method

COLOURS = ("#ca6702", "#7b8794", "#3a86ff", "#c1549c", "#0a9396", "#7a9e2f", "#b5523b", "#4f5d95", "#a98600")
LINES = ("-", "--", "-.")  # the teacher's is dotted


def seeds_side_by_side(group: Group) -> str:
    """Every seed of every method as a point, means and teacher as lines; the best constant answer where it is near.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    methods = list(group.methods.values())
    teacher = group.teacher
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 0.9 + 0.42 * len(methods)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(teacher[group.metric], color=TEACHER, linestyle=":", label="teacher")
        for row, method in enumerate(methods):
            values = method.score(group.metric)
            axes.plot(values.values, [row] * len(values.values), "o", color=_colour(row), alpha=0.55, markersize=6)
            axes.plot([values.mean], [row], "|", color=_colour(row), markersize=20, markeredgewidth=2.5)
        if teacher["constant"] > axes.get_xlim()[0]:  # else it would press the points together
            axes.axvline(teacher["constant"], color=INK, alpha=0.45, linestyle="--", label="best constant answer")
        axes.set_yticks(range(len(methods)), [method.name for method in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{group.metric} on validation: a point per seed, the stroke is the mean")
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return svg(figure, f"{group.metric} on validation of every seed of every method")


def score_per_epoch(group: Group) -> str:
    """Score on the selection split over the steps of the run, the mean over seeds; a ring where a stage was completed.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, method in enumerate(group.methods.values()):
            curve = mean_curve(method, group.metric)
            if not curve:
                continue
            axes.plot(list(curve), list(curve.values()), label=method.name, marker=".", markersize=5, **_line(number))
            ends = np.cumsum([stage["steps"] for stage in method.first["stages"]][:-1]).tolist()
            rings = [(step, mean) for step, mean in curve.items() if step in ends]
            if rings:
                axes.plot(*zip(*rings, strict=True), "o", color=_colour(number), markersize=9, fillstyle="none")
        selection = group.any_run["scores"].get("selection", {}).get("teacher")
        if selection is not None:
            axes.axhline(selection[group.metric], color=TEACHER, linestyle=":", label="teacher")
        axes.set_xlabel("optimiser steps of all stages")
        axes.set_ylabel(f"{group.metric} on selection")
        axes.legend(frameon=False, fontsize=9)
        return svg(figure, f"{group.metric} on selection over the optimiser steps, by method")


def mean_curve(method: Method, metric: str) -> dict[int, float]:
    """Score on selection by the steps of the run until then, the mean over seeds.

    Args:
        method: its runs.
        metric: of the score.

    Returns:
        One entry per step at which every seed was scored.
    """
    curves = [scores_by_step(run["stages"], metric) for run in method.runs.values()]
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
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(dict.fromkeys(name for group in groups for name in group.methods)):
            points = [(_position(group, key, name), group.methods[name]) for group in groups if name in group.methods]
            points.sort(key=lambda point: point[0])
            values = [method.score(metric) for _, method in points]
            axes.errorbar(
                [x for x, _ in points], [value.mean for value in values],
                yerr=[value.deviation or 0 for value in values],
                label=name, marker="o", markersize=5, capsize=3, **_line(number),
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
        axes.legend(frameon=False, fontsize=9)
        return svg(figure, f"{metric} on validation against {axis_name(key)}, by method")


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


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _line(number: int) -> dict[str, Any]:
    """Colour and dashes: 27 methods can be told apart."""
    return {"color": _colour(number), "linestyle": LINES[number // len(COLOURS) % len(LINES)]}
