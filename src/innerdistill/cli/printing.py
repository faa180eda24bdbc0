"""Print plans, scores, speed, sweeps and keys in 80 columns."""

from __future__ import annotations

import itertools
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from innerdistill.cli.terminal import console, create_table, errors, print_table, print_text
from innerdistill.models.tried_families import describe_family, read_tried_families
from innerdistill.support.extensions import describe_package, find_entry_points
from innerdistill.support.messages import format_duration

if TYPE_CHECKING:
    from innerdistill.first_recipe.first_recipe import FirstRecipe
    from innerdistill.recipe.keys import Key
    from innerdistill.report.record import Scores
    from innerdistill.report.speed_record import ModelSpeed, OnnxRecord
    from innerdistill.run.clean import CacheEntry
    from innerdistill.sweep.groups import Group
    from innerdistill.sweep.plan import SweepPlan

# Everything that needs torch is imported inside the functions, so that --help and a wrong recipe answer at once.

MAX_COLUMNS = 80  # columns of a terminal


def print_first_recipe(written: FirstRecipe, target: Path) -> None:
    """Print what a recipe was judged by, and what to do with it.

    Args:
        written: from `write_first_recipe`.
        target: the recipe.
    """
    for sentence in written.findings:
        print_text(sentence)
    for warning in written.warnings:
        print_text(f"Warning: {warning}", to=errors, style="bold yellow")
    console.print(f"Recipe  {target}", soft_wrap=True)
    print_text("Read it and correct what is wrong. Then:")
    console.print(f"  innerdistill plan {shlex.quote(str(target))}", soft_wrap=True)


def print_summary(folder: Path) -> None:
    """Print the results of a run: scores, speed, warnings, and where its files are.

    Args:
        folder: folder of a finished run.
    """
    from innerdistill.report.formatting import describe_search  # noqa: PLC0415
    from innerdistill.report.headline import compare_with_baseline, list_problems, summarize_run  # noqa: PLC0415
    from innerdistill.report.next_steps import suggest_next_steps  # noqa: PLC0415
    from innerdistill.report.run_folder import (  # noqa: PLC0415
        BASELINE_FOLDER,
        MODEL,
        REPORT,
        has_record,
        read_record,
    )

    record = read_record(folder)
    has_baseline = has_record(folder / BASELINE_FOLDER)
    baseline = read_record(folder / BASELINE_FOLDER) if has_baseline else None
    above_baseline = compare_with_baseline(folder, record) if has_baseline else None
    if record.data.labels:
        print_text(record.data.labels, style="bold")
    summary, has_problems = summarize_run(record, baseline, above_baseline=above_baseline), bool(list_problems(record))
    for sentence in summary if has_problems else ():  # it says what is wrong, and comes before everything else
        print_text(sentence, style="bold")
    for warning in record.warnings:
        print_text(f"Warning: {warning}", to=errors, style="bold yellow")
    for sentence in () if has_problems else summary:
        print_text(sentence, style="bold")
    trained = "student" if record.teacher is not None else "teacher"  # of `finetune`
    scores = {trained: record.scores["validation"].student}
    if record.scores["validation"].teacher is not None:
        scores["teacher"] = record.scores["validation"].teacher
    if record.scores["validation"].untrained is not None:
        scores["before training"] = record.scores["validation"].untrained
    if baseline is not None:
        scores["baseline"] = baseline.scores["validation"].student
    print_scores("validation", scores, record.agreement.get("validation"))
    if search := describe_search(record):
        print_text(search)
    speed = {trained: record.speed.student}
    if record.speed.teacher is not None:
        speed = {"teacher": record.speed.teacher, **speed}
    if record.speed.baseline is not None:
        speed["baseline"] = record.speed.baseline
    print_speed(speed)
    if record.onnx is not None:
        print_onnx(record.onnx)
    for step in suggest_next_steps(record, baseline):
        print_text(f"Next: {step}")
    console.print(f"Model   {folder / MODEL}\nReport  {folder / REPORT}", soft_wrap=True)


def print_scores(split: str, scores: Mapping[str, Scores], agreement: Mapping[str, float] | None) -> None:
    """Print the scores of models on one split.

    Args:
        split: name of the split.
        scores: scores by model, the trained one first.
        agreement: numbers on the agreement of student and teacher on that split.
    """
    from innerdistill.evaluation.metrics import show_metric  # noqa: PLC0415
    from innerdistill.problem_types.problem_types import show_agreement  # noqa: PLC0415
    from innerdistill.report.formatting import CONSTANT_ANSWER, format_share, list_metrics  # noqa: PLC0415

    trained, teacher = next(iter(scores.values())), scores.get("teacher")
    if trained.is_agreement:
        _print_agreement(split, scores, agreement or {})
        return
    names = list_metrics(trained)
    table = create_table(f"{split}, {trained.rows:,} examples", *map(show_metric, names), "of teacher")
    for name, row in scores.items():
        share = format_share(row.primary, teacher) if teacher and name != "teacher" else ""
        table.add_row(name, *(f"{row.values[key]:.4f}" for key in names), share)
    table.add_row(CONSTANT_ANSWER, f"{trained.constant:.4f}", *([""] * len(names)))
    print_table(table)
    if agreement:
        print_text(f"Agreement with the teacher: {show_agreement(agreement)}.")


def _print_agreement(split: str, scores: Mapping[str, Scores], agreement: Mapping[str, float]) -> None:
    """Print what a student has in common with its teacher on texts without labels."""
    from innerdistill.evaluation.metrics import show_metric  # noqa: PLC0415
    from innerdistill.report.formatting import CONSTANT_ANSWER  # noqa: PLC0415

    student = next(iter(scores.values()))
    table = create_table(f"{split}, {student.rows:,} texts", show_metric(student.metric), "distance of outputs")
    table.add_row("student", f"{student.primary:.4f}", f"{agreement['output_distance']:.3g}")
    for name in (name for name in scores if name not in {"student", "teacher"}):
        table.add_row(name, f"{scores[name].primary:.4f}", "")
    table.add_row(CONSTANT_ANSWER, f"{student.constant:.4f}", "")
    print_table(table)


def print_speed(speed: Mapping[str, ModelSpeed]) -> None:
    """Print size and latency of models.

    Args:
        speed: size and latency by model.
    """
    from innerdistill.report.formatting import format_latency  # noqa: PLC0415

    first = next(iter(speed.values()))
    title = f"batch {first.batch_size}, {first.length} tokens"
    table = create_table(title, "parameters", "without embeddings", "file", "latency", "p20 to p80")
    for name, row in speed.items():
        size = f"{row.file_bytes / 1e6:.0f} MB" if row.file_bytes else "–"
        counts = (f"{count / 1e6:.1f} M" for count in (row.parameters, row.parameters_without_embeddings))
        table.add_row(name, *counts, size, *format_latency(row.latency_ms))
    print_table(table)


def print_onnx(record: OnnxRecord) -> None:
    """Print the ONNX files beside the model that they were exported from.

    Args:
        record: sizes, latencies and scores, from `write_onnx`.
    """
    from innerdistill.report.file_table import build_file_table  # noqa: PLC0415

    header, rows = build_file_table(record)
    table = create_table(*header)
    for row in rows:
        table.add_row(*row)
    print_table(table)


def print_sweep(groups: Sequence[Group]) -> None:
    """Print the means and declared comparisons of a sweep.

    Args:
        groups: tasks and settings of the sweep, from `write_sweep_report`.
    """
    from innerdistill.sweep.headlines import describe_labels, describe_reserves  # noqa: PLC0415
    from innerdistill.sweep.report import describe_comparisons  # noqa: PLC0415
    from innerdistill.sweep.results import build_short_scores  # noqa: PLC0415
    from innerdistill.sweep.sizes import find_swept_numbers  # noqa: PLC0415 - what prints keys does not wait for SciPy
    from innerdistill.sweep.tables import explain_deviations  # noqa: PLC0415

    for sentence in describe_labels(groups):
        print_text(sentence, style="bold")
    for group in groups:
        if group.name:
            print_text(group.name, style="bold")
        sentences = group.describe_comparisons() if group.beside is None else []
        if not group.is_above_chance:  # a reader must not see the numbers first
            for sentence in sentences:
                print_text(f"Warning: {sentence}", to=errors, style="bold yellow")
            sentences = []
        scores = build_short_scores(group)
        table = create_table(*scores.header)
        for row in scores.rows:
            table.add_row(*row)
        print_table(table)
        print_text(" ".join(explain_deviations(group)))
        for sentence in [*sentences, *filter(None, [group.note])]:
            print_text(sentence)
        console.print()
    beside = describe_comparisons([group for group in groups if group.beside is not None])
    for sentence in [*beside, *describe_reserves(groups)]:
        print_text(sentence)
    for swept in find_swept_numbers(groups):
        for sentence in [*swept.describe(), *swept.name_smallest()]:
            print_text(sentence)


def print_sweep_plan(plan: SweepPlan) -> None:
    """Print runs and times of a sweep.

    Args:
        plan: plan from `plan_sweep`.
    """
    table = create_table("task", "setting", "method", "runs", "finished", "minutes")
    for row in plan.rows:
        setting = ", ".join(f"{key}={value}" for key, value in row.setting.items())
        minutes = f"{row.seconds_left / 60:.1f}"
        table.add_row(row.task, setting, row.method, str(row.runs), str(row.finished), minutes)
    shared = sum(plan.shared.values())
    table.add_row("teachers and their outputs", "", "", "", "", f"{shared / 60:.1f}")
    runs, finished = sum(row.runs for row in plan.rows), sum(row.finished for row in plan.rows)
    table.add_row("total", "", "", str(runs), str(finished), f"{plan.seconds / 60:.1f}")
    print_table(table)
    print_text(f"{finished} of {runs} runs are finished. What runs share is counted once.")
    print_text(f"The rest takes {format_duration(plan.seconds)} on this machine, one run at a time.")


def print_caches(entries: Sequence[CacheEntry]) -> None:
    """Print the entries of the caches, and how they are deleted.

    Args:
        entries: entries from `list_caches`.
    """
    table = create_table("name", "content", "size", "last use")
    for entry in entries:
        last_use = "in use now" if entry.in_use else f"{entry.last_use:%Y-%m-%d %H:%M}"
        table.add_row(entry.name, entry.content, f"{entry.file_bytes / 1e6:,.0f} MB", last_use)
    print_table(table)
    print_text(f"Together: {sum(entry.file_bytes for entry in entries) / 1e6:,.0f} MB.")
    print_text("`innerdistill clean --delete NAME ...` deletes entries.")


def print_families(name: str | None) -> None:
    """Print what is known of a family, or what was tried of each, and which families installed packages bring.

    Args:
        name: `model_type` of the family; None prints the table of all.
    """
    if name is not None:
        for sentence in describe_family(name):
            print_text(sentence)
        return
    table = create_table("family", "learned", "weights", "ONNX", "longest input", "SID keeps")
    for row in read_tried_families().values():
        onnx = {(True, True): "float32, int8", (True, False): "float32"}.get((row.onnx, row.int8), "no")
        longest = "no limit" if row.longest_input is None else f"{row.longest_input:,}"
        kept = "–" if row.kept_by_sid is None else f"{row.kept_by_sid:.0%}"
        table.add_row(row.family, row.learned, row.weights, onnx, longest, kept)
    print_table(table)
    for family, points in find_entry_points("families").items():
        print_text(f"{family}: layers, by the package {describe_package(points[0])}.")
    print_text(
        "learned: what a student can learn. ONNX: files that agree with the model. longest input: tokens, by the "
        "default configuration. SID keeps: what a student of half the layers kept of its teacher's lead on the tests' "
        "task."
    )
    print_text(
        "Models of other families can be teachers and students too, by their outputs. `innerdistill families NAME` "
        "says why the layers of a family are not read."
    )


def print_keys(keys: Sequence[Key]) -> None:
    """Print every key, grouped by section: name, type and default in one line, and the meaning below.

    In a pipe the meaning stands behind them in the same line, so that a search for a word of it finds the key.

    Args:
        keys: keys of a recipe or a sweep; those with a section are printed first.
    """
    has_sections = any("." in key.name for key in keys)
    for section, group in itertools.groupby(sorted(keys, key=_has_no_section), key=_get_section):
        if has_sections and console.is_terminal:
            print_text(section or "other keys", style="bold")
        for key in group:
            default = "; needed" if key.default == "(needed)" else key.default and f"; default {key.default}"
            head = f"{key.name}: {key.values}{default}"
            if not console.is_terminal:
                print_text(f"{head}. {key.meaning}")
                continue
            print_text(f"  {head}")
            for line in textwrap.wrap(key.meaning, MAX_COLUMNS - 6):
                print_text(f"      {line}")


def _has_no_section(key: Key) -> bool:
    return "." not in key.name


def _get_section(key: Key) -> str:
    return key.name.partition(".")[0] if "." in key.name else ""
