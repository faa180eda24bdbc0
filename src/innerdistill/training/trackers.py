"""Trackers: one run of W&B, MLflow or trackio for all stages, and TensorBoard files for each stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from innerdistill.recipe.reporting import TENSORBOARD
from innerdistill.support.messages import get_first_line
from innerdistill.support.processes import is_first_process
from innerdistill.training.stage import StageRecord

SCORE = "eval_"  # the Trainer's prefix of scores on the selection split


class Tracker(TrainerCallback):
    """One run of a tracker over all stages, through transformers' own callback.

    Steps count over all stages. Training values begin with the name of their stage, since each stage has another loss.
    Scores on the selection split have the same name in every stage.
    """

    def __init__(self, name: str) -> None:
        """Load transformers' callback.

        Args:
            name: name of the tracker, as transformers knows it.
        """
        self.name, self.stage, self.first_step = name, "", 0
        self.callback = get_reporting_integration_callbacks([name])[0]()
        self.latest: tuple[Any, ...] | None = None  # arguments of the latest event, once the run has begun
        self.is_shared = False  # whether the user began the run, so it stays open

    def begin_stage(self, record: StageRecord, *, first_step: int) -> None:
        """Tell which stage the next events belong to.

        Args:
            record: record of the stage.
            first_step: optimiser steps that the run took before this stage.
        """
        self.stage, self.first_step = record.stage.name, first_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the tracker's run in the first stage; its configuration is that of this stage."""
        is_first = self.latest is None
        self.latest = (args, state, control)
        if is_first:
            self.is_shared = RUN_IS_OPEN[self.name]()
            self._call(self.callback.on_train_begin, *self.latest, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Pass on the values of a step."""
        self.latest = (args, self._count_all_steps(state), control)
        named = {key if key.startswith(SCORE) else f"{self.stage}/{key}": value for key, value in (logs or {}).items()}
        self._call(self.callback.on_log, *self.latest, logs=named, **kwargs)

    def close(self, *, failed: bool) -> None:
        """End the tracker's run, unless the user began it.

        Args:
            failed: whether an exception or a signal ended the distillation.
        """
        if self.latest is None:
            return
        if failed and not self.is_shared:
            self._call(FAIL[self.name])
        elif not failed:
            self._call(self.callback.on_train_end, *self.latest)
            if not self.is_shared:
                self._call(FINISH[self.name])
        self.callback._auto_end_run = False  # MLflow's would end a later run when it is collected

    def _count_all_steps(self, state: Any) -> Any:
        state = copy.copy(state)
        state.global_step += self.first_step
        return state

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a function of the tracker, and explain its failure."""
        try:
            function(*args, **kwargs)
        except Exception as error:
            what = f"{self.name} failed, with {type(error).__name__}: {get_first_line(error)}"
            raise ValueError(
                f"trainer.report_to: {what}. The run can be resumed, also with trainer.report_to=none."
            ) from error


RUN_IS_OPEN: dict[str, Callable[[], bool]] = {
    "wandb": lambda: import_module("wandb").run is not None,
    "mlflow": lambda: import_module("mlflow").active_run() is not None,
    "trackio": lambda: False,  # transformers' callback always begins a run
}
FINISH: dict[str, Callable[[], Any]] = {  # what transformers' callback leaves open
    "wandb": lambda: import_module("wandb").finish(),
    "mlflow": lambda: None,
    "trackio": lambda: None,
}
FAIL: dict[str, Callable[[], Any]] = {
    "wandb": lambda: import_module("wandb").finish(exit_code=1),
    "mlflow": lambda: import_module("mlflow").end_run("FAILED"),
    "trackio": lambda: import_module("trackio").finish(),
}


@contextmanager
def open_trackers(names: Sequence[str]) -> Iterator[list[Tracker]]:
    """Open the trackers of a distillation in the first process, and end their runs with it.

    Args:
        names: names of the trackers; TensorBoard files are opened per stage.

    Yields:
        One callback per tracker; in the other processes none.
    """
    trackers = [Tracker(name) for name in names if name != TENSORBOARD] if is_first_process() else []
    try:
        yield trackers
    except BaseException:
        for tracker in trackers:
            tracker.close(failed=True)
        raise
    for tracker in trackers:
        tracker.close(failed=False)


@contextmanager
def open_tensorboard(names: Sequence[str], folder: Path, record: StageRecord) -> Iterator[list[TrainerCallback]]:
    """Open the TensorBoard files of a stage in the first process.

    Args:
        names: names of the trackers.
        folder: folder of the files.
        record: record of the stage.

    Yields:
        A callback that writes the files; none in the other processes, or if TensorBoard is not among the names.
    """
    if TENSORBOARD not in names or not is_first_process():
        yield []
        return
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra brings the package that it needs

    purge_step = record.steps + 1 if record.steps else None  # a resumed run logs the steps after its checkpoint again
    with SummaryWriter(str(folder), purge_step=purge_step) as writer:
        yield [TensorBoardCallback(writer)]
