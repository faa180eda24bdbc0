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

GO_ON = ("distill", "finetune", "sweep")  # verbs that go on where they were stopped


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


def say_what_went_wrong(error: BaseException, options: argparse.Namespace, arguments: Sequence[str]) -> int | None:
    """Print one sentence, and for verbs that go on where they were stopped, how.

    Args:
        error: what a verb raised.
        options: of the command line.
        arguments: its words.

    Returns:
        Exit code: 2; 130 when stopped by Ctrl-C, 143 by SIGTERM; None, and nothing is said, for an error that nobody
        foresaw, or if the user asked for tracebacks.
    """
    lost = _lost_process(error)  # torchrun stops every process that outlives another: asked first
    if isinstance(error, KeyboardInterrupt) and not lost:
        errors.print("innerdistill: stopped.", style="red")
        command = shlex.join(["innerdistill", *arguments])
        shown = "." if "RANK" in os.environ else f":\n  {command}"  # torchrun's own words are not known here
        _say_how_to_go_on(options, f"the same command goes on from there{shown}")
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
        _say_how_to_go_on(options, "once that is mended, the same command goes on from there.")
    return 2


def _say_how_to_go_on(options: argparse.Namespace, otherwise: str) -> None:
    if options.verb in GO_ON:
        errors.print(f"What is done is kept; {otherwise}", soft_wrap=True)


def _lost_process(error: BaseException) -> str | None:
    if "RANK" not in os.environ:
        return None
    from innerdistill.support.processes import describe_lost_process  # noqa: PLC0415 - it needs torch

    return describe_lost_process(error)
