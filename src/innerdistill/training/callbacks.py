"""What happens beside the steps of a stage: its progress bar, the end of its epochs, its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from innerdistill.support.processes import count_processes, gather_from_all, is_first_process, wait_for_all
from innerdistill.training.checkpoints import Checkpoints
from innerdistill.training.loss_sums import LossSums
from innerdistill.training.stage import StageRecord
from innerdistill.training.stopping import StopRequest

SHORT = 5.0  # seconds of work that are not worth a checkpoint of their own
STEPS_TOGETHER = 10  # several processes ask each other after so many steps whether to write a checkpoint

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
            options: dict[str, Any] = {"initial": state.global_step, "dynamic_ncols": True, "disable": None}
            self.training_bar = tqdm(total=state.max_steps, desc=self.name, **options)
        self.current_step = state.global_step

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


class EpochEnd(TrainerCallback):
    """Calls a function at the end of every epoch."""

    def __init__(self, end_epoch: Callable[[Any, Any], None]) -> None:
        """Hold the function.

        Args:
            end_epoch: called with transformers' TrainerState and TrainerControl.
        """
        self.end_epoch = end_epoch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Call it."""
        self.end_epoch(state, control)
        return control


class Saver(TrainerCallback):
    """Asks for a checkpoint every few minutes, after a stage of some length, and when somebody wants to stop."""

    def __init__(
        self, checkpoints: Checkpoints, before: Sequence[StageRecord], *, minutes: float, stop: StopRequest
    ) -> None:
        """Say when and where.

        Args:
            checkpoints: of the run.
            before: records of the stages before.
            minutes: between two checkpoints; 0 writes one after every step.
            stop: looked at after every step.
        """
        self.checkpoints, self.before, self.seconds, self.stop = checkpoints, list(before), 60 * minutes, stop

    def seal(self, folder: Path, record: StageRecord, sums: LossSums) -> None:
        """Complete a checkpoint of the Trainer.

        Args:
            folder: of the checkpoint.
            record: of the stage until now.
            sums: of the losses of an unfinished epoch, over all processes.
        """
        wait_for_all()  # each process writes the state of its random generators
        if is_first_process():
            sums.save(folder)
            self.checkpoints.seal(folder, [*self.before, record])
        wait_for_all()

    def end_stage(self, number: int, student: PreTrainedModel, record: StageRecord) -> None:
        """Keep the student after a stage, if there was enough work in it or somebody has asked to stop.

        Args:
            number: of the stage, 1-based.
            student: as the stage left it.
            record: of the stage.

        Raises:
            Stopped: somebody has asked to.
        """
        if self._is_due(min(self.seconds, SHORT)):
            self.checkpoints.start_stage(number + 1, student, [*self.before, record])
            self.stop.agree()
            self.stop.obey()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for a checkpoint inside an epoch; after its last step the epoch's end does."""
        asks = count_processes() == 1 or state.global_step % STEPS_TOGETHER == 0
        if asks and not float(state.epoch).is_integer():
            self._ask(state, control)
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for a checkpoint between two epochs."""
        self._ask(state, control)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Stop, if somebody has asked to, now that everything is on disk."""
        self.stop.agree()
        self.stop.obey()
        return control

    def _ask(self, state: Any, control: Any) -> None:
        if control.should_training_stop or state.global_step >= state.max_steps:
            return
        control.should_save |= self._is_due(self.seconds)

    def _is_due(self, seconds: float) -> bool:
        asked = gather_from_all((bool(self.stop), self.checkpoints.age() >= seconds))
        return any(stop for stop, _ in asked) or asked[0][1]  # the first one writes, so its clock counts
