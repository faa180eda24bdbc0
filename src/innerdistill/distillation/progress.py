"""A progress bar per stage that says which stage it is and how loss and score stand."""

from __future__ import annotations

from typing import Any

from transformers.trainer_callback import ProgressCallback


class StageProgress(ProgressCallback):
    """transformers' progress bar with a name, and with the last values behind it instead of lines of logs."""

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
        """Show the bar."""
        super().on_train_begin(args, state, control, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description(self.name)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Put loss and score behind the bar."""
        self.values |= {name: f"{(logs or {})[key]:.3f}" for key, name in self.shown.items() if key in (logs or {})}
        if self.training_bar is not None:
            self.training_bar.set_postfix(self.values)
