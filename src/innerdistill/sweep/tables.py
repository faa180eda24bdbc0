"""Tables of a sweep, made once: report.html, report.md and table.tex draw the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from innerdistill.report.formatting import format_share
from innerdistill.sweep.groups import Group, places
from innerdistill.sweep.methods import SPLIT, Method, Value
from innerdistill.sweep.statistics import Verdict, shown

SELECTION = "selection"
SHARE_OF_TEACHER, AGREEMENT, SEEDS = (
    "share of teacher",
    "agreement",
    "seeds",
)  # columns, by which a terminal shows some of them
OUTCOMES: dict[Verdict, str] = {
    "better": "better", "worse": "worse", "here": "on these examples only", "equivalent": "equivalent",
    "open": "no difference shown", "untested": "too few to test",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Words and numbers as they are shown.

    Attributes:
        title: what it says.
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
        The declared comparisons, if any were made; scores of all methods side by side, those on selection too, and the
        sizes of all models, if there are several groups.
    """
    found = [_overview(groups, SPLIT), _overview(groups, SELECTION), _sizes(groups)] if len(groups) > 1 else []
    return [table for table in [comparisons(groups)] if table.rows] + found


def comparisons(groups: Sequence[Group]) -> Table:
    """Every declared comparison that could be made.

    Args:
        groups: of the sweep.

    Returns:
        A row for each, in the order of their places.
    """
    rows = []
    for place in places(groups):
        for one in place.comparisons:
            interval = f"{one.interval[0]:+.4f} ... {one.interval[1]:+.4f}" if one.interval else "–"
            spread = "" if one.deviation is None else f" ± {one.deviation:.4f}"
            rows.append((
                f"{one.method} − {one.against}", place.name, place.metric, f"{one.difference:+.4f}{spread}", interval,
                "–" if one.p is None else shown(one.p).removeprefix("p ").removeprefix("= "), str(one.units), one.over,
                OUTCOMES[one.verdict] if place.is_above_chance else "none: the teacher is at chance",
            ))  # fmt: skip
    header = ("difference of", "in", "metric", "mean", "95 % interval", "p after Holm", "n", "over", "outcome")
    dull = [column for column in range(len(header)) if all(row[column] == "" for row in rows)]
    return Table(
        "Comparisons",
        tuple(name for column, name in enumerate(header) if column not in dull),
        tuple(tuple(cell for column, cell in enumerate(row) if column not in dull) for row in rows),
        "± is the standard deviation of the paired differences.",
    )


def tables_of(group: Group, *, alone: bool) -> list[Table]:
    """What a sweep shows of one task and setting.

    Args:
        group: its runs.
        alone: whether it is the only one, so that `tables_over` shows nothing.

    Returns:
        Scores; sizes, if it is alone; distances, if any layers were mapped; rows by right and wrong, if there are
        classes.
    """
    agreed = all(method.right_and_wrong is not None for method in group.methods.values())
    tables = [_scores(group)]
    tables += [_sizes([group])] if alone else []
    tables += [_distances(group)] if group.pairs else []
    return [*tables, _right_and_wrong(group)] if agreed else tables


def _overview(groups: Sequence[Group], split: str) -> Table:
    """Methods against tasks and settings; the longer of the two runs down."""
    methods = list(dict.fromkeys(name for group in groups for name in group.methods))
    metrics = list(dict.fromkeys(group.metric for group in groups))
    corner = f"{metrics[0] if len(metrics) == 1 else 'primary metric'} on {split}"
    columns = [(corner, "teacher", *methods, *(["best constant answer"] if split == SPLIT else []))]
    for group in groups:
        title = group.name + (f", {group.metric}" if len(metrics) > 1 else "")
        constant = [_number(group.teacher["constant"])] if split == SPLIT else []
        columns.append((title, _of_teacher(group, split), *(_cell(group, name, split) for name in methods), *constant))
    header, *rows = columns if len(groups) > len(methods) + 2 else zip(*columns, strict=True)
    seeds = [len(method.runs) for group in groups for method in group.methods.values()]
    ends = " to ".join(map(str, dict.fromkeys((min(seeds), max(seeds)))))
    notes = [
        f"± of a method is the standard deviation over seeds ({ends} of them); of the teacher, the error over rows."
    ]
    notes += _of_selection(groups) if split == SELECTION else []
    for note in dict.fromkeys(group.note for group in groups if group.note):
        tasks = dict.fromkeys(group.task for group in groups if group.note == note and group.task)
        notes.append(f"{', '.join(tasks)}: {note}" if tasks else note)
    title = "To choose by: the same on selection" if split == SELECTION else "All tasks and settings"
    return Table(title, header, tuple(rows), " ".join(notes))


def _cell(group: Group, name: str, split: str) -> str:
    if name not in group.methods:
        return "–"
    method = group.methods[name]
    return str(method.score(group.metric, split)) + (f" ({method.collapsed} collapsed)" if method.collapsed else "")


def _of_selection(groups: Sequence[Group]) -> list[str]:
    """What the score on selection is good for, and what not."""
    recipes = [run["recipe"] for group in groups for _, run in group.runs()]
    said = ["Selection is held out of train: choose a method, a size or a setting by it, and report validation."]
    if any(recipe["teacher"]["path"] is not None for recipe in recipes):
        said.append("A teacher that was not fine-tuned here may have seen its rows.")
    if any(recipe["checkpoint"] == "best" for recipe in recipes):
        said.append("Checkpoints were chosen by it, so it is too high.")
    return said


def _sizes(groups: Sequence[Group]) -> Table:
    """Every size of a teacher or student once for each length of text, with its latency."""
    found: dict[tuple[str, str, int, str, str, int], list[tuple[float, float]]] = {}
    for task, run in ((group.task, run) for group in groups for _, run in group.runs()):
        beside = run["speed"]["teacher"]["latency_ms"]["p50"]
        for name in ("teacher", "student"):
            speed = run["speed"][name]
            stored = f"{speed['file_bytes'] / 1e6:.0f}" if speed["file_bytes"] else "–"
            model = (task, name, run[name]["layers"], f"{speed['parameters'] / 1e6:.1f} M", stored, speed["length"])
            latency = speed["latency_ms"]["p50"]
            found.setdefault(model, []).append((latency, latency / beside))
    rows = []
    for (task, name, layers, parameters, stored, length), measured in found.items():
        latency, part = np.median(measured, axis=0)
        named = f"{name}, {task}" if task else name
        rows.append((named, str(layers), parameters, stored, str(length), f"{latency:.1f}", f"{100 * part:.0f} %"))
    rows.sort(key=lambda row: (int(row[4]), -int(row[1]), row[0].startswith("student")))
    return Table(
        "Sizes",
        ("model", "layers", "parameters", "megabytes", "tokens", "milliseconds", "share of the teacher's time"),
        tuple(rows),
        "For one text of so many tokens: medians over the runs, each measured beside its teacher, while other runs may "
        "have run.",
    )


def _scores(group: Group) -> Table:
    metric, *others = group.metrics
    scores = group.teacher
    chosen_by = group.any_run["scores"][SELECTION]["teacher"]["rows"]
    header = (
        f"{SPLIT}, {scores['rows']} rows", metric, SHARE_OF_TEACHER, f"on selection, {chosen_by} rows", AGREEMENT,
        *others, "layers", SEEDS, "cosine at the end of stages", "steps", "CPU seconds",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [(
        "teacher", _of_teacher(group), "", _of_teacher(group, SELECTION), "",
        *(_number(scores[name]) for name in others), str(group.any_run["teacher"]["layers"]),
    )]  # fmt: skip
    for method in group.methods.values():
        score = method.score(metric)
        rows.append((
            _named(method), str(score), format_share(score.mean, scores[metric]), str(method.score(metric, SELECTION)),
            str(method.agreement), *(str(method.score(name)) for name in others),
            str(method.first["student"]["layers"]), str(len(method.runs)), " ".join(map(_number, method.cosines)),
            f"{method.total('steps'):.0f}", f"{method.total('cpu_seconds'):.0f}",
        ))  # fmt: skip
    rows.append(("best constant answer", _number(scores["constant"]), format_share(scores["constant"], scores[metric])))
    notes = [
        "± of a method is the standard deviation over seeds; of the teacher, the standard error over rows.",
        f"The share of teacher is that of its {metric}.", *_of_selection([group]),
    ]  # fmt: skip
    declared = [(one.method, one.against) for one in group.comparisons] + group.untested
    shown = [pair for pair in declared if set(pair) <= set(group.methods)]
    if declared and len(shown) < comb(len(group.methods), 2):
        notes.append("Only declared comparisons are tested; what else sets methods apart is exploratory.")
    if all(len(method.runs) == 1 for method in group.methods.values()):
        notes.append("n = 1: of one seed nothing is known about the spread, so there are no intervals.")
    notes += [*_differences(group), *filter(None, [group.note])]
    return Table(
        "Scores",
        tuple(name.replace("_", " ") for name in header),
        tuple(row + ("",) * (len(header) - len(row)) for row in rows),
        " ".join(notes),
    )


def _differences(group: Group) -> list[str]:
    """In what methods differ besides what is compared: start, checkpoint, learning rate; by their first runs."""
    found = []
    for key in ("student.source", "student.head", "student.layers", "checkpoint", "trainer.learning_rate"):
        *sections, name = key.split(".")
        values: dict[str, list[str]] = {}
        for method in group.methods.values():
            recipe = method.first["recipe"]
            value = (recipe[sections[0]] if sections else recipe).get(name)
            values.setdefault("unsaid" if value is None else str(value), []).append(method.name)
        if len(values) > 1:
            said = ", ".join(f"{value} ({'; '.join(names)})" for value, names in values.items())
            found.append(f"Methods differ in {key}: {said}.")
    return found


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


def _right_and_wrong(group: Group) -> Table:
    def cells(found: dict[str, Value] | None) -> Iterable[str]:
        for rows in (found or {}).values():
            yield f"{rows.mean:.1f}" + ("" if rows.deviation is None else f" ± {rows.deviation:.1f}")

    return Table(
        "Right and wrong together",
        ("rows, mean over seeds", "both right", "only the teacher right", "only the student right", "both wrong"),
        tuple((method.name, *cells(method.right_and_wrong)) for method in group.methods.values()),
        f"± is the standard deviation over seeds. {group.note}".strip(),
    )


def _of_teacher(group: Group, split: str = SPLIT) -> str:
    """The primary score of the teacher with its standard error over rows."""
    scores: dict[str, Any] = group.any_run["scores"][split]["teacher"]
    return f"{_number(scores[group.metric])} ± {_number(scores['standard_error'])}"


def _number(value: float | None, *, none: str = "–") -> str:
    return none if value is None else str(Value((value,)))
