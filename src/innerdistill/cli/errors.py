"""What a command that fails prints, and its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from innerdistill.cli.terminal import errors, print_text
from innerdistill.recipe.loading import load_recipe, read_content
from innerdistill.recipe.recipe import Recipe, TeacherRecipe
from innerdistill.support.files import describe_disk_problem
from innerdistill.support.messages import describe_memory_problem

RESUMING_VERBS = ("distill", "finetune", "sweep")
NO_WORK = ("recipe.yaml", "tensorboard")  # what a run writes before its first checkpoint


@contextmanager
def handle_sigterm(handler: Any) -> Iterator[None]:
    """Handle SIGTERM inside the block. Outside the main thread, where no handler can be set, nothing changes.

    Args:
        handler: function, or a constant of the `signal` module.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report_error(error: BaseException, options: argparse.Namespace, arguments: Sequence[str]) -> int | None:
    """Print one sentence, and how to resume if the verb can.

    Args:
        error: exception that a verb raised.
        options: parsed command line.
        arguments: words of the command line.

    Returns:
        Exit code: 2, or 130 when stopped by Ctrl-C, or 143 when stopped by SIGTERM. None if nothing was printed, for an
        unexpected error or with --traceback.
    """
    lost = _describe_lost_process(error)  # torchrun stops every process that outlives another: asked first
    if isinstance(error, KeyboardInterrupt) and not lost:
        print_text("innerdistill: stopped.", to=errors, style="red")
        if _is_complete(options):
            print_text("The run is finished: nothing is left to resume.", to=errors)
            return 128 + getattr(error, "signal", signal.SIGINT)
        command = shlex.join(["innerdistill", *arguments])
        # The words of torchrun are not known here.
        _explain_resuming(options, "Run", end="." if "RANK" in os.environ else f":\n  {command}")
        return 128 + getattr(error, "signal", signal.SIGINT)
    if options.traceback:
        return None
    if isinstance(error, ValueError):
        print_text(f"innerdistill: {error}", to=errors, style="red")
        return 2
    memory_problem = describe_memory_problem(error)
    problem = memory_problem or describe_disk_problem(error) or lost
    if problem is None:
        return None
    print_text(f"innerdistill: {problem}", to=errors, style="red")
    if not memory_problem:
        _explain_resuming(options, "Once this is fixed, run")
    return 2


def _is_complete(options: argparse.Namespace) -> bool:
    """Whether the run of a command has written everything, so that only its printed summary was cut off."""
    if options.verb not in ("distill", "finetune"):
        return False
    from innerdistill.report.run_folder import list_missing  # noqa: PLC0415 - it needs pyarrow

    try:
        recipe = load_recipe(options.recipe, overrides=options.overrides)
        if options.verb == "finetune":
            recipe = recipe.model_copy(update={"baseline": False})
        return not list_missing(Path(recipe.output), recipe)
    except ValueError:  # a wrong recipe, or a damaged record
        return False


def _explain_resuming(options: argparse.Namespace, begin: str, *, end: str = ".") -> None:
    if options.verb in RESUMING_VERBS:
        stored, action = _describe_stored_work(options)
        sentence = f"{stored} {begin} the same command again to {action}{end}".lstrip()
        errors.print(sentence, highlight=False, soft_wrap=True)  # a command is copied from the terminal: not wrapped


def _describe_stored_work(options: argparse.Namespace) -> tuple[str, str]:
    """What a stopped command has stored, in a sentence, and whether the same command would resume or start."""
    try:
        file = options.sweep if options.verb == "sweep" else options.recipe
        content = read_content(file, overrides=options.overrides)
    except ValueError:
        return "", "resume"
    output = Path(str(content.get("output", _get_default_output(options.verb))))
    holds_work = _holds_runs(output) if options.verb == "sweep" else _holds_work(output, NO_WORK)
    if holds_work:
        return "Finished work is stored.", "resume"
    shared = content.get("recipe", content)  # a sweep has the recipe of all its runs in a section
    teacher = shared.get("teacher") if isinstance(shared, dict) else None
    folder = Path(str(teacher.get("folder", TeacherRecipe().folder) if isinstance(teacher, dict) else "."))
    if isinstance(teacher, dict) and _holds_work(folder):
        return f"Nothing is stored in {output} yet, but what is cached in {folder} is used again.", "resume"
    return "Nothing is stored yet.", "start"


def _get_default_output(verb: str) -> str:
    if verb != "sweep":
        return Recipe().output
    from innerdistill.sweep.declaration import Sweep  # noqa: PLC0415 - it needs more than most commands do

    return str(Sweep.model_fields["output"].default)


def _holds_runs(sweep: Path) -> bool:
    """Whether a sweep's folder holds a finished run, a block or a checkpoint, and not only what every sweep writes."""
    return any(next(sweep.rglob(name), None) is not None for name in ("run.json", "*.parquet", "checkpoint-*"))


def _holds_work(folder: Path, besides: Collection[str] = ()) -> bool:
    """Whether a folder holds more than some files, empty folders and those whose names begin with a dot."""
    if not folder.is_dir():
        return False
    for path in folder.iterdir():
        if path.name not in besides and path.name[0] != "." and (path.is_file() or any(path.iterdir())):
            return True
    return False


def _describe_lost_process(error: BaseException) -> str | None:
    if "RANK" not in os.environ:
        return None
    from innerdistill.support.processes import describe_lost_process  # noqa: PLC0415 - it needs torch

    return describe_lost_process(error)
