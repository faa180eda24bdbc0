"""The command line: one function per verb, which parses, calls and prints."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import innerdistill
from innerdistill.cli.errors import handle_sigterm, report_error
from innerdistill.cli.printing import (
    print_caches,
    print_keys,
    print_onnx,
    print_plan,
    print_scores,
    print_speed,
    print_summary,
    print_sweep,
    print_sweep_plan,
)
from innerdistill.cli.terminal import MessageHandler, console, errors, hide_control_keys, print_text
from innerdistill.recipe.keys import keys
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import Recipe
from innerdistill.support.messages import shorten_value, suggest_name
from innerdistill.sweep.grid import is_recipe, is_sweep, load_sweep
from innerdistill.training.stopping import stop_now

# Everything that needs torch is imported inside the verbs, so that --help and a wrong recipe answer at once.

DESCRIPTION = "Distil a fine-tuned encoder into a student with half its layers, from its internal representations."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: words of the command line; by default those of this process.

    Returns:
        Exit code. 0: done. 1: runs of a sweep failed. 2: wrong input, disk fault, full memory or a lost process,
        explained in one sentence. 130: stopped by Ctrl-C. 143: stopped by SIGTERM.
    """
    options = parse_arguments(arguments)
    with handle_sigterm(stop_now), hide_control_keys():
        try:
            return options.function(options) or 0
        except (Exception, KeyboardInterrupt) as error:
            # torchrun sends SIGTERM to every process that outlives another. It must not cut off the message.
            with handle_sigterm(signal.SIG_IGN):
                code = report_error(error, options, sys.argv[1:] if arguments is None else arguments)
            if code is None:
                raise
            return code


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line.

    Args:
        arguments: words of the command line; by default those of this process.

    Returns:
        Values of the options, and the function of the verb.
    """
    parser = build_parser()
    _check_verb(parser, sys.argv[1:] if arguments is None else arguments)
    options, others = parser.parse_known_args(arguments)
    # argparse takes the overrides only in one piece. Those after an option are left over.
    if hasattr(options, "overrides") and not any(word.startswith("-") for word in others):
        options.overrides += others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return options


def _check_verb(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Suggest the nearest verb for one that is not known; argparse would only list them all."""
    known = parser.get_default("verbs")
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in known:
        parser.error(f"unknown verb {shorten_value(verb)}: {suggest_name(verb, known)}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(prog="innerdistill", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"innerdistill {innerdistill.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, function: Any, description: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=description, description=description)
        added.set_defaults(function=function)
        return added

    for name, function, description in (
        ("plan", _plan, "print sizes, parts and time of a recipe or a sweep without training"),
        ("finetune", _finetune, "fine-tune the recipe's teacher.base as a teacher"),
        ("distill", _distill, "distil a student and write its report"),
        ("evaluate", _evaluate, "score a student and its teacher"),
    ):
        added = verb(name, function, description)
        added.add_argument("recipe", help="YAML file of a recipe, or of a sweep" if name == "plan" else "YAML file")
        added.add_argument("overrides", nargs="*", metavar="key=value", help="override, such as schedule.name=pid")
        if name == "evaluate":
            added.add_argument("--model", help="model folder (default: model/ in the recipe's output)")
    added = verb("predict", _predict, "predict labels and probabilities for a file of texts")
    added.add_argument("model", help="model folder or run folder")
    added.add_argument("file", help="CSV, TSV, JSON lines or Parquet file")
    added.add_argument("--text", nargs="+", metavar="COLUMN", help="text column, or two (default: as in training)")
    added.add_argument("--output", required=True, help="CSV, JSON lines or Parquet file to write")
    added = verb("speed", _speed, "measure size and latency of models")
    added.add_argument("models", nargs="+", help="model folder, or run folder for its teacher and student")
    added.add_argument("--batch-size", type=int, default=1, help="examples per batch (default: 1)")
    added.add_argument("--length", type=int, default=32, help="tokens per example (default: 32)")
    added.add_argument("--repeats", type=int, default=30, help="timed batches per model (default: 30)")
    added = verb("export", _export, "export a model to ONNX in float32 and int8, and compare the files with it")
    added.add_argument("model", help="run folder or model folder")
    added = verb("sweep", _sweep, "run methods x tasks x settings x seeds and compare them")
    added.add_argument("sweep", help="YAML file")
    added.add_argument("overrides", nargs="*", metavar="key=value", help="such as recipe.data.path=/data/CoLA")
    added.add_argument("--workers", type=int, default=1, help="runs at a time; they share the CPU (default: 1)")
    verb("report", _report, "write report.html of a run or a sweep").add_argument("run", help="run or sweep folder")
    added = verb("keys", _keys, "explain every key of a recipe or a sweep")
    added.add_argument("of", nargs="?", choices=["recipe", "sweep"], default="recipe", help="default: recipe")
    added = verb("submit", _submit, "predict GLUE's test files and zip them for the GLUE server")
    added.add_argument("runs", nargs="+", metavar="run", help="run folders, one per task, or a sweep folder")
    for option, kind, words in (
        ("--method", str, "method of the sweep"),
        ("--seed", int, "seed of the sweep (default: its first)"),
    ):
        added.add_argument(option, type=kind, help=words)
    added.add_argument("--output", required=True, help="archive to write, such as submission.zip")
    added = verb("clean", _clean, "list the caches with their size and last use, and delete entries by name")
    added.add_argument("--folder", default=Recipe().teacher.folder, help="teacher.folder (default: %(default)s)")
    added.add_argument("--delete", nargs="+", metavar="NAME", default=[], help="names of entries, as they are listed")
    parser.set_defaults(verbs=list(verbs.choices))
    return parser


def _import_libraries() -> None:
    """Import the slow libraries, and turn off their messages and progress bars."""
    import datasets  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("innerdistill").handlers = [MessageHandler()]
    logging.getLogger("innerdistill").setLevel(logging.INFO if _is_first_process() else logging.ERROR)


def _load_recipe(options: argparse.Namespace, *, finetunes: bool = False, writes: bool = False) -> Recipe:
    """Load the recipe, and refuse what can be refused before torch is imported, which takes seconds."""
    if is_sweep(options.recipe):
        raise ValueError(f"{options.recipe} is a sweep; run it with: innerdistill sweep {shlex.quote(options.recipe)}")
    recipe = load_recipe(options.recipe, overrides=options.overrides)
    from innerdistill.run.preview import refuse_early  # noqa: PLC0415 - it needs pyarrow

    refuse_early(recipe, finetunes=finetunes, writes=writes)
    return recipe


def _announce(recipe: Recipe, *, finetunes: bool = False) -> None:
    """Print the first line, before the slow imports."""
    from innerdistill.run.preview import describe_run  # noqa: PLC0415

    if _is_first_process():
        print_text(describe_run(recipe, finetunes=finetunes), to=errors)


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # the first process that torchrun starts


def _plan(options: argparse.Namespace) -> None:
    if is_sweep(options.recipe):
        sweep = load_sweep(options.recipe, overrides=options.overrides)
        _import_libraries()
        from innerdistill.sweep.plan import plan_sweep  # noqa: PLC0415

        logging.getLogger("innerdistill").setLevel(logging.WARNING)  # one "Load data and models." per run says nothing
        print_sweep_plan(plan_sweep(sweep))
        return
    recipe = _load_recipe(options)
    _import_libraries()
    from innerdistill.run.assemble import assemble  # noqa: PLC0415

    print_plan(assemble(recipe))


def _finetune(options: argparse.Namespace) -> None:
    recipe = _load_recipe(options, finetunes=True, writes=True)
    _announce(recipe, finetunes=True)
    _import_libraries()
    from innerdistill.run.finetune import finetune  # noqa: PLC0415

    _print_and_end(finetune(recipe))


def _distill(options: argparse.Namespace) -> None:
    recipe = _load_recipe(options, writes=True)
    _announce(recipe)
    _import_libraries()
    from innerdistill.run.distill import distill  # noqa: PLC0415

    _print_and_end(distill(recipe))


def _print_and_end(folder: Path) -> None:
    from innerdistill.support.processes import end_process_group, is_first_process  # noqa: PLC0415

    if is_first_process():
        print_summary(folder)
    end_process_group()


def _evaluate(options: argparse.Namespace) -> None:
    recipe = _load_recipe(options)
    _import_libraries()
    from innerdistill.report.record import Scores  # noqa: PLC0415
    from innerdistill.run.evaluate import evaluate  # noqa: PLC0415

    result = evaluate(recipe, model=options.model)
    for split, by_model in result["scores"].items():
        scores = {name: Scores.model_validate(of_model) for name, of_model in by_model.items()}
        print_scores(split, scores, result["agreement"].get(split))


def _predict(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.run.predict import check_output, predict_blocks, write_tables  # noqa: PLC0415

    check_output(options.output)
    rows = write_tables(predict_blocks(options.model, options.file, text=options.text), options.output)
    console.print(f"{rows:,} examples -> {options.output}", soft_wrap=True)


def _speed(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.evaluation.latency import measure_speed  # noqa: PLC0415
    from innerdistill.run.speed import load_models  # noqa: PLC0415

    for option in ("batch_size", "length", "repeats"):
        if getattr(options, option) < 1:
            raise ValueError(f"--{option.replace('_', '-')}: expected a number of at least 1.")
    from innerdistill.report.record import ModelSpeed  # noqa: PLC0415

    measured = measure_speed(
        load_models(options.models), batch_size=options.batch_size, length=options.length, repeats=options.repeats
    )
    print_speed({name: ModelSpeed.model_validate(of_model) for name, of_model in measured.items()})


def _export(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.run.onnx import export, list_onnx_warnings  # noqa: PLC0415

    record = export(options.model)
    print_onnx(record)
    for sentence in list_onnx_warnings(record):
        print_text(f"Warning: {sentence}", to=errors, style="bold yellow")


def _keys(options: argparse.Namespace) -> None:
    if options.of == "recipe":
        print_keys(keys(Recipe))
        return
    from innerdistill.sweep.grid import Sweep  # noqa: PLC0415

    print_keys(keys(Sweep))


def _report(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.report.page import write_report  # noqa: PLC0415
    from innerdistill.sweep.grid import SWEEP_FILE, read_sweep  # noqa: PLC0415
    from innerdistill.sweep.sweep import report_on  # noqa: PLC0415

    sweep = Path(options.run) / SWEEP_FILE
    if sweep.is_file():
        print_sweep(report_on(read_sweep(sweep.parent)))
        report = sweep.with_name("report.html")
    else:
        report = write_report(options.run)
    console.print(str(report), soft_wrap=True)


def _submit(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.run.submission import write_submission  # noqa: PLC0415
    from innerdistill.sweep.sweep import choose_runs  # noqa: PLC0415

    runs = choose_runs(options.runs, method=options.method, seed=options.seed)
    written, missing = write_submission(runs, options.output)
    for sentence in missing:
        print_text(sentence, to=errors, style="yellow")
    console.print(f"{', '.join(written)} -> {options.output}", soft_wrap=True)


def _clean(options: argparse.Namespace) -> int:
    _import_libraries()
    from innerdistill.run.clean import delete_caches, list_caches  # noqa: PLC0415

    folder = Path(options.folder)
    if not options.delete:
        print_caches(list_caches(folder))
        return 0
    deleted, in_use = delete_caches(options.delete, folder)
    megabytes = sum(entry.file_bytes for entry in deleted) / 1e6
    console.print(f"Deleted: {', '.join(entry.name for entry in deleted) or 'nothing'} ({megabytes:,.0f} MB).")
    for name in in_use:
        errors.print(f"innerdistill: --delete: {name} is not deleted, since a running process uses it.", style="red")
    return 2 if in_use else 0


def _sweep(options: argparse.Namespace) -> int:
    if options.workers < 1:
        raise ValueError("--workers: expected a number of at least 1.")
    if is_recipe(options.sweep):
        raise ValueError(f"{options.sweep} is a recipe; run it with: innerdistill distill {shlex.quote(options.sweep)}")
    sweep = load_sweep(options.sweep, overrides=options.overrides)
    from innerdistill.sweep.sweep import run_sweep  # noqa: PLC0415

    groups, failed = run_sweep(sweep, workers=options.workers, console=errors)
    print_sweep(groups)
    for folder, cause in failed.items():
        print_text(f"Failed: {folder}: {cause}", to=errors, style="red")
    console.print(f"Report  {Path(sweep.output, 'report.html')}", soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
