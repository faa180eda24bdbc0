"""What the pages of a sweep say of its tuning: sentences, a table and a figure for each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from innerdistill.evaluation.metrics import show_metric
from innerdistill.report.figures import STYLE, render_svg
from innerdistill.sweep.alike import identify_teacher
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.figures import choose_lines, open_with_legend_below
from innerdistill.sweep.methods import Method
from innerdistill.sweep.table import Table
from innerdistill.sweep.tuning import FEWEST_SEEDS, Curve, PlannedSweep, list_tuning_facts

SHIFT = 0.05  # between the marks of two methods at one value, where the distance of two values is 1


def describe_tuning(sweep: Sweep, planned: PlannedSweep) -> list[str]:
    """Describe how values were tuned.

    Args:
        sweep: the sweep.
        planned: its cells, with the curves of its tuning.

    Returns:
        Sentences; none for a sweep without tuning.
    """
    keys, seeds = " and ".join(sweep.tune.grid), sweep.tune.seeds
    if not keys:
        return []
    if not planned.is_tuned:
        count = f"{len(planned.tuned)} of {len(planned.tuning)} tuning runs are finished"
        return [f"{count}. The other cells run after them, with the best {keys} of each method."]
    metric = show_metric(planned.curves[0].metric)
    over = f"the mean over {len(seeds)} seeds that are not reported" if len(seeds) > 1 else "one seed, not reported"
    verb = "was" if len(sweep.tune.grid) == 1 else "were"
    sentences = [f"The {keys} of every method {verb} chosen among the same values by {metric} on selection: {over}."]
    if facts := list_tuning_facts(sweep):
        changes = ", ".join(f"{name}={value}" for name, value in facts.items())
        sentences.append(f"Tuning runs have {changes}.")
    teachers = {identify_teacher(run.record) for curve in planned.curves for runs in curve.runs for run in runs}
    if len(teachers - {None}) > len({curve.place for curve in planned.curves}):
        sentences.append(
            "The values were tried on several CPU types, so their teachers, of one seed, differ in the last bits."
        )
    if len(seeds) < FEWEST_SEEDS:
        sentences.append(f"An interval needs {FEWEST_SEEDS} tuning seeds, and there {_count(len(seeds))}.")
    return sentences


def list_ends(planned: PlannedSweep) -> list[str]:
    """List the methods whose best value is at an end of the grid.

    Args:
        planned: cells of a sweep, with the curves of its tuning.

    Returns:
        Sentences.
    """
    sentences = []
    for curve in planned.curves:
        for key in curve.keys_at_end:
            name = f"{curve.place}: {curve.method}" if curve.place else curve.method
            of_key = f" of {key}" if len(curve.chosen) > 1 else ""
            value = curve.chosen[key]
            sentences.append(f"{name}: the best of the tried values{of_key}, {value}, is at an end of the grid.")
    return sentences


def build_tuning_tables(sweep: Sweep, planned: PlannedSweep) -> list[Table]:
    """Build the scores of all tried values, one table for each place.

    Args:
        sweep: the sweep.
        planned: its cells, with the curves of its tuning.

    Returns:
        Tables with a row per method and a column per combination of values.
    """
    tables = []
    for place, curves in _group_by_place(planned.curves).items():
        header = ("method", *map(_write_values, sweep.tune.combinations), "chosen")
        rows = [_build_row(curve) for curve in curves]
        spread = "" if curves[0].half_widths is None else " ± half of its 95 % t interval"
        note = f"{show_metric(curves[0].metric)} on selection, the mean over tuning seeds{spread}."
        title = f"Tuning of {', '.join(sweep.tune.grid)}{': ' if place else ''}{place}"
        tables.append(Table(title, header, tuple(rows), f"{note} Of equal means the first is chosen."))
    return tables


def draw_tuning(sweep: Sweep, planned: PlannedSweep) -> dict[str, str]:
    """Draw the score of every method over the tried values, a ring around the chosen one.

    Args:
        sweep: the sweep.
        planned: its cells, with the curves of its tuning.

    Returns:
        SVG by place.
    """
    return {place: _draw(sweep, curves) for place, curves in _group_by_place(planned.curves).items()}


def _draw(sweep: Sweep, curves: Sequence[Curve]) -> str:
    methods = {curve.method: Method(curve.method, dict(enumerate(curve.runs[0]))) for curve in curves}
    lines, metric = choose_lines(methods), show_metric(curves[0].metric)
    positions, keys = np.arange(len(curves[0].combinations)), ", ".join(sweep.tune.grid)
    with matplotlib.rc_context(STYLE):
        figure, axes = open_with_legend_below(len(curves))
        for number, curve in enumerate(curves):
            line = lines[curve.method]
            places = positions + SHIFT * (number - (len(curves) - 1) / 2)
            axes.errorbar(
                places, curve.means, yerr=curve.half_widths, label=curve.method, marker=".", capsize=3, **line
            )
            if curve.half_widths is None:
                for place, scores in zip(places, curve.scores, strict=True):
                    axes.plot([place] * len(scores), scores, ".", color=line["color"], alpha=0.5)
            chosen = {"color": line["color"], "markersize": 11, "fillstyle": "none"}
            axes.plot([places[curve.best]], [curve.means[curve.best]], "o", **chosen)
        axes.set_xticks(positions, [_write_values(values) for values in sweep.tune.combinations])
        bars = "point: one seed" if curves[0].half_widths is None else "bar: 95 % interval over seeds"
        axes.set_xlabel(f"{keys}\n({bars}, ring: chosen)")
        axes.set_ylabel(f"{metric} on selection")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        return render_svg(figure, f"{metric} on selection against {keys}, by method")


def _build_row(curve: Curve) -> tuple[str, ...]:
    halves: Sequence[Any] = curve.half_widths or [None] * len(curve.means)
    cells = []
    for mean, half in zip(curve.means, halves, strict=True):
        cells.append(f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}")
    return (curve.method, *cells, _write_values(curve.chosen))


def _write_values(combination: Mapping[str, Any]) -> str:
    """Values of the tuned keys, in the order in which a title names the keys."""
    return ", ".join(map(str, combination.values()))


def _group_by_place(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    by_place: dict[str, list[Curve]] = {}
    for curve in curves:
        by_place.setdefault(curve.place, []).append(curve)
    return by_place


def _count(seeds: int) -> str:
    return "is 1" if seeds == 1 else f"are {seeds}"
