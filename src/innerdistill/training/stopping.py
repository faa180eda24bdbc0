"""Stopping on purpose: SIGTERM and Ctrl-C end a run at its next checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """The user, or whoever runs the machine, has stopped the process.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        """Remember the signal.

        Args:
            number: of the signal.
        """
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


class StopRequest:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        """Nobody has."""
        self.number: int | None = None

    def __bool__(self) -> bool:
        """Whether somebody has."""
        return self.number is not None

    def agree(self) -> None:
        """Whoever was asked to, all processes were."""
        from innerdistill.support.processes import gather_from_all  # noqa: PLC0415 - it needs torch, and the command line only Stopped

        self.number = next((number for number in gather_from_all(self.number) if number is not None), None)

    def obey(self) -> None:
        """Stop, if somebody has asked to.

        Raises:
            Stopped: somebody has.
        """
        if self.number is not None:
            raise Stopped(self.number)


def stop_now(number: int, _frame: FrameType | None = None) -> NoReturn:
    """A handler of signals that stops at once.

    Args:
        number: of the signal.
        _frame: where the process was.

    Raises:
        Stopped: always.
    """
    raise Stopped(number)


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """While open, the first signal is noted, so that a checkpoint can be written first; the second stops at once.

    Outside the main thread, where no handlers can be set, signals do what they did.

    Yields:
        What to look at.

    Raises:
        Stopped: at the end, if there was a signal that nobody has looked at.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request:
            stop_now(number, frame)
        request.number = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    request.obey()  # it came too late for a checkpoint
