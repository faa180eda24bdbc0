"""Progress bars in a terminal and in a notebook, and what other libraries print between them."""

from __future__ import annotations

import html
import io
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

INTERVAL = 0.5  # seconds between two updates of a bar in a notebook
STATE = "{n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
STYLE = "font-family: monospace; white-space: pre"


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook; tqdm.auto decides it in the same way."""
    return "ipykernel.zmqshell" in sys.modules


class NotebookBar(tqdm):
    """A bar that a notebook shows as one output, and replaces.

    It needs no ipywidgets, and a saved or converted notebook shows it too. tqdm.notebook does neither.
    """

    monitor_interval = 0  # no thread that also draws

    def __init__(self, *args: Any, **options: Any) -> None:
        """Show the empty bar.

        Args:
            *args: as those of tqdm.
            **options: as those of tqdm.
        """
        from IPython.display import display  # noqa: PLC0415 - only a notebook has it

        options |= {"gui": True, "file": io.StringIO(), "mininterval": INTERVAL}  # tqdm itself prints nothing then
        super().__init__(*args, **options)
        self._output = display(self._draw(), raw=True, display_id=True)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Replace the bar; tqdm calls this.

        Args:
            msg: text instead of the bar; not used.
            pos: line of the bar; not used.
        """
        self._output.update(self._draw(), raw=True)

    def close(self) -> None:
        """Show the last state, or nothing if the bar is to go."""
        if not self.disable:
            super().close()
            shown = self._draw() if self.leave else {"text/html": "", "text/plain": ""}
            self._output.update(shown, raw=True)

    def _draw(self) -> dict[str, str]:
        state = self.format_meter(**{**self.format_dict, "prefix": "", "bar_format": STATE})
        bar = f'<progress value="{self.n}" max="{self.total}"></progress>'
        return {
            "text/html": f'<div style="{STYLE}">{html.escape(self.desc)} {bar} {html.escape(state)}</div>',
            "text/plain": f"{self.desc}: {state}",
        }


def open_bar(name: str, *, total: int, done: int = 0, stays: bool = True, over: Iterable[Any] | None = None) -> tqdm:
    """Open a progress bar. A terminal and a notebook show it; a log file does not.

    Args:
        name: text before the bar.
        total: number of steps.
        done: number of steps that are done already.
        stays: whether the bar stays when it is complete.
        over: what the bar iterates over; None means that its owner calls `update`.

    Returns:
        The bar.
    """
    options = {"desc": name, "total": total, "initial": done, "leave": stays}
    if is_notebook():
        return NotebookBar(over, **options)
    return tqdm(over, **options, dynamic_ncols=True, disable=None)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide the bars "Loading weights", "Writing model shards" and "Map", and reports on weights that are new.

    Downloads from the model hub keep their bars, since they may take minutes. What the user turned off stays off.

    Yields:
        Nothing.
    """
    import datasets  # noqa: PLC0415 - these three take seconds
    from huggingface_hub.utils.tqdm import (  # noqa: PLC0415
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    of_transformers = transformers_logging.is_progress_bar_enabled()
    of_datasets = not datasets.are_progress_bars_disabled()
    of_hub = not are_progress_bars_disabled()
    verbosity = transformers_logging.get_verbosity()
    if of_transformers:
        transformers_logging.disable_progress_bar()  # also turns off those of the hub
    if of_datasets:
        datasets.disable_progress_bars()
    if of_hub:
        enable_progress_bars()
    if verbosity == logging.WARNING:
        transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if of_transformers:
            transformers_logging.enable_progress_bar()
        if of_datasets:
            datasets.enable_progress_bars()
        if not of_hub:
            disable_progress_bars()
