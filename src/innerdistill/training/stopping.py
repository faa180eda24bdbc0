"""Stopping a run: SIGTERM and Ctrl-C write a checkpoint and then end the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """A signal has stopped the process.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        """Write the message.

        Args:
            number: number of the signal.
        """
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}; a checkpoint is written, and the same call resumes the run")
        self.signal = number


class StopRequest:
    """Whether a signal has asked the run to stop.

    Attributes:
        number: number of the signal; None if there was none.
    """

    def __init__(self) -> None:
        """Begin without a request."""
        self.number: int | None = None

    def __bool__(self) -> bool:
        """Whether the run is asked to stop."""
        return self.number is not None

    def share(self) -> None:
        """Tell all processes if one of them was asked to stop."""
        from innerdistill.support.processes import gather_from_all  # noqa: PLC0415 - it needs torch, and the command line only Stopped

        for number in gather_from_all(self.number):
            if number is not None:
                self.number = number
                return

    def obey(self) -> None:
        """Stop the run if it is asked to.

        Raises:
            Stopped: the run is asked to stop.
        """
        if self.number is not None:
            raise Stopped(self.number)


def stop_now(number: int, _frame: FrameType | None = None) -> NoReturn:
    """Handle a signal by stopping at once.

    Args:
        number: number of the signal.
        _frame: frame that the signal interrupted.

    Raises:
        Stopped: always.
    """
    raise Stopped(number)


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Turn the first signal into a request to stop, so that a checkpoint can be written; a second one stops at once.

    Outside the main thread, where Python allows no signal handlers, signals are handled as before.

    Yields:
        The request, which says whether a signal has arrived.

    Raises:
        Stopped: at the end, if a signal arrived after the last checkpoint.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note_request(number: int, frame: FrameType | None) -> None:
        if request:
            stop_now(number, frame)
        request.number = number

    earlier_handlers = {number: signal.signal(number, note_request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in earlier_handlers.items():
            signal.signal(number, handler)
    request.obey()  # a signal that came too late for a checkpoint
