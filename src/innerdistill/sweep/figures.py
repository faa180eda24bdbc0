"""Figures of a sweep as SVG texts: comparisons, seeds side by side, score per epoch, score against size or rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from innerdistill.evaluation.metrics import show_metric
from innerdistill.report.figures import INK, STUDENT, STYLE, TEACHER, WIDTH, list_scores_by_step, render_svg
from innerdistill.report.formatting import CONSTANT_ANSWER
from innerdistill.sweep.groups import Group, list_places
from innerdistill.sweep.methods import Method
from innerdistill.sweep.sizes import ROWS, SIZE
from innerdistill.sweep.statistics import Comparison

COLOURS = ("#7b8794", "#c1549c", "#7a9e2f", "#b5523b", "#4f5d95", "#a98600", "#5f8f8f", "#8d6a4f", "#9a6fb0")
OF_SCHEDULE = {  # the same in every figure; what else there is takes COLOURS in turn
    "finetune": "#ca6702",
    "soft_labels": "#d4a017",
    "all_layers": "#3a86ff",
    "pid": "#e0457b",
    "sid": STUDENT,
}
LETTERS = 48  # letters of a name that fit into the width of a figure
LINES = ("-", "--", "-.")  # the teacher's is dotted
ABOVE = 0.22  # part of a row's height between its points and its name


def draw_differences(groups: Sequence[Group]) -> str:
    """Draw every declared comparison: a point for each seed or teacher, the mean as a stroke, its interval as a bar.

    Args:
        groups: groups of a sweep.

    Returns:
        SVG; empty without comparisons.
    """
    places = [place for place in list_places(groups) if place.is_above_chance]
    comparisons: list[Comparison] = []
    names, metrics, units = [], [], []
    for place in places:
        for comparison in place.comparisons:
            comparisons.append(comparison)
            names.append(f"{comparison.method} − {comparison.against}" + (f", {place.name}" if place.name else ""))
            metrics.append(place.metric_name)
            units.append(comparison.over.removesuffix("s"))
    if not comparisons:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), layout="constrained")
        axes = figure.subplots()
        for row, comparison in enumerate(comparisons):
            colour = {"better": STUDENT, "worse": OF_SCHEDULE["finetune"]}.get(comparison.verdict, COLOURS[0])
            if comparison.interval:
                axes.plot(comparison.interval, [row, row], color=colour, alpha=0.35, linewidth=7, solid_capstyle="butt")
            _draw_points(axes, row, comparison.differences, colour)
        _draw_upright(axes, 0, len(names), color=INK, alpha=0.45, linewidth=1)
        _name_rows(figure, axes, names)
        has_bars = any(comparison.interval for comparison in comparisons)
        marks = f"point: one {_join_once(units, ' or ')}, stroke: mean" + ", bar: 95 % interval" * has_bars
        axes.set_xlabel(f"difference of {_join_once(metrics, ', ')} on validation\n({marks})")
        return render_svg(figure, "Differences of the declared comparisons with their intervals")


def draw_seeds(group: Group) -> str:
    """Draw every seed of every method as a point, means and teacher as lines.

    The constant answer is a line too where it is near.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    methods, lines = list(group.methods.values()), choose_lines(group.methods)
    teacher = group.teacher
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), layout="constrained")
        axes = figure.subplots()
        for row, method in enumerate(methods):
            _draw_points(axes, row, method.score(group.metric).values, lines[method.name]["color"])
        rows = len(methods)
        if teacher is not None and not teacher.is_agreement:
            _draw_upright(axes, teacher.primary, rows, color=TEACHER, linestyle=":", label="teacher")
        constant = group.first_scores.constant
        if constant > axes.get_xlim()[0]:  # else it would press the points together
            line = {"color": INK, "alpha": 0.45, "linestyle": "--"}
            _draw_upright(axes, constant, rows, **line, label=CONSTANT_ANSWER)
        _name_rows(figure, axes, [method.name for method in methods])
        axes.set_xlabel(f"{group.metric_name} on validation (point: one seed, stroke: mean)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return render_svg(figure, f"{group.metric_name} on validation of every seed of every method")


def draw_curves(group: Group) -> str:
    """Draw the score on the selection split over the steps of the run, the mean over seeds.

    A ring marks the end of a stage that others follow.

    Args:
        group: runs that differ in method and seed.

    Returns:
        SVG.
    """
    lines, metric = choose_lines(group.methods), group.get_metric("selection")
    with matplotlib.rc_context(STYLE):
        figure, axes = open_with_legend_below(len(lines) + 1)
        for method in group.methods.values():
            curve = average_curves(method, metric)
            if not curve:
                continue
            line = lines[method.name]
            axes.plot(list(curve), list(curve.values()), label=method.name, marker=".", markersize=5, **line)
            ends = np.cumsum([stage.steps for stage in method.first_record.stages][:-1]).tolist()
            rings = [(step, mean) for step, mean in curve.items() if step in ends]
            if rings:
                axes.plot(*zip(*rings, strict=True), "o", color=line["color"], markersize=9, fillstyle="none")
        teacher = group.score_teacher("selection") if "selection" in group.first_record.scores else None
        if teacher is not None and not teacher.is_agreement:
            axes.axhline(teacher.primary, color=TEACHER, linestyle=":", label="teacher")
        axes.set_xlabel("optimiser steps of all stages")
        axes.set_ylabel(f"{show_metric(metric)} on selection")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        return render_svg(figure, f"{show_metric(metric)} on selection over the optimiser steps, by method")


def average_curves(method: Method, metric: str) -> dict[int, float]:
    """Average the learning curves of a method over its seeds.

    Args:
        method: method with its runs.
        metric: name of the score.

    Returns:
        Mean score on selection by the steps of the run until then, at the steps at which every seed was scored.
    """
    curves = [list_scores_by_step(record.stages, metric) for record in method.records]
    shared = sorted(set.intersection(*map(set, curves)))
    means: dict[int, float] = {}
    for step in shared:
        means[step] = float(np.mean([curve[step] for curve in curves]))
    return means


def draw_score_against(groups: Sequence[Group], key: str) -> str:
    """Draw the score of every method over the values of one swept key, the mean with its deviation over seeds.

    Args:
        groups: groups of one task, which differ in that key.
        key: dotted key; for `student.num_layers` the axis shows the parameters outside the embeddings, for
            `data.train_rows` the number of training examples.

    Returns:
        SVG.
    """
    metric = groups[0].metric
    with matplotlib.rc_context(STYLE):
        methods: dict[str, Method] = {}
        for group in reversed(groups):
            methods |= group.methods
        lines = choose_lines(methods)
        figure, axes = open_with_legend_below(len(lines) + 1)
        for name, line in lines.items():
            points = [(_locate(group, key, name), group.methods[name]) for group in groups if name in group.methods]
            points.sort(key=lambda point: point[0])
            positions, of_points = zip(*points, strict=True)
            scores = [method.score(metric) for method in of_points]
            axes.errorbar(
                positions,
                [score.mean for score in scores],
                yerr=[score.deviation or 0 for score in scores],
                label=name,
                marker="o",
                markersize=5,
                capsize=3,
                **line,
            )
        first = next(iter(groups[0].methods))
        teachers = []
        for group in groups:
            if first in group.methods and group.teacher is not None:
                teachers.append((_locate(group, key, first), group.teacher.values[metric]))
        if teachers:
            axes.plot(*zip(*sorted(teachers), strict=True), color=TEACHER, linestyle=":", label="teacher")
        if key == ROWS:
            axes.set_xscale("log")
        ticks = sorted({_locate(group, key, next(iter(group.methods))) for group in groups})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(name_axis(key))
        axes.set_ylabel(f"{groups[0].metric_name} on validation")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        return render_svg(figure, f"{groups[0].metric_name} on validation against {name_axis(key)}, by method")


def name_axis(key: str) -> str:
    """Say what a swept key is called on an axis.

    Args:
        key: dotted key of a recipe.

    Returns:
        Words.
    """
    return {SIZE: "parameters outside the embeddings, millions", ROWS: "training examples"}.get(key, key)


def choose_lines(methods: Mapping[str, Method]) -> dict[str, dict[str, Any]]:
    """Choose colour and dashes of every method: by its schedule, if it is the first of it; 27 others can be told apart.

    Args:
        methods: methods by name.

    Returns:
        Options of a line by name of the method.
    """
    lines: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    others = 0
    for name, method in methods.items():
        schedule = method.first_record.recipe.schedule.name
        if schedule in OF_SCHEDULE and schedule not in taken:
            taken.add(schedule)
            lines[name] = {"color": OF_SCHEDULE[schedule], "linestyle": LINES[0]}
        else:
            dashes = LINES[others // len(COLOURS) % len(LINES)]
            lines[name] = {"color": COLOURS[others % len(COLOURS)], "linestyle": dashes}
            others += 1
    return lines


def open_with_legend_below(entries: int) -> tuple[Figure, Axes]:
    """Open a figure with room for a legend of two columns below it.

    Args:
        entries: entries of the legend.

    Returns:
        Figure and axes.
    """
    figure = Figure(figsize=(WIDTH, 3.5 + 0.2 * -(-entries // 2)), layout="constrained")
    return figure, figure.subplots()


def _locate(group: Group, key: str, method: str) -> float:
    """The place of a group on the axis of a key."""
    record = group.methods[method].first_record
    if key == SIZE:
        return round(record.speed.student.parameters_without_embeddings / 1e6, 2)
    if key == ROWS:  # null means all of them; selection is not trained on
        return float(record.data.rows["train"])
    return float(group.setting[key])


def _draw_points(axes: Axes, row: int, values: Sequence[float], colour: str) -> None:
    """The values of a row as points, their mean as a stroke."""
    axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.55, markersize=5.5)
    axes.plot([np.mean(values)], [row], "|", color=colour, markersize=14, markeredgewidth=2.5)


def _draw_upright(axes: Axes, value: float, rows: int, **line: Any) -> None:
    """A line at one value through the points of all rows, and through none of the names above them."""
    tops = np.arange(rows) - ABOVE
    axes.vlines([value] * rows, tops, tops + 2 * ABOVE, **line)


def _name_rows(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, which stands above what is drawn in it and so takes no width."""
    wrapped = [fill(name, LETTERS) for name in names]
    lines = max(name.count("\n") + 1 for name in wrapped)
    figure.set_figheight(0.95 + (0.2 + 0.4 * lines) * len(names))
    for row, name in enumerate(wrapped):
        text = axes.text(0.01, row - ABOVE, name, transform=axes.get_yaxis_transform(), ha="left", va="bottom")
        text.set_in_layout(False)
        axes.axhline(row + 0.38, color=INK, alpha=0.1, linewidth=0.8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.62, -0.65)


def _join_once(words: Sequence[str], link: str) -> str:
    """The different ones among some words."""
    return link.join(dict.fromkeys(words))
