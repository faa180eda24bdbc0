"""What the verbs print: plans, scores, speed, sweeps, keys."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from innerdistill.recipe.keys import Key
    from innerdistill.report.record import Latency, ModelSpeed, OnnxRecord, Scores
    from innerdistill.run.job import Job
    from innerdistill.sweep.groups import Group

# Everything that needs torch is imported inside the functions, so that --help and a wrong recipe answer at once.

# What is printed may come from files: no markup, no emoji.
MAX_COLUMNS = 80  # columns of a terminal
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)


def print_plan(job: Job) -> None:
    """Stages, sizes and cost of a job that has not run.

    Args:
        job: from `assemble`.
    """
    from innerdistill.evaluation.latency import measure_size  # noqa: PLC0415
    from innerdistill.run.cost import estimate_stage_costs, measure_full_step  # noqa: PLC0415
    from innerdistill.run.teacher_cache import choose_cached_parts  # noqa: PLC0415

    sizes = (f"{measure_size(model)['parameters'] / 1e6:.1f} M" for model in (job.teacher, job.build_fresh_student()))
    counts = ", ".join(f"{split} {len(rows)}" for split, rows in job.splits.items())
    console.print(
        f"Teacher {job.architecture.num_layers} layers ({next(sizes)} parameters), student {job.num_layers} "
        f"({next(sizes)}); {job.architecture.hidden_size} wide, {job.architecture.num_heads} heads.\nRows: {counts}.",
        highlight=False,
        soft_wrap=True,
    )
    table = table_of("stage", "losses", "layers matched", "steps", "layers run", "cost of a step")
    kept = choose_cached_parts(job, job.select_student_examples())
    costs = estimate_stage_costs(job, cached=kept[1] if kept is not None else ())
    for cost in costs:
        pairs = ", ".join(f"{k}←{m}" for k, m in cost.stage.pairs.items()) or "–"
        layers = f"{cost.student_layers} + {cost.teacher_layers}"
        losses = ", ".join(cost.stage.losses)
        table.add_row(cost.stage.name, losses, pairs, str(cost.steps), layers, f"{cost.relative:.2f}")
    console.print(table)
    if kept is not None:
        store, parts = kept
        console.print(
            f"Teacher outputs are cached: {', '.join(part.name for part in parts)} "
            f"({sum(map(store.count_bytes, parts)) / 1e6:.0f} MB in {store.folder.parent}).",
            highlight=False,
            soft_wrap=True,
        )
    full_steps = sum(cost.steps * cost.relative for cost in costs)
    minutes = full_steps * measure_full_step(job) / 60
    teacher = " The teacher's own fine-tuning comes on top." if job.recipe.teacher.base else ""
    console.print(
        f"Layers run: student + teacher. A step of cost 1 is the whole teacher forward, the whole student forward and "
        f"backward.\nTogether as much as {full_steps:.0f} such steps, about {minutes:.1f} minutes on this machine now."
        f"{teacher}",
        highlight=False,
        soft_wrap=True,
    )


def print_summary(folder: Path) -> None:
    """Print the results of a run: scores, speed, warnings, and where its files are.

    Args:
        folder: folder of a finished run.
    """
    from innerdistill.report.run_folder import (  # noqa: PLC0415
        BASELINE_FOLDER,
        MODEL,
        REPORT,
        has_record,
        read_record,
    )

    record = read_record(folder)
    scores = {"student": record.scores["validation"].student}
    if record.scores["validation"].teacher is not None:
        scores["teacher"] = record.scores["validation"].teacher
    if has_record(folder / BASELINE_FOLDER):
        scores["plainly fine-tuned student"] = read_record(folder / BASELINE_FOLDER).scores["validation"].student
    print_scores("validation", scores, record.agreement.get("validation"))
    speed = {"student": record.speed.student}
    if record.speed.teacher is not None:
        speed = {"teacher": record.speed.teacher, **speed}
    print_speed(speed)
    if record.onnx is not None:
        print_onnx(record.onnx)
    for warning in record.warnings:
        errors.print(f"Warning: {warning}", style="bold yellow")
    console.print(f"Model   {folder / MODEL}\nReport  {folder / REPORT}", soft_wrap=True)


def print_scores(split: str, scores: Mapping[str, Scores], agreement: Mapping[str, float] | None) -> None:
    """Print the scores of models on one split.

    Args:
        split: name of the split.
        scores: scores by model; `student` is one of them.
        agreement: numbers on the agreement of student and teacher on that split.
    """
    from innerdistill.problem_types.problem_types import show_agreement  # noqa: PLC0415
    from innerdistill.report.formatting import format_share, list_metrics  # noqa: PLC0415

    student, teacher = scores["student"], scores.get("teacher")
    names = list_metrics(student)
    table = table_of(f"{split} ({student.rows} rows)", *names, f"{student.metric} kept")
    for name, row in scores.items():
        share = format_share(row.primary, teacher.primary) if teacher and name != "teacher" else ""
        table.add_row(name, *(f"{row.values[key]:.4f}" for key in names), share)
    table.add_row("best constant answer", f"{student.constant:.4f}", *([""] * len(names)))
    console.print(table)
    if agreement:
        console.print(f"Agreement with the teacher: {show_agreement(agreement)}.", highlight=False)


def print_speed(speed: Mapping[str, ModelSpeed]) -> None:
    """Print size and latency of models.

    Args:
        speed: size and latency by model.
    """
    first = next(iter(speed.values()))
    title = f"batch {first.batch_size}, {first.length} tokens"
    table = table_of(title, "parameters", "without embeddings", "file", "p20", "p50", "p80")
    for name, row in speed.items():
        size = f"{row.file_bytes / 1e6:.0f} MB" if row.file_bytes else "–"
        counts = (f"{count / 1e6:.1f} M" for count in (row.parameters, row.parameters_without_embeddings))
        table.add_row(name, *counts, size, *_format_latency(row.latency_ms))
    console.print(table)


def print_onnx(record: OnnxRecord) -> None:
    """Print the ONNX files beside the model that they were exported from.

    Args:
        record: sizes, latencies and scores, from `write_onnx`.
    """
    from innerdistill.problem_types.problem_types import show_agreement  # noqa: PLC0415

    metric = record.metric
    names = [metric, "as the model"] if metric else ["logits off by"]
    table = table_of(f"batch {record.batch_size}, {record.length} tokens", "size", *names, "p20", "p50", "p80")
    for row in record.files.values():
        if metric and row.scores is not None:
            numbers = [f"{row.scores[metric]:.4f}", show_agreement(row.agreement)]
        else:
            numbers = ["–" if row.largest_difference is None else f"{row.largest_difference:.1g}"]
        table.add_row(row.file, f"{row.file_bytes / 1e6:.0f} MB", *numbers, *_format_latency(row.latency_ms))
    console.print(table)


def _format_latency(latency: Latency) -> list[str]:
    return [f"{milliseconds:.1f} ms" for milliseconds in (latency.p20, latency.p50, latency.p80)]


def print_sweep(groups: Sequence[Group]) -> None:
    """The declared comparisons and the means of a sweep.

    Args:
        groups: from `write_sweep_report`.
    """
    from innerdistill.sweep.report import describe_comparisons  # noqa: PLC0415
    from innerdistill.sweep.sizes import find_swept_numbers  # noqa: PLC0415 - what prints keys does not wait for SciPy
    from innerdistill.sweep.tables import AGREEMENT, SEEDS, SHARE_OF_TEACHER, build_tables  # noqa: PLC0415

    for group in groups:
        if group.name:
            console.print(group.name, style="bold", highlight=False, markup=False, soft_wrap=True)
        scores, *_ = build_tables(group, alone=False)
        shown = [0, 1, *(scores.header.index(name) for name in (SHARE_OF_TEACHER, AGREEMENT, SEEDS))]
        table = table_of(*(scores.header[n] for n in shown))
        for column in table.columns[1:]:
            column.no_wrap = True  # numbers and their deviations
        for row in scores.rows:
            table.add_row(*(row[n] for n in shown))
        console.print(table)
        said = group.describe_comparisons() if group.beside is None else []
        for sentence in [*said, *filter(None, [group.note])]:
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        console.print()
    for sentence in describe_comparisons([group for group in groups if group.beside is not None]):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    for sentence in (
        said for swept in find_swept_numbers(groups) for said in [*swept.describe(), *swept.name_smallest()]
    ):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def print_keys(keys: Sequence[Key]) -> None:
    """Print every key in two lines, grouped by section: name, type and default; then the meaning.

    Args:
        keys: keys of a recipe or a sweep; those with a section are printed first.
    """
    has_sections = any("." in key.name for key in keys)
    for section, group in itertools.groupby(sorted(keys, key=_has_no_section), key=_get_section):
        if has_sections:
            console.print(section or "other keys", style="bold", highlight=False)
        for key in group:
            default = "; needed" if key.default == "(needed)" else key.default and f"; default {key.default}"
            for text, indent in ((f"{key.name}: {key.values}{default}", 2), (key.meaning, 6)):
                lines = textwrap.fill(text, MAX_COLUMNS, initial_indent=" " * indent, subsequent_indent=" " * 6)
                console.print(lines, highlight=False, soft_wrap=True)


def _has_no_section(key: Key) -> bool:
    return "." not in key.name


def _get_section(key: Key) -> str:
    return key.name.partition(".")[0] if "." in key.name else ""


def table_of(first: str, *others: str) -> Table:
    """An empty table.

    Args:
        first: heading of the first column, of texts.
        *others: headings of the columns of numbers.

    Returns:
        The table.
    """
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
