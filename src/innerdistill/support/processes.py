"""Several processes, one per device, as `torchrun` or `accelerate launch` start them: who writes, and who waits.

With one process everything here does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


def is_first_process() -> bool:
    """Whether this process writes files and speaks."""
    return bool(PartialState().is_main_process)


def wait_for_all() -> None:
    """Wait until every process is here."""
    PartialState().wait_for_everyone()


def let_first_process_go_first() -> AbstractContextManager[None]:
    """Run a block in the first process before the others, which then find what it wrote."""
    context: AbstractContextManager[None] = PartialState().main_process_first()
    return context


def broadcast_from_first(value: T) -> T:
    """What the first process has.

    Args:
        value: of this process; plain data.

    Returns:
        The value of the first process.
    """
    received: T = broadcast_object_list([value])[0]
    return received


def gather_from_all(value: T) -> list[T]:
    """What every process has.

    Args:
        value: of this process; plain data.

    Returns:
        The values, in the order of the processes.
    """
    return [value] if count_processes() == 1 else list(gather_object([value]))


@contextmanager
def enter_in_first_process(context: AbstractContextManager[T]) -> Iterator[T]:
    """Let the first process enter a context for all; what goes wrong there goes wrong for all.

    Args:
        context: gives plain data.

    Yields:
        What it gave in the first process.

    Raises:
        ValueError: as the context.
    """
    if not is_first_process():
        given, problem = broadcast_from_first((None, None))
        if problem is not None:
            raise ValueError(problem)
        yield given  # type: ignore[misc]
        wait_for_all()
        return
    try:
        given = context.__enter__()
    except ValueError as error:
        broadcast_from_first((None, str(error)))
        raise
    broadcast_from_first((given, None))
    try:
        yield given
        wait_for_all()
    except BaseException as error:
        if not context.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        context.__exit__(None, None, None)


def count_processes() -> int:
    """How many processes share a run."""
    return int(PartialState().num_processes)


def describe_lost_process(error: BaseException | None) -> str | None:
    """What happened, if an error is that another process of the run is gone.

    Args:
        error: as it came out of a step, a barrier or a broadcast; those that were on their way when it came are looked
            at too.

    Returns:
        One sentence, or None for any other error.
    """
    while error is not None:
        # Of the backends, gloo has no error of its own, but names its source file in every message.
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error)):
            if "timed out" in str(error).lower():
                return (
                    "this process waited for the others for longer than trainer.ddp_timeout, in seconds; set it higher."
                )
            return "another process of this run has ended, so this one cannot continue."
        error = error.__context__
    return None


def end_process_group() -> None:
    """At the end of the command: part from the others, and end this process if there are any.

    It ends at once: a process whose work was done was seen to abort on its way out, and torchrun then calls the run
    failed.
    """
    together = count_processes() > 1
    PartialState().destroy_process_group()
    if together:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
