"""The command line: one function per verb, which calls and prints. `parser` has the options of the verbs."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from innerdistill.cli.errors import handle_sigterm, report_error
from innerdistill.cli.parser import parse_arguments, write_example
from innerdistill.cli.plan_printing import print_plan
from innerdistill.cli.printing import (
    print_caches,
    print_families,
    print_first_recipe,
    print_keys,
    print_onnx,
    print_scores,
    print_speed,
    print_summary,
    print_sweep,
    print_sweep_plan,
)
from innerdistill.cli.terminal import MessageHandler, console, errors, hide_control_keys, print_text
from innerdistill.models.config_file import refuse_missing_folder
from innerdistill.recipe.keys import keys
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import Recipe
from innerdistill.sweep.grid import is_recipe, is_sweep, load_sweep
from innerdistill.training.stopping import stop_now

# Everything that needs torch is imported inside the verbs, so that --help and a wrong recipe answer at once.


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
            return VERBS[options.verb](options) or 0
        except (Exception, KeyboardInterrupt) as error:
            # torchrun sends SIGTERM to every process that outlives another. It must not cut off the message.
            with handle_sigterm(signal.SIG_IGN):
                code = report_error(error, options, sys.argv[1:] if arguments is None else arguments)
            if code is None:
                raise
            return code


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
    if _is_sweep(options):
        raise ValueError(f"{options.recipe} is a sweep; run it with: innerdistill sweep {shlex.quote(options.recipe)}")
    recipe = load_recipe(options.recipe, overrides=options.overrides)
    from innerdistill.run.preview import refuse_early  # noqa: PLC0415 - it needs pyarrow

    refuse_early(recipe, finetunes=finetunes, writes=writes)
    return recipe


def _is_sweep(options: argparse.Namespace) -> bool:
    """Whether the file of a command is a sweep. A command without a file and without a key is refused."""
    if not options.recipe and not options.overrides:
        raise ValueError(
            f"{options.verb} needs a recipe file, or a model, a training file and its text column:\n"
            f"  {write_example(options.verb)}\n"
            "`innerdistill init` writes a recipe file for your data."
        )
    return is_sweep(options.recipe)


def _announce(recipe: Recipe, *, finetunes: bool = False) -> None:
    """Print the first line, before the slow imports."""
    from innerdistill.run.preview import describe_run  # noqa: PLC0415

    if _is_first_process():
        print_text(describe_run(recipe, finetunes=finetunes), to=errors)


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # the first process that torchrun starts


def _init(options: argparse.Namespace) -> None:
    from innerdistill.first_recipe.request import SPLITS, Request, check_request  # noqa: PLC0415
    from innerdistill.first_recipe.sample import read_sample  # noqa: PLC0415 - it needs pyarrow

    request = Request(
        model=options.base if options.teacher is None else options.teacher,
        is_teacher=options.teacher is not None,
        target=Path(options.output_file),
        text=tuple(options.text),
        label=options.label,
        files={split: file for split in SPLITS if (file := getattr(options, split)) is not None},
    )
    check_request(request)
    sample = read_sample(options.file)
    print_text(f"Look at {options.file} and {request.model}.", to=errors)
    _import_libraries()
    from innerdistill.first_recipe.first_recipe import write_first_recipe  # noqa: PLC0415

    print_first_recipe(write_first_recipe(sample, request), request.target)


def _plan(options: argparse.Namespace) -> None:
    if _is_sweep(options):
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

    _print_and_end(finetune(recipe).folder)


def _distill(options: argparse.Namespace) -> None:
    recipe = _load_recipe(options, writes=True)
    _announce(recipe)
    _import_libraries()
    from innerdistill.run.distill import distill  # noqa: PLC0415

    _print_and_end(distill(recipe).folder)


def _print_and_end(folder: Path) -> None:
    from innerdistill.support.processes import end_process_group, is_first_process  # noqa: PLC0415

    if is_first_process():
        print_summary(folder)
    end_process_group()


def _evaluate(options: argparse.Namespace) -> None:
    recipe = _load_recipe(options)
    refuse_missing_folder(options.model or "")
    _import_libraries()
    from innerdistill.report.record import Scores  # noqa: PLC0415
    from innerdistill.run.evaluate import evaluate  # noqa: PLC0415

    result = evaluate(recipe, model=options.model)
    for split, by_model in result["scores"].items():
        scores = {name: Scores.model_validate(of_model) for name, of_model in by_model.items()}
        print_scores(split, scores, result["agreement"].get(split))


def _predict(options: argparse.Namespace) -> None:
    refuse_missing_folder(options.model)
    _import_libraries()
    from innerdistill.run.predict import check_output, predict_blocks, write_tables  # noqa: PLC0415

    check_output(options.output, file=options.file)
    tables = predict_blocks(
        options.model,
        options.file,
        text=options.text,
        skip_empty=options.skip_empty,
        keep_json=options.output.endswith(".jsonl"),
    )
    rows = write_tables(tables, options.output)
    console.print(f"{rows:,} examples -> {options.output}", soft_wrap=True)


def _speed(options: argparse.Namespace) -> None:
    for model in options.models:
        refuse_missing_folder(model)
    _import_libraries()
    from innerdistill.evaluation.latency import measure_speed  # noqa: PLC0415
    from innerdistill.run.speed import load_models  # noqa: PLC0415

    for option in ("batch_size", "length", "repeats"):
        if getattr(options, option) < 1:
            raise ValueError(f"--{option.replace('_', '-')}: expected a number of at least 1.")
    from innerdistill.report.speed_record import ModelSpeed  # noqa: PLC0415

    measured = measure_speed(
        load_models(options.models), batch_size=options.batch_size, length=options.length, repeats=options.repeats
    )
    speeds = {name: ModelSpeed.model_validate(of_model) for name, of_model in measured.items()}
    print_speed(speeds)
    if not all(speed.latency_ms.is_steady for speed in speeds.values()):
        print_text(
            "Latencies varied by more than a factor of two, as when other work runs on the machine. Do not compare "
            "them; time again when it is idle."
        )


def _export(options: argparse.Namespace) -> None:
    refuse_missing_folder(options.model)
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
    from innerdistill.sweep.declaration import Sweep  # noqa: PLC0415

    print_keys(keys(Sweep))


def _report(options: argparse.Namespace) -> None:
    _import_libraries()
    from innerdistill.report.page import write_report  # noqa: PLC0415
    from innerdistill.sweep.declaration import SWEEP_FILE  # noqa: PLC0415
    from innerdistill.sweep.grid import read_sweep  # noqa: PLC0415
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
    _import_libraries()
    from innerdistill.sweep.gather_blocks import gather_blocks  # noqa: PLC0415
    from innerdistill.sweep.sweep import report_on, run_sweep  # noqa: PLC0415

    failed: dict[Path, str] = {}
    if options.gather:
        copied = gather_blocks(sweep, [Path(folder) for folder in options.gather])
        console.print(f"Gathered: {', '.join(file.name for file in copied) or 'nothing new'}.", soft_wrap=True)
        groups = report_on(sweep)
    else:
        results = run_sweep(sweep, workers=options.workers, blocks=options.block, console=errors)
        groups, failed = results.groups, results.failed
    print_sweep(groups)
    for folder, cause in failed.items():
        print_text(f"Failed: {folder}: {cause}", to=errors, style="red")
    console.print(f"Report  {Path(sweep.output, 'report.html')}", soft_wrap=True)
    return 1 if failed else 0


VERBS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "init": _init,
    "plan": _plan,
    "finetune": _finetune,
    "distill": _distill,
    "evaluate": _evaluate,
    "predict": _predict,
    "speed": _speed,
    "export": _export,
    "sweep": _sweep,
    "report": _report,
    "keys": _keys,
    "families": lambda options: print_families(options.family),
    "submit": _submit,
    "clean": _clean,
}


if __name__ == "__main__":
    sys.exit(main())
