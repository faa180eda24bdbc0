"""A progress bar per stage that says which stage it is and how loss and score stand."""

from __future__ import annotations

import logging
from typing import Any

from tqdm.auto import tqdm
from transformers.trainer_callback import ProgressCallback

logger = logging.getLogger(__name__)


class StageProgress(ProgressCallback):
    """transformers' progress bar with a name, and with the last values behind it."""

    def __init__(self, name: str, *, metric: str) -> None:
        """Prepare the bar.

        Args:
            name: shown in front of it.
            metric: score on the selection split that is shown behind it.
        """
        super().__init__()
        self.name = name
        self.shown = {"loss": "loss", f"eval_{metric}": metric}
        self.values: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar, in a terminal."""
        if state.is_world_process_zero:
            self.training_bar = tqdm(total=state.max_steps, desc=self.name, dynamic_ncols=True, disable=None)
        self.current_step = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Put loss and score behind the bar."""
        self.values |= {name: f"{(logs or {})[key]:.3f}" for key, name in self.shown.items() if key in (logs or {})}
        if self.training_bar is not None:
            self.training_bar.set_postfix(self.values)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """In a file of logs one line per epoch stands for the bar."""
        super().on_evaluate(args, state, control, **kwargs)
        if self.training_bar is not None and self.training_bar.disable:
            values = ", ".join(f"{name} {value}" for name, value in self.values.items())
            logger.info("%s: step %d of %d, %s", self.name, state.global_step, state.max_steps, values)
