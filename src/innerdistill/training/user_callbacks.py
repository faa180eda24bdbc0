"""The callbacks of the user: checked before training, called in every stage, their mistakes told in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from innerdistill.support.user_code import HOW_TO_RESUME, describe_code
from innerdistill.training.stage import Stage

EVENTS = tuple(name for name in vars(TrainerCallback) if name.startswith("on_"))


class UserCallbacks(TrainerCallback, ExportableState):
    """Passes every event of the Trainer to the callbacks of the user, and checks what they did.

    Attributes:
        callbacks: callbacks of the user.
        stopper: name of the class of the callback that ended the stage; None if none did.
    """

    def __init__(self, callbacks: Sequence[TrainerCallback], stage: Stage, *, can_evaluate: bool) -> None:
        """Store the callbacks of one stage.

        Args:
            callbacks: callbacks of the user.
            stage: the stage.
            can_evaluate: whether there is a selection split to score.
        """
        self.callbacks, self.stage, self.can_evaluate = list(callbacks), stage, can_evaluate
        self.stopper: str | None = None
        for event in EVENTS:
            setattr(self, event, partial(self._pass_on, event))

    def state(self) -> dict[str, Any]:
        """Collect the state of every callback that has one, for a checkpoint.

        Returns:
            States in the order of the callbacks, as transformers stores them.
        """
        states = [callback.state() for callback in self.callbacks if isinstance(callback, ExportableState)]
        return {"args": {}, "attributes": {"states": states}}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Give the callbacks the state that they had at a checkpoint.

        Args:
            stored: what `state` returned.
        """
        stateful = [callback for callback in self.callbacks if isinstance(callback, ExportableState)]
        for callback, state in zip(stateful, stored["attributes"]["states"], strict=True):
            for name, value in state["attributes"].items():
                setattr(callback, name, value)

    def _pass_on(self, event: str, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Call one event of every callback."""
        for callback in self.callbacks:
            name, was_stopped = type(callback).__name__, control.should_training_stop
            try:
                control = getattr(callback, event)(args, state, control, **kwargs) or control
            except Exception as error:
                where = f"its {event} failed in stage {self.stage.name!r}, step {state.global_step}"
                what, way_out = f"{type(error).__name__}: {error}", HOW_TO_RESUME.format("callback")
                raise ValueError(f"callback {name}: {where}, with {what}. {way_out}") from error
            self._refuse_requests(name, control)
            if control.should_training_stop and not was_stopped:
                self.stopper = name
        return control

    def _refuse_requests(self, name: str, control: Any) -> None:
        if control.should_epoch_stop:
            raise ValueError(
                f"callback {name}: control.should_epoch_stop is not supported: a resumed run counts whole epochs; set "
                "control.should_training_stop to end the stage."
            )
        if control.should_evaluate and not self.can_evaluate:
            raise ValueError(
                f"callback {name}: control.should_evaluate is not supported without a selection split: there is "
                "nothing to score."
            )


def select_callbacks(callbacks: Sequence[TrainerCallback], stage: Stage) -> list[TrainerCallback]:
    """Select the callbacks of a stage: all of them, but no early stopping in an internal stage.

    An internal stage does not train the head, so the scores that early stopping compares mean little there.

    Args:
        callbacks: callbacks of the user.
        stage: stage of the schedule.

    Returns:
        The callbacks that see the events of the stage.
    """
    return [callback for callback in callbacks if not (stage.is_internal and _stops_early(callback))]


def needs_score(callbacks: Sequence[TrainerCallback], stage: Stage) -> bool:
    """Tell whether a callback compares the scores of a stage, as transformers' EarlyStoppingCallback does.

    Args:
        callbacks: callbacks of the user.
        stage: stage of the schedule.

    Returns:
        True for early stopping in a classification stage.
    """
    return any(_stops_early(callback) for callback in select_callbacks(callbacks, stage))


def check_callbacks(callbacks: Sequence[TrainerCallback], stages: Sequence[Stage], *, can_evaluate: bool) -> None:
    """Check the callbacks of the user before anything is trained.

    Args:
        callbacks: callbacks of the user.
        stages: stages of the schedule.
        can_evaluate: whether there is a selection split to score.

    Raises:
        ValueError: something else than a TrainerCallback, or early stopping without a score to compare.
    """
    for callback in callbacks:
        if isinstance(callback, type):
            raise ValueError(f"callbacks: expected objects, got the class {callback.__name__}: write it with brackets.")
        if not isinstance(callback, TrainerCallback):
            raise ValueError(
                f"callbacks: expected objects of a transformers.TrainerCallback, got {type(callback).__name__}."
            )
        if not _stops_early(callback):
            continue
        what = f"callbacks: {type(callback).__name__} is not supported"
        if not can_evaluate:
            raise ValueError(f"{what} without a selection split: there is no score to compare.")
        if all(stage.is_internal for stage in stages):
            raise ValueError(
                f"{what} in internal stages: they do not train the head, so their scores mean little; set the "
                "threshold of a stage instead."
            )


def describe_callbacks(callbacks: Sequence[TrainerCallback]) -> list[str]:
    """Describe callbacks for the identity of a run: a run with other callbacks may end with another student.

    Args:
        callbacks: callbacks of the user.

    Returns:
        Per callback the qualified name of its class, its arguments if it exports them, and a hash of the source of its
        class if there is one.
    """
    return [_describe_callback(callback) for callback in callbacks]


def _describe_callback(callback: TrainerCallback) -> str:
    description = describe_code(type(callback))
    if isinstance(callback, ExportableState):
        description += f" ({', '.join(f'{name}={value!r}' for name, value in callback.state()['args'].items())})"
    return description


def _stops_early(callback: TrainerCallback) -> bool:
    return isinstance(callback, EarlyStoppingCallback)
