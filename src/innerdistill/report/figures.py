"""Figures of the report as SVG texts that take the page's colours, light or dark."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from innerdistill.evaluation.metrics import show_metric
from innerdistill.report.explorer import get_divergences
from innerdistill.report.record import TrainedStage

INK = "#010203"  # stands for the page's text colour, replaced by currentColor
LABEL_WIDTH = 30  # letters of an axis label that fit beside half of a figure
CHARACTERS = 75  # letters of the smallest type that fit side by side over a figure
PAD = 3.5  # points between a map and its tokens
MOST_POINTS = 500  # pairs that a scatter plot shows
WIDTH = 5.0  # inches: on a phone the type of a wider figure could not be read
TEACHER, STUDENT, BASELINE = "#8a63d2", "#0a9396", "#ca6702"
# Losses belong to no model, so they have colours of their own; the line styles tell them apart in grey too.
LOSS_STYLES = (("#4385cc", "-"), ("#cc5793", "--"), ("#7a9e2e", ":"), ("#a5804e", "-."))
LOSS_NAMES = {"attention_kl": "attention KL", "cls_cosine": "CLS cosine"}
SVG_TAG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{}" '
    'viewBox="{}">'
)
FILE_STYLE = (  # colours for a figure in a file of its own
    "<style>svg { color: #1d2733; background: #ffffff }"
    "@media (prefers-color-scheme: dark) { svg { color: #e7ebef; background: #12171d } }</style>"
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "innerdistill",  # the same run gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # tokens may hold dollar signs
}


def draw_learning_curve(
    stages: Sequence[TrainedStage],
    *,
    metric: str,
    teacher: float | None = None,
    baseline: Sequence[TrainedStage] = (),
) -> str:
    """Draw score on selection and losses per epoch over the steps of the run, with the stages marked.

    Args:
        stages: stages of the run.
        metric: name of the primary metric.
        teacher: score of the teacher on selection, drawn as a line.
        baseline: stages of the baseline's run.

    Returns:
        SVG.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.1, 1])
        start, steps = 0, sum(stage.steps for stage in stages)
        for number, stage in enumerate(stages):
            end = start + stage.steps
            for axes in (top, bottom):
                axes.axvspan(start, end, color=INK, alpha=0.07 if number % 2 else 0.02, linewidth=0)
            name = stage.stage.name
            if len(name) < CHARACTERS * stage.steps / steps:  # else it would run into the next
                top.text((start + end) / 2, 1.02, name, transform=top.get_xaxis_transform(), ha="center", va="bottom",
                         fontsize=7)  # fmt: skip
            start = end
        if teacher is not None:
            top.axhline(teacher, color=TEACHER, linestyle=":", label="teacher")
        _plot_scores(top, stages, metric, color=STUDENT, marker="o", label="student")
        if baseline:
            _plot_scores(top, baseline, metric, color=BASELINE, marker="s", linestyle="--", label="baseline")
        top.set_ylabel(textwrap.fill(f"{show_metric(metric)} on selection", LABEL_WIDTH))
        _plot_losses(bottom, stages)
        models, losses = (axes.get_legend_handles_labels() for axes in (top, bottom))
        figure.legend(*models, frameon=False, fontsize=8, loc="outside upper center", ncols=3)
        figure.legend(*losses, frameon=False, fontsize=8, loc="outside lower center", ncols=2)
        title = f"{show_metric(metric)} on selection and training losses over the optimiser steps of all stages"
        return render_svg(figure, title)


def draw_similarities(similarities: Mapping[str, NDArray[np.float64]]) -> str:
    """Draw the similarity of pairs of texts by a student against that by its teacher.

    Args:
        similarities: by `teacher` and `student`, from -1 to 1; of many pairs, some spread evenly over them are drawn.

    Returns:
        SVG.
    """
    teacher, student = similarities["teacher"], similarities["student"]
    drawn = np.linspace(0, len(teacher) - 1, min(MOST_POINTS, len(teacher))).astype(int)
    low, high = min(teacher.min(), student.min()), max(teacher.max(), student.max())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
        axes = figure.subplots()
        axes.plot([low, high], [low, high], color=INK, alpha=0.3, linewidth=1)
        axes.scatter(teacher[drawn], student[drawn], s=9, color=STUDENT, alpha=0.4, linewidths=0)
        axes.set_xlabel("similarity by the teacher")
        axes.set_ylabel("similarity by the student")
        axes.set_aspect("equal")
        return render_svg(figure, "Similarity of pairs of texts: student against teacher")


def draw_attention_maps(
    example: Mapping[str, Any],
    students: Mapping[str, Mapping[str, Any]],
    *,
    overall: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
) -> str:
    """Draw the attention of teacher and students on one example, one head per mapped layer.

    The maps of a layer have one scale. The head shown is the one whose divergence is the median over the heads of the
    first student: neither the best nor the worst. The number is that head's KL divergence from the teacher (nats per
    row), in brackets the mean over heads.

    Args:
        example: one of `attention` of examples.json.
        students: by title, `layers` of the same file, of each student to show.
        overall: by title, KL over all mapped layers, for the captions.
        colours: by title, where a student has not the student's colour.

    Returns:
        SVG.
    """
    tokens, layers = example["tokens"], list(example["layers"])
    first = next(iter(students.values()))
    panels = 1 + len(students)
    columns = (2 if panels == 4 else min(panels, 3)) if len(layers) == 1 else panels
    rows = len(layers) if columns == panels else -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.3 * columns, 2.7 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in axes[len(layers) * panels :]:
            unused.set_axis_off()
        grid = axes[: len(layers) * panels].reshape(len(layers), panels)
        for row, layer in enumerate(layers):
            reference = np.array(example["layers"][layer]["teacher"])
            of_first = get_divergences(first[layer])
            head = int(np.argsort(of_first)[len(of_first) // 2])
            m = example["layers"][layer]["teacher_layer"]
            panels_of_row = [(reference[head], f"teacher, layer {m}, head {head + 1}", TEACHER)]
            for title, student in students.items():
                maps, kl = np.array(student[layer]["student"]), get_divergences(student[layer])
                every = f", all layers {_format_nats(overall[title])}" if overall else ""
                text = (
                    f"{title}, layer {layer}\nKL {_format_nats(kl[head])} (all heads {_format_nats(kl.mean())}{every})"
                )
                panels_of_row.append((maps[head], text, (colours or {}).get(title, STUDENT)))
            darkest = max(0.3, *(float(maps.max()) for maps, *_ in panels_of_row))
            for column, (maps, text, colour) in enumerate(panels_of_row):
                _draw_map(grid[row][column], maps, tokens, text, colour, darkest=darkest, labels=not column)
        return render_svg(figure, f"Attention maps of one example: teacher, {', '.join(students)}")


def _format_nats(kl: float) -> str:
    return f"{kl:.3f}" if np.isfinite(kl) else "∞"


def list_scores_by_step(stages: Sequence[TrainedStage], metric: str) -> dict[int, float]:
    """List the scores on selection by the optimiser steps of the run so far.

    Args:
        stages: stages of the run.
        metric: name of the metric.

    Returns:
        One entry per epoch that was scored.
    """
    scores, start = {}, 0
    for stage in stages:
        for epoch in stage.epochs:
            if epoch.scores is not None:
                scores[start + epoch.steps] = epoch.scores[metric]
        start += stage.steps
    return scores


def _plot_scores(axes: Axes, stages: Sequence[TrainedStage], metric: str, **style: Any) -> None:
    scores = list_scores_by_step(stages, metric)
    axes.plot(list(scores), list(scores.values()), **style)


def _plot_losses(axes: Axes, stages: Sequence[TrainedStage]) -> None:
    """Plot the losses per epoch: a line style and colour for each loss, and at the end of a curve its layer."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    start = 0
    for stage in stages:
        for epoch in stage.epochs:
            for name, value in epoch.losses.items():
                if name != "loss":
                    xs, ys = curves.setdefault(name, ([], []))
                    xs.append(start + epoch.steps)
                    ys.append(value)
        start += stage.steps
    kinds: dict[str, dict[str, Any]] = {}
    for name, (xs, ys) in sorted(curves.items()):
        kind, _, layer = name.partition("/")
        if kind not in kinds:
            kinds[kind] = dict(zip(("color", "linestyle"), LOSS_STYLES[len(kinds) % len(LOSS_STYLES)], strict=True))
            axes.plot([], [], **kinds[kind], label=LOSS_NAMES.get(kind, kind.replace("_", " ")))
        axes.plot(xs, ys, **kinds[kind], marker=".", linewidth=1)
        axes.annotate(layer, (xs[-1], ys[-1]), (4, 0), textcoords="offset points", va="center", fontsize=7,
                      color=kinds[kind]["color"])  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_ylabel("training loss")
    axes.set_xlabel("optimiser steps")


def _draw_map(
    axes: Axes, values: np.ndarray, tokens: Sequence[str], title: str, colour: str, *, darkest: float, labels: bool
) -> None:
    shades = LinearSegmentedColormap.from_list("shades", [(*matplotlib.colors.to_rgb(colour), a) for a in (0, 1)])
    axes.imshow(values, cmap=shades, vmin=0, vmax=darkest, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    # Texts instead of tick labels, of which matplotlib measures each one several times.
    below, left = axes.get_xaxis_text1_transform(PAD)[0], axes.get_yaxis_text1_transform(PAD)[0]
    for place, token in enumerate(tokens):
        axes.text(place, 0, token, transform=below, rotation=90, ha="center", va="top", fontsize=7)
        if labels:
            axes.text(0, place, token, transform=left, ha="right", va="center", fontsize=7)
    for side in ("left", "bottom"):
        axes.spines[side].set_alpha(0.3)


def render_svg(figure: Figure, name: str) -> str:
    """Render a figure as text for a page.

    Args:
        figure: figure drawn under STYLE.
        name: what the figure shows, for screen readers.

    Returns:
        An svg element as wide as its place, whose ink is the page's.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    for model, colour in (("teacher", TEACHER), ("student", STUDENT), ("baseline", BASELINE)):
        text = text.replace(colour, f"var(--{model}, {colour})")  # as in the tables of the page, light or dark
    # The page decides the width, so only the proportions (viewBox) stay.
    tag = re.compile(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', re.DOTALL)
    return tag.sub(lambda match: SVG_TAG.format(escape(name), match[1]), text, count=1)


def render_file(figure: str) -> str:
    """Turn a figure of a page into the content of a file, dark on light or light on dark as its viewer asks for.

    Args:
        figure: result of `render_svg`.

    Returns:
        An SVG document.
    """
    return str(figure).replace(">", f">{FILE_STYLE}", 1)  # plain text, where it came as markup
