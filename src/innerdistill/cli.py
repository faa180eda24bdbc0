"""The command line: verbs -> functions. Parsing and printing only."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from innerdistill.config import Recipe, load_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Everything that needs torch is imported inside the verbs, so that --help and a wrong recipe answer at once.

DESCRIPTION = "Turn a fine-tuned encoder into a student with half the layers that behaves like it."

# What is printed may come from files: no markup, no emoji.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: words of the command line; None takes the process's.

    Returns:
        Exit code: 0, 1 if cells of a sweep failed, 2 for a mistake of the user's, said in one sentence, 130 when
        interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.function(options) or 0
    except ValueError as error:
        if options.traceback:
            raise
        errors.print(f"innerdistill: {error}", style="red")
        return 2
    except KeyboardInterrupt:
        errors.print("innerdistill: interrupted.", style="red")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="innerdistill", description=DESCRIPTION)
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, function: Any, description: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=description, description=description)
        added.set_defaults(function=function)
        return added

    for name, function, description in (
        ("plan", _plan, "print stages, sizes and cost of a recipe; train nothing"),
        ("finetune", _finetune, "fine-tune the recipe's teacher.base"),
        ("distill", _distill, "distil a student and write its report"),
        ("evaluate", _evaluate, "score a student beside its teacher"),
    ):
        added = verb(name, function, description)
        added.add_argument("recipe", help="YAML file")
        added.add_argument("overrides", nargs="*", metavar="key=value", help="for example schedule.name=pid")
        if name == "evaluate":
            added.add_argument("--model", help="model folder (default: model/ in the recipe's output)")
    added = verb("predict", _predict, "labels and probabilities for the rows of a file")
    added.add_argument("model", help="model folder or run folder")
    added.add_argument("file", help="CSV, TSV, JSON lines or Parquet")
    added.add_argument("--text", nargs="+", metavar="COLUMN", help="text column, or two (default: as trained)")
    added.add_argument("--output", required=True, help="CSV, JSON lines or Parquet file to write")
    added = verb("speed", _speed, "size and latency of models, side by side")
    added.add_argument("models", nargs="+", help="model folders; of a run folder, teacher and student are taken")
    added.add_argument("--batch-size", type=int, default=1)
    added.add_argument("--length", type=int, default=32, help="tokens per example")
    added.add_argument("--repeats", type=int, default=30)
    added = verb("sweep", _sweep, "run methods x tasks x settings x seeds, and compare them")
    added.add_argument("sweep", help="YAML file")
    added.add_argument("overrides", nargs="*", metavar="key=value", help="for example recipe.data.path=/data/CoLA")
    added.add_argument("--workers", type=int, default=1, help="runs at a time; they share the cores")
    added = verb("report", _report, "write report.html into the folder of a run or a sweep")
    added.add_argument("run", help="folder of a run or a sweep")
    return parser


def _use_torch() -> None:
    """Import what takes seconds, and keep its own messages and small bars out of ours."""
    import datasets  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    logging.getLogger("innerdistill").handlers = [handler]
    logging.getLogger("innerdistill").setLevel(logging.INFO)


def _recipe(options: argparse.Namespace) -> Recipe:
    return load_recipe(options.recipe, overrides=options.overrides)


def _plan(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    _use_torch()
    from innerdistill.assemble import assemble  # noqa: PLC0415
    from innerdistill.planning import seconds_per_full_step, stage_costs, targets_to_keep  # noqa: PLC0415
    from innerdistill.results.speed import size  # noqa: PLC0415

    job = assemble(recipe)
    sizes = (f"{size(model)['parameters'] / 1e6:.1f} M" for model in (job.teacher, job.fresh_student()))
    counts = ", ".join(f"{split} {len(rows)}" for split, rows in job.splits.items())
    console.print(
        f"Teacher {job.architecture.num_layers} layers ({next(sizes)} parameters), student {job.num_layers} "
        f"({next(sizes)}); {job.architecture.hidden_size} wide, {job.architecture.num_heads} heads.\nRows: {counts}.",
        highlight=False,
        soft_wrap=True,
    )
    table = _table("stage", "losses", "layers matched", "steps", "layers run", "cost of a step")
    kept = targets_to_keep(job, job.student_rows())
    costs = stage_costs(job, kept=kept[1] if kept is not None else ())
    for cost in costs:
        pairs = ", ".join(f"{k}←{m}" for k, m in cost.stage.pairs.items()) or "–"
        layers = f"{cost.student_layers} + {cost.teacher_layers}"
        losses = ", ".join(cost.stage.losses)
        table.add_row(cost.stage.name, losses, pairs, str(cost.steps), layers, f"{cost.relative:.2f}")
    console.print(table)
    if kept is not None:
        store, parts = kept
        console.print(
            f"The teacher's answers are kept: {', '.join(part.name for part in parts)} "
            f"({sum(map(store.bytes_of, parts)) / 1e6:.0f} MB in {store.folder.parent}).",
            highlight=False,
            soft_wrap=True,
        )
    full_steps = sum(cost.steps * cost.relative for cost in costs)
    minutes = full_steps * seconds_per_full_step(job) / 60
    teacher = " The teacher's own fine-tuning comes on top." if recipe.teacher.base else ""
    console.print(
        f"Layers run: student + teacher. A step of cost 1 is the whole teacher forward, the whole student forward and "
        f"backward.\nTogether as much as {full_steps:.0f} such steps, about {minutes:.1f} minutes on this machine now."
        f"{teacher}",
        highlight=False,
        soft_wrap=True,
    )


def _finetune(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    _use_torch()
    from innerdistill.pipeline import finetune  # noqa: PLC0415

    _summary(finetune(recipe))


def _distill(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    _use_torch()
    from innerdistill.pipeline import distill  # noqa: PLC0415

    _summary(distill(recipe))


def _evaluate(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    _use_torch()
    from innerdistill.pipeline import evaluate  # noqa: PLC0415

    found = evaluate(recipe, model=options.model)
    for split, scores in found["scores"].items():
        _print_scores(split, scores, found["agreement"].get(split))


def _predict(options: argparse.Namespace) -> None:
    _use_torch()
    from innerdistill.results.predict import check_format, predict_file, write_table  # noqa: PLC0415

    check_format(options.output)
    table = predict_file(options.model, options.file, text=options.text)
    write_table(table, options.output)
    console.print(f"{table.num_rows} rows -> {options.output}")


def _speed(options: argparse.Namespace) -> None:
    _use_torch()
    from innerdistill.models.loading import default_device, load_classifier  # noqa: PLC0415
    from innerdistill.results.run_folder import read_run  # noqa: PLC0415
    from innerdistill.results.speed import measure_speed  # noqa: PLC0415

    models: dict[str, PreTrainedModel] = {}
    for name in options.models:
        if (Path(name) / "run.json").is_file():
            teacher = read_run(name)["teacher"]
            if teacher:
                models[f"teacher of {Path(name).name}"] = load_classifier(teacher["path"])
            models[str(Path(name) / "model")] = load_classifier(str(Path(name) / "model"))
        else:
            models[name] = load_classifier(name)
    for model in models.values():
        model.to(default_device())
    for option in ("batch_size", "length", "repeats"):
        if getattr(options, option) < 1:
            raise ValueError(f"--{option.replace('_', '-')}: expected a number of at least 1.")
    found = measure_speed(models, batch_size=options.batch_size, length=options.length, repeats=options.repeats)
    _print_speed(found)


def _report(options: argparse.Namespace) -> None:
    _use_torch()
    from innerdistill.results.report import write_report  # noqa: PLC0415
    from innerdistill.sweep import SWEEP_FILE, load_sweep, write_report_of  # noqa: PLC0415

    sweep = Path(options.run) / SWEEP_FILE
    if sweep.is_file():
        report = write_report_of(load_sweep(sweep, overrides=[f"output={options.run}"])).with_suffix(".html")
    else:
        report = write_report(options.run)
    console.print(str(report), soft_wrap=True)


def _sweep(options: argparse.Namespace) -> int:
    from innerdistill.sweep import load_sweep, run_sweep  # noqa: PLC0415

    if options.workers < 1:
        raise ValueError("--workers: expected a number of at least 1.")
    report, failed = run_sweep(
        load_sweep(options.sweep, overrides=options.overrides), workers=options.workers, console=errors
    )
    console.print(report.read_text(encoding="utf-8"), soft_wrap=True)
    console.print(f"Report  {report.with_suffix('.html')}", soft_wrap=True)
    return 1 if failed else 0


def _summary(folder: Path) -> None:
    from innerdistill.results.report import write_report  # noqa: PLC0415
    from innerdistill.results.run_folder import read_run  # noqa: PLC0415

    report = write_report(folder)
    record = read_run(folder)
    scores = dict(record["scores"]["validation"])
    if (folder / "baseline" / "run.json").is_file():
        scores["plainly fine-tuned student"] = read_run(folder / "baseline")["scores"]["validation"]["student"]
    _print_scores("validation", scores, record["agreement"].get("validation"))
    _print_speed(record["speed"])
    for warning in record["warnings"]:
        errors.print(f"Warning: {warning}", style="bold yellow")
    console.print(f"Model   {folder / 'model'}\nReport  {report}", soft_wrap=True)


def _print_scores(split: str, scores: dict[str, Any], agreement: dict[str, Any] | None) -> None:
    from innerdistill.results.card import kept, metric_names  # noqa: PLC0415

    names = metric_names(scores["student"])
    metric, teacher = names[0], scores.get("teacher")
    table = _table(f"{split} ({scores['student']['rows']} rows)", *names, f"{metric} kept")
    for name, row in scores.items():
        share = kept(row[metric], teacher[metric]) if teacher and name != "teacher" else ""
        table.add_row(name, *(f"{row[key]:.4f}" for key in names), share)
    table.add_row("best constant answer", f"{scores['student']['constant']:.4f}", *([""] * len(names)))
    console.print(table)
    if agreement and "equal_predictions" in agreement:
        console.print(
            f"The student predicts as its teacher on {100 * agreement['equal_predictions']:.1f} % of the rows.",
            highlight=False,
        )


def _print_speed(found: dict[str, Any]) -> None:
    any_row = next(iter(found.values()))
    title = f"batch {any_row['batch_size']}, {any_row['length']} tokens"
    table = _table(title, "parameters", "without embeddings", "file", "p20", "p50", "p80")
    for name, row in found.items():
        size = f"{row['file_bytes'] / 1e6:.0f} MB" if row["file_bytes"] else "–"
        counts = (f"{row[key] / 1e6:.1f} M" for key in ("parameters", "parameters_without_embeddings"))
        table.add_row(name, *counts, size, *(f"{row['latency_ms'][p]:.1f} ms" for p in ("p20", "p50", "p80")))
    console.print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    sys.exit(main())
