"""What a command that fails prints, and its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from innerdistill.cli.terminal import errors, print_text
from innerdistill.recipe.loading import load_recipe
from innerdistill.support.files import describe_disk_problem
from innerdistill.support.messages import describe_memory_problem

RESUMING_VERBS = ("distill", "finetune", "sweep")


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
        if "RANK" in os.environ:  # the words of torchrun are not known here
            _explain_resuming(options, "Run the same command again to resume.")
        else:
            _explain_resuming(options, f"Run the same command again to resume:\n  {command}")
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
        _explain_resuming(options, "Once this is fixed, run the same command again to resume.")
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


def _explain_resuming(options: argparse.Namespace, sentence: str) -> None:
    if options.verb in RESUMING_VERBS:  # a command is copied from the terminal: not wrapped
        errors.print(f"Finished work is stored. {sentence}", highlight=False, soft_wrap=True)


def _describe_lost_process(error: BaseException) -> str | None:
    if "RANK" not in os.environ:
        return None
    from innerdistill.support.processes import describe_lost_process  # noqa: PLC0415 - it needs torch

    return describe_lost_process(error)
