"""How a command ends that goes wrong: what it says, and its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from innerdistill.cli.printing import errors
from innerdistill.support.files import describe_disk_problem
from innerdistill.support.messages import describe_memory_problem

RESUMABLE = ("distill", "finetune", "sweep")


@contextmanager
def sigterm(handler: Any) -> Iterator[None]:
    """While open, SIGTERM does this; outside the main thread, where no handlers can be set, what it did.

    Args:
        handler: a function, or one of the `signal` module's constants.
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
    """Print one sentence about an error and, for verbs that can resume, how to.

    Args:
        error: what a verb raised.
        options: parsed command line.
        arguments: words of the command line.

    Returns:
        Exit code: 2; 130 after Ctrl-C, 143 after SIGTERM. None, and nothing is printed, for an unforeseen error, or if
        the user asked for tracebacks.
    """
    lost = _describe_lost_process(error)  # torchrun stops every process that outlives another: asked first
    if isinstance(error, KeyboardInterrupt) and not lost:
        errors.print("innerdistill: stopped.", style="red")
        command = shlex.join(["innerdistill", *arguments])
        ending = "." if "RANK" in os.environ else f":\n  {command}"  # torchrun's own words are not known here
        _explain_resuming(options, f"run the same command again to resume{ending}")
        return 128 + getattr(error, "signal", signal.SIGINT)
    if options.traceback:
        return None
    if isinstance(error, ValueError):
        errors.print(f"innerdistill: {error}", style="red")
        return 2
    full = describe_memory_problem(error)
    problem = full or describe_disk_problem(error) or lost
    if problem is None:
        return None
    errors.print(f"innerdistill: {problem}", style="red", soft_wrap=True)
    if not full:
        _explain_resuming(options, "once this is fixed, run the same command again to resume.")
    return 2


def _explain_resuming(options: argparse.Namespace, how: str) -> None:
    if options.verb in RESUMABLE:
        errors.print(f"Nothing is lost: {how}", soft_wrap=True)


def _describe_lost_process(error: BaseException) -> str | None:
    if "RANK" not in os.environ:
        return None
    from innerdistill.support.processes import describe_lost_process  # noqa: PLC0415 - it needs torch

    return describe_lost_process(error)
