"""Tables of a sweep, built once: report.html, report.md and table.tex show the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import comb
from statistics import fmean

from innerdistill.evaluation.metrics import show_metric
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.formatting import CONSTANT_ANSWER, NOT_APPLICABLE, format_share
from innerdistill.report.headline import compute_speedup
from innerdistill.report.layer_distances import describe_constant_layers, format_distance
from innerdistill.report.record import Scores
from innerdistill.report.stored_run import StoredRun
from innerdistill.sweep.comparison_table import build_comparisons
from innerdistill.sweep.groups import Compared, Group, OverTeachers, list_places
from innerdistill.sweep.latency import SweepLatency, list_sizes
from innerdistill.sweep.methods import SELECTION, SPLIT, Method, Value
from innerdistill.sweep.mistakes import build_right_and_wrong
from innerdistill.sweep.score_notes import compare_orders, list_differences
from innerdistill.sweep.shares import build_shares
from innerdistill.sweep.table import Table

OF_TEACHER = "± of the teacher is the standard error over examples."
SHARE_OF_TEACHER, AGREEMENT, SEEDS = "share of teacher", "agreement", "seeds"  # columns, some of which a terminal shows


def build_overall_tables(groups: Sequence[Group], latency: SweepLatency | None = None) -> list[Table]:
    """Build what a sweep shows over all its tasks and settings.

    Args:
        groups: groups of the sweep.
        latency: the sweep's measurement; None if there is none.

    Returns:
        The declared comparisons, if any were tested. Shares of the teachers' scores, if there are several teachers. If
        there are several groups: scores of all methods side by side, those on selection too, and the sizes of models.
    """
    comparisons = build_comparisons(groups)
    tables = [comparisons] if comparisons.rows else []
    tables += filter(None, map(_build_shares_over_teachers, list_places(groups)))
    if len(groups) > 1:
        tables += [_build_overview(groups, SPLIT), _build_overview(groups, SELECTION), _build_sizes(groups, latency)]
    return tables


def _build_shares_over_teachers(place: Compared) -> Table | None:
    shares = build_shares(place) if isinstance(place, OverTeachers) else None
    title = "Shares over teachers" + (f": {place.name}" if place.name else "")
    return None if shares is None else replace(shares, title=title)


def build_tables(group: Group, *, alone: bool, latency: SweepLatency | None = None) -> list[Table]:
    """Build what a sweep shows of one task and setting.

    Args:
        group: runs of the task and setting.
        alone: whether it is the only one, so that `build_overall_tables` shows nothing of it.
        latency: the sweep's measurement; None if there is none.

    Returns:
        Scores. Shares of the teacher's score, if there are seeds enough. Sizes, if it is alone. Distances, if any
        layers were mapped. Examples by right and wrong, if there are classes.
    """
    tables = [_build_scores(group)]
    if group.beside is None and (shares := build_shares(group)) is not None:
        tables.append(shares)
    if alone:
        tables.append(_build_sizes([group], latency))
    if group.pairs:
        tables.append(_build_distances(group))
    if all(method.right_and_wrong is not None for method in group.methods.values()):
        tables.append(build_right_and_wrong(group))
    return tables


def _build_overview(groups: Sequence[Group], split: str) -> Table:
    """Methods against tasks and settings; the rows are those of which there are more."""
    methods = list(dict.fromkeys(name for group in groups for name in group.methods))
    names = {group.name: show_metric(group.get_metric(split)) for group in groups}
    metrics = list(dict.fromkeys(names.values()))
    corner = f"{metrics[0] if len(metrics) == 1 else 'primary metric'} on {split}"
    last = [CONSTANT_ANSWER] if split == SPLIT else []
    columns = [(corner, "teacher", *methods, *last)]
    for group in groups:
        title = group.name + (f", {names[group.name]}" if len(metrics) > 1 else "")
        column = [title, _format_teacher(group, split), *(_format_score(group, name, split) for name in methods)]
        column += [_format(group.first_scores.constant)] if split == SPLIT else []
        columns.append(tuple(column))
    header, *rows = columns if len(groups) > len(methods) + 2 else zip(*columns, strict=True)
    title = "Scores on selection, to choose by" if split == SELECTION else "All tasks and settings"
    return Table(title, header, tuple(rows), " ".join(_explain_overview(groups, split)))


def _explain_overview(groups: Sequence[Group], split: str) -> list[str]:
    seeds: list[int] = []
    for group in groups:
        seeds += [len(method.runs) for method in group.methods.values()]
    ends = " to ".join(map(str, dict.fromkeys((min(seeds), max(seeds)))))
    notes = [
        f"± of a method is the standard deviation over seeds ({ends} per method)." if max(seeds) > 1 else "",
        OF_TEACHER if any(_format_teacher(group, split) != NOT_APPLICABLE for group in groups) else "",
    ]
    notes += _explain_selection(groups) if split == SELECTION else []
    for note in dict.fromkeys(group.note for group in groups if group.note):
        tasks = dict.fromkeys(group.task for group in groups if group.note == note and group.task)
        notes.append(f"{', '.join(tasks)}: {note}" if tasks else note)
    return list(filter(None, notes))


def _explain_selection(groups: Sequence[Group]) -> list[str]:
    """What the score on selection is good for, and what not."""
    recipes: list[Recipe] = []
    for group in groups:
        recipes += [run.record.recipe for run in group.list_runs()]
    notes = ["Nothing is trained on selection. Choose a method, a size or a setting by it, and report validation."]
    if any(recipe.teacher.path is not None for recipe in recipes):
        notes.append("A teacher that was not fine-tuned here may have been trained on its examples.")
    if any(recipe.checkpoint == "best" for recipe in recipes):
        notes.append("Checkpoints were chosen by the score on selection, so it is too high.")
    return notes


def _build_sizes(groups: Sequence[Group], latency: SweepLatency | None) -> Table:
    """Every size of a teacher or student once, with its latency if the sweep measured any."""
    runs: list[StoredRun] = []
    for group in groups:
        runs += group.list_runs()
    sizes = list_sizes(run.record for run in runs)
    header = ("model", "layers", "parameters", "megabytes")
    rows = [(size.model, str(size.layers), size.parameters, size.megabytes) for size in sizes]
    if latency is None:
        return Table("Sizes", header, tuple(rows))
    measured = latency.get_latencies()
    teachers = [milliseconds for size, milliseconds in measured.items() if size.model == "teacher"]
    note = (
        f"Latency is for one text of {latency.length} tokens: the median of calls in turns, in one measurement at the "
        f"end of the sweep ({latency.machine})."
    )
    last = ["share of the teacher's time"] if teachers else []
    timed: list[tuple[str, ...]] = []
    for size, row in zip(sizes, rows, strict=True):
        milliseconds = measured.get(size)
        slower = None
        if milliseconds is not None and len(teachers) == 1:
            slower = compute_speedup(milliseconds, teachers[0])
        shown = NOT_APPLICABLE if milliseconds is None else f"{milliseconds.p50:.1f}"
        share = NOT_APPLICABLE if slower is None else f"{100 * slower:.0f} %"
        timed.append((*row, shown, share)[: len(header) + 1 + len(last)])
    if not all(milliseconds.is_steady for milliseconds in measured.values()):
        note += (
            " Some latencies varied by more than a factor of two, as when other work runs on the machine: they have no "
            "share. To time models again on an idle machine: innerdistill speed FOLDER ..."
        )
    if not measured.keys() >= set(sizes):
        note += " A dash: the model was not on disk then."
    return Table("Sizes", (*header, "milliseconds", *last), tuple(timed), note)


def _build_scores(group: Group) -> Table:
    metric, *others = group.metrics
    teacher, on_selection = group.teacher, group.first_record.scores[SELECTION].student
    record = group.first_record.teacher
    assert record is not None
    header = [f"{SPLIT}, {group.first_scores.rows} examples", group.metric_name, SHARE_OF_TEACHER]
    header += [f"on {SELECTION}, {on_selection.rows} examples"]
    header += [AGREEMENT, *map(show_metric, others), "layers", SEEDS, "cosine per stage", "steps", "CPU seconds"]
    of_others = [NOT_APPLICABLE if teacher is None else _format(teacher.values[name]) for name in others]
    first = ["teacher", _format_teacher(group, SPLIT), "", _format_teacher(group, SELECTION), "", *of_others]
    rows = [[*first, str(record.layers or NOT_APPLICABLE)]]
    for method in group.methods.values():
        score = method.score(metric)
        row = [_format_name(method), str(score), _format_share(score.mean, teacher)]
        row += [str(method.score(group.get_metric(SELECTION), SELECTION)), str(method.agreement or NOT_APPLICABLE)]
        row += [str(method.score(name)) for name in others]
        row += [str(method.first_record.student.layers), str(len(method.runs)), " ".join(map(_format, method.cosines))]
        rows.append([*row, f"{method.steps:.0f}", f"{method.cpu_seconds:.0f}"])
    constant = group.first_scores.constant
    rows.append([CONSTANT_ANSWER, _format(constant), _format_share(constant, teacher)])
    return Table(
        "Scores",
        tuple(header),
        tuple(tuple(row + [""] * (len(header) - len(row))) for row in rows),
        " ".join(_explain_scores(group)),
    )


def explain_deviations(group: Group) -> list[str]:
    """Say what the numbers behind ± are in the table of scores.

    Args:
        group: runs of a task and setting.

    Returns:
        One or two sentences.
    """
    of_methods = ["± of a method is the standard deviation over seeds."] if group.has_several_seeds else []
    of_teacher = [] if group.is_agreement or group.teacher is None else [OF_TEACHER]
    return [*of_methods, *of_teacher]


def _explain_constant(group: Group) -> str:
    if group.is_agreement:
        return f"The {CONSTANT_ANSWER} is the one that agrees best with the teacher on {SPLIT}."
    is_of_train = all(run.record.data.constant is not None for run in group.list_runs())
    split = "train" if is_of_train else f"{SPLIT}, since runs are older than its choice on train"
    return f"The {CONSTANT_ANSWER} is the one that scores best on {split}."


def _explain_scores(group: Group) -> list[str]:
    notes = [
        *explain_deviations(group),
        ""
        if group.is_agreement or group.teacher is None
        else f"The share of teacher is that of its {group.metric_name}.",
        _explain_constant(group),
        *_explain_selection([group]),
        *_explain_given(group),
    ]
    notes += compare_orders(group)
    declared = [(comparison.method, comparison.against) for comparison in group.comparisons] + group.untested
    shown = [pair for pair in declared if set(pair) <= set(group.methods)]
    if declared and len(shown) < comb(len(group.methods), 2):
        notes.append("Only declared comparisons are tested. Other differences between methods are exploratory.")
    notes += list_differences(group)
    return list(filter(None, [*notes, group.note]))


def _build_distances(group: Group) -> Table:
    header, rows = ["after training"], [[method.name] for method in group.methods.values()]
    means = _average_spreads(group)
    spreads = [[f"{name}'s [CLS] between examples"] for name in means]
    shown = {"attention_kl": "KL", "cls_cosine": "CLS", "token_cosine": "tokens"}
    if not any(distance.token_cosine for method in group.methods.values() for distance in method.distances.values()):
        del shown["token_cosine"]
    for kind, name in shown.items():
        for pair in group.pairs:
            header.append(f"{name}, {pair[0]} ← {pair[1]}")
            for row, method in zip(rows, group.methods.values(), strict=True):
                mapped = pair in method.distances
                none = "∞" if kind == "attention_kl" else NOT_APPLICABLE
                row.append(_format(getattr(method.distances[pair], kind), none=none) if mapped else "–")
            for row, spread in zip(spreads, means.values(), strict=True):
                row.append(format_distance(spread.get(pair[1])) if kind == "cls_cosine" else NOT_APPLICABLE)
    return Table(
        "Distance from the teacher's internal representations",
        tuple(header),
        tuple(map(tuple, rows + spreads)),
        "KL: divergence of the attention distributions, in nats per token. CLS: cosine distance of the [CLS] vectors. "
        f"{'Tokens: cosine distance of the vectors of all tokens. ' if 'token_cosine' in shown else ''}"
        f"All are means over seeds and {SPLIT} examples. 1 ← 2 is layer 1 of the student and layer 2 of the teacher. "
        f"A dash: the method does not map these layers. {_explain_spreads(group)}",
    )


def _average_spreads(group: Group) -> dict[str, dict[int, float]]:
    """How much the [CLS] of the teacher, and of each internal teacher, differs between examples, by layer.

    The mean over teachers, if there are several; empty for the teacher where the runs are older than the measurement.
    """
    found: dict[str, dict[str, dict[int, float]]] = {"teacher": {}}
    for method in group.methods.values():
        for record in method.records:
            for name, model in (("teacher", record.teacher), ("internal teacher", record.internal_teacher)):
                if model is not None and model.cls_spread is not None:
                    found.setdefault(name, {})[model.fingerprint] = model.cls_spread
    means: dict[str, dict[int, float]] = {}
    for name, spreads in found.items():
        layers = sorted(set().union(*spreads.values()))
        means[name] = {layer: fmean(spread[layer] for spread in spreads.values()) for layer in layers}
    return means


def _explain_spreads(group: Group) -> str:
    """What the last rows of the table of distances mean, which layers say nothing, and who learned from whom."""
    notes = ["The last rows are mean cosine distances between the [CLS] of two examples."]
    for name, spread in _average_spreads(group).items():
        if not spread:
            notes.append("A dash there: the runs are older than this measurement.")
        notes.append(describe_constant_layers(spread, (pair[1] for pair in group.pairs), name=name))
    for method in group.methods.values():
        internal = method.first_record.internal_teacher
        if internal is not None:
            notes.append(f"The internal losses of {method.name} learned from {internal.path}, not from the teacher.")
    return " ".join(filter(None, notes))


def _explain_given(group: Group) -> list[str]:
    """What a teacher is that is known by its outputs alone, and why it has no size, layers or speed."""
    teacher = group.first_record.teacher
    if teacher is None or not teacher.is_given:
        return []
    missing = (
        "" if group.teacher is not None else f" The {SPLIT} split lacks them, so students have no agreement there."
    )
    return [f"{teacher.where} Nothing is known of its layers, its size or its speed.{missing}"]


def _format_share(score: float, teacher: Scores | None) -> str:
    return NOT_APPLICABLE if teacher is None else format_share(score, teacher)


def _format_name(method: Method) -> str:
    return method.name + (f" ({method.collapsed} of {len(method.runs)} collapsed)" if method.collapsed else "")


def _format_score(group: Group, name: str, split: str) -> str:
    if name not in group.methods:
        return "–"
    method = group.methods[name]
    return str(method.score(group.get_metric(split), split)) + (
        f" ({method.collapsed} collapsed)" if method.collapsed else ""
    )


def _format_teacher(group: Group, split: str) -> str:
    """The primary score of the teacher with its standard error over examples; a dash without labels or outputs."""
    scores = group.score_teacher(split)
    if scores is None or scores.is_agreement:
        return NOT_APPLICABLE
    return f"{_format(scores.primary)} ± {_format(scores.standard_error)}"


def _format(value: float | None, *, none: str = "–") -> str:
    return none if value is None else str(Value((value,)))
