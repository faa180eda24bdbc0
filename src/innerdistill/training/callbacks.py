"""Callbacks of the Trainer: the progress bar of a stage, the end of its epochs, its checkpoints."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from innerdistill.support.messages import format_count
from innerdistill.support.processes import count_processes, gather_from_all, is_first_process, wait_for_all
from innerdistill.support.progress import open_bar
from innerdistill.training.checkpoints import Checkpoints
from innerdistill.training.loss_sums import LossSums
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.stopping import StopRequest

SHORTEST_WORK = 5.0  # seconds; less work than this is not worth a checkpoint of its own
STEPS_BETWEEN_AGREEMENTS = 10  # after so many steps, processes agree on whether to write a checkpoint

WARM_UP_STEPS = 2  # the first steps of a stage take longer than the others
FEWEST_TIMES, MOST_TIMES, ENOUGH_SECONDS = 5, 20, 5.0  # steps that a time per step is measured over, and their time

logger = logging.getLogger(__name__)


class StageProgress(ProgressCallback):
    """transformers' progress bar, with the name of the stage before it and the latest loss and score behind it."""

    def __init__(self, stage: Stage, *, number: int, stages: int, metric: str) -> None:
        """Choose what the bar shows.

        Args:
            stage: the stage, whose name is shown before the bar.
            number: number of the stage, 1-based.
            stages: number of stages of the schedule.
            metric: name of the score on the selection split, shown behind the bar.
        """
        super().__init__()
        self.stage, self.number, self.stages = stage, number, stages
        self.name = f"{stage.name} ({number}/{stages})"
        self.shown = {"loss": "loss", f"eval_{metric}": metric}
        self.values: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Announce the stage, and show the bar in a terminal or a notebook."""
        steps = format_count(state.max_steps, "step")
        logger.info("Stage %d of %d: %s, %s.", self.number, self.stages, self.stage.name, steps)
        if state.is_world_process_zero:
            self.training_bar = open_bar(self.name, total=state.max_steps, done=state.global_step)
        self.current_step = state.global_step

    def close(self) -> None:
        """Remove a bar that is not complete: the run was stopped, and its last line must be clean."""
        for bar in (self.training_bar, self.prediction_bar):
            if bar is not None:
                bar.leave = False
                bar.close()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show the latest loss and score behind the bar."""
        for key, name in self.shown.items():
            if logs and key in logs:
                self.values[name] = f"{logs[key]:.3f}"
        if self.training_bar is not None:
            self.training_bar.set_postfix(self.values)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log one line per epoch where no bar is shown, as in a log file."""
        super().on_evaluate(args, state, control, **kwargs)
        if self.training_bar is not None and self.training_bar.disable:
            values = ", ".join(f"{name} {value}" for name, value in self.values.items())
            logger.info("%s: step %d of %d, %s", self.name, state.global_step, state.max_steps, values)


class StepTimer(TrainerCallback):
    """Measures the time of a step over a few steps at a time, and calls a function with it."""

    def __init__(self, end_measurement: Callable[[int, float], None]) -> None:
        """Store the function.

        Args:
            end_measurement: function that gets the steps of the stage so far, and the median time of the latest steps
                in seconds.
        """
        self.end_measurement = end_measurement
        self.ends: list[float] = []  # times in seconds at which steps ended

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Note the time; call the function once the steps are enough, and start again."""
        self.ends.append(time.perf_counter())
        times = [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)][WARM_UP_STEPS:]
        if len(times) >= FEWEST_TIMES and (len(times) >= MOST_TIMES or sum(times) > ENOUGH_SECONDS):
            self.end_measurement(state.global_step, statistics.median(times))
            self.ends.clear()
        return control


class EpochEnd(TrainerCallback):
    """Calls a function at the end of every epoch."""

    def __init__(self, end_epoch: Callable[[Any, Any], None]) -> None:
        """Store the function.

        Args:
            end_epoch: function that gets transformers' TrainerState and TrainerControl.
        """
        self.end_epoch = end_epoch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Call the function."""
        self.end_epoch(state, control)
        return control


class Saver(TrainerCallback):
    """Requests a checkpoint every few minutes, after all but very short stages, and when a signal stops the run."""

    def __init__(
        self, checkpoints: Checkpoints, earlier_records: Sequence[StageRecord], *, minutes: float, stop: StopRequest
    ) -> None:
        """Choose when and where checkpoints are written.

        Args:
            checkpoints: checkpoints of the run.
            earlier_records: records of the finished stages.
            minutes: minutes between two checkpoints; 0 writes one after every step.
            stop: request to stop the run, read after every step.
        """
        self.checkpoints, self.earlier_records = checkpoints, list(earlier_records)
        self.seconds, self.stop = 60 * minutes, stop

    def seal(self, folder: Path, record: StageRecord, sums: LossSums) -> None:
        """Complete a checkpoint that the Trainer has written.

        Args:
            folder: folder of the checkpoint.
            record: record of the running stage.
            sums: sums of the losses in the running epoch, over all processes.
        """
        wait_for_all()  # each process writes the state of its random generators
        if is_first_process():
            sums.save(folder)
            self.checkpoints.seal(folder, [*self.earlier_records, record])
        wait_for_all()

    def end_stage(self, number: int, student: PreTrainedModel, record: StageRecord) -> None:
        """Save the student after a stage, if the stage was long enough or the run is asked to stop.

        Args:
            number: number of the stage, 1-based.
            student: student at the end of the stage.
            record: record of the stage.

        Raises:
            Stopped: the run was asked to stop.
        """
        if self._is_due(min(self.seconds, SHORTEST_WORK)):
            self.checkpoints.save_start(number + 1, student, [*self.earlier_records, record])
            self.stop.share()
            self.stop.obey()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Request a checkpoint inside an epoch, if one is due; after the last step of an epoch, `on_epoch_end` does."""
        can_agree = count_processes() == 1 or state.global_step % STEPS_BETWEEN_AGREEMENTS == 0
        if can_agree and not float(state.epoch).is_integer():
            self._request_checkpoint(state, control)
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Request a checkpoint between two epochs, if one is due."""
        self._request_checkpoint(state, control)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Stop the run if it was asked to, now that the checkpoint is on disk."""
        self.stop.share()
        self.stop.obey()
        return control

    def _request_checkpoint(self, state: Any, control: Any) -> None:
        if control.should_training_stop or state.global_step >= state.max_steps:
            return
        control.should_save |= self._is_due(self.seconds)

    def _is_due(self, seconds: float) -> bool:
        requests = gather_from_all((bool(self.stop), self.checkpoints.seconds_since_latest >= seconds))
        _, is_old = requests[0]  # the first process writes the checkpoint, so its clock counts
        return is_old or any(must_stop for must_stop, _ in requests)
