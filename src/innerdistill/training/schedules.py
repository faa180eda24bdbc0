"""Schedules: in which order the losses are optimised. Plain Python: a Stage can be printed, tested and plotted.

Adding a schedule is a function and an entry in SCHEDULES. Layers are 1-based.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innerdistill.recipe.recipe import ScheduleRecipe
from innerdistill.support.messages import suggest_name


@dataclass(frozen=True)
class Stage:
    """One training run inside a schedule: its own optimiser, learning-rate decay and end.

    Attributes:
        name: for people and folders.
        losses: weight of every loss that is on.
        pairs: teacher layer by student layer, where the internal losses are measured.
        epochs: length in epochs; None if `steps` is set.
        steps: length in optimiser steps; None if `epochs` is set.
        threshold: end when the mean training CLS cosine loss of the top layer over the last epoch is below this.
        is_internal: whether it belongs to the internal phase, which has its own learning rate.
    """

    name: str
    losses: Mapping[str, float]
    pairs: Mapping[int, int]
    epochs: float | None = None
    steps: int | None = None
    threshold: float | None = None
    is_internal: bool = False


@dataclass
class StageRecord:
    """What happened in a stage.

    Attributes:
        stage: as planned.
        ended: why it ended.
        steps: optimiser steps taken.
        seconds: wall time.
        cpu_seconds: processor time of this process.
        learned: whether any parameter of the student changed.
        thirds: mean loss in the first and in the last third of a stage of one epoch and at least 30 steps.
        epochs: per epoch: epoch, steps, losses by name (`attention_kl/2` is student layer 2), scores on selection.
    """

    stage: Stage
    ended: str = ""
    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    learned: bool = False
    thirds: list[float] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def warning(self) -> str | None:
        """A sentence if nothing was learned: no parameter changed, or the loss did not fall."""
        if not self.learned:
            return (
                f"No parameter of the student changed in stage {self.stage.name!r}: is the learning rate 0 "
                "(trainer.learning_rate, internal_trainer.learning_rate)?"
            )
        ends, part = self.thirds, "third"
        if len(self.epochs) > 1:
            ends, part = [self.epochs[i]["losses"]["loss"] for i in (0, -1)], "epoch"
        if not ends or ends[1] < ends[0]:
            return None
        return (
            f"The loss of stage {self.stage.name!r} did not fall ({ends[0]:.4g} in its first {part}, {ends[1]:.4g} in "
            "its last): the learning rate may be too high or too low, or the labels do not depend on the texts."
        )

    def happened(self) -> dict[str, Any]:
        """Everything but the plan, by name."""
        return {name: value for name, value in vars(self).items() if name != "stage"}

    def update(self, happened: Mapping[str, Any]) -> None:
        """Take over what happened before.

        Args:
            happened: as `happened` gave it.
        """
        for name, value in happened.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class SchedulePlan:
    """What a schedule is made of.

    Attributes:
        pairs: teacher layer by student layer, ascending.
        internal: weights of the internal losses.
        classification: weights of the soft, gold and other output losses.
        recipe: lengths, threshold and options.
    """

    pairs: Mapping[int, int]
    internal: Mapping[str, float]
    classification: Mapping[str, float]
    recipe: ScheduleRecipe


def finetune(plan: SchedulePlan) -> list[Stage]:
    """E1.1: gold labels only, no distillation.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage.
    """
    gold = {"gold_labels": plan.classification.get("gold_labels") or 1.0}
    return [_classification(plan, gold, steps=plan.recipe.total_steps)]


def soft_labels(plan: SchedulePlan) -> list[Stage]:
    """E2.0, E2.1: standard distillation from the teacher's probabilities, with gold labels if they have a weight.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage.
    """
    return [_classification(plan, plan.classification, steps=plan.recipe.total_steps)]


def all_layers(plan: SchedulePlan) -> list[Stage]:
    """E3.2: the internal losses of all layers together, then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        Two stages.
    """
    return [_internal(plan, "all layers", plan.pairs, layers=len(plan.pairs)), _last(plan)]


def joint(plan: SchedulePlan) -> list[Stage]:
    """Everything in one stage: internal and output losses together, as PKD trains.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage.
    """
    epochs = None if plan.recipe.total_steps else plan.recipe.classification_epochs
    losses = {**plan.internal, **plan.classification}
    return [Stage("joint", losses, plan.pairs, epochs=epochs, steps=plan.recipe.total_steps)]


def pid(plan: SchedulePlan) -> list[Stage]:
    """E3.3, progressive internal distillation: layer 1, then layer 2, ... bottom-up one at a time, then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage per layer and one for classification.
    """
    return [*(_internal(plan, f"layer {k}", {k: m}) for k, m in plan.pairs.items()), _last(plan)]


def sid(plan: SchedulePlan) -> list[Stage]:
    """E3.4, stacked internal distillation (Algorithm 1): layer 1, then 1+2, then 1+2+3, ... then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage per layer and one for classification.
    """
    pairs = list(plan.pairs.items())
    stacks = [dict(pairs[:n]) for n in range(1, len(pairs) + 1)]
    return [*(_internal(plan, f"layer {'+'.join(map(str, stack))}", stack) for stack in stacks), _last(plan)]


def check_schedule(name: str) -> None:
    """Check the name of a schedule.

    Args:
        name: `schedule.name` of a recipe.

    Raises:
        ValueError: it is none of SCHEDULES.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule.name: unknown schedule {name!r}: {suggest_name(name, SCHEDULES)}")


def make_stages(plan: SchedulePlan) -> list[Stage]:
    """The stages of the schedule that the recipe names.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        Stages in order.

    Raises:
        ValueError: unknown schedule; no loss left for a phase; a threshold without the cosine loss.
    """
    recipe = plan.recipe
    check_schedule(recipe.name)
    if recipe.name == "finetune":
        if recipe.threshold is not None:
            raise ValueError("schedule.threshold: the schedule 'finetune' has no internal stage to end.")
        return finetune(plan)
    if not plan.classification:
        raise ValueError(
            f"losses: the schedule {recipe.name!r} ends with classification, so losses.soft_labels or "
            "losses.gold_labels needs a weight above 0."
        )
    if recipe.name != "soft_labels" and not (plan.internal and plan.pairs):
        raise ValueError(
            f"losses: the schedule {recipe.name!r} needs an internal loss (losses.attention_kl, losses.cls_cosine, or "
            "another that compares layers) with a weight above 0 and at least one mapped layer."
        )
    has_internal_stages = recipe.name not in ("soft_labels", "joint")
    if has_internal_stages and recipe.total_steps is not None and recipe.total_steps < 2 * len(plan.pairs):
        raise ValueError(
            f"schedule.total_steps: {recipe.total_steps} steps are too few for {len(plan.pairs)} mapped layers; "
            f"at least {2 * len(plan.pairs)} are needed."
        )
    if recipe.threshold is not None and not (has_internal_stages and "cls_cosine" in plan.internal):
        raise ValueError(
            "schedule.threshold: it is compared with the CLS cosine loss of an internal stage, so it needs "
            "losses.cls_cosine above 0 and a schedule with internal stages."
        )
    return SCHEDULES[recipe.name](plan)


def _internal(plan: SchedulePlan, name: str, pairs: Mapping[int, int], *, layers: int = 1) -> Stage:
    # As long as `layers` layers are worth, so that all layers, PID and SID spend the same on the internal phase.
    recipe = plan.recipe
    always = plan.classification if recipe.classification_always else {}
    return Stage(
        name=name,
        losses={**plan.internal, **always},
        pairs=pairs,
        epochs=None if recipe.total_steps else layers * recipe.epochs_per_layer,
        steps=layers * _steps_per_layer(plan) if recipe.total_steps else None,
        threshold=recipe.threshold,
        is_internal=True,
    )


def _last(plan: SchedulePlan) -> Stage:
    total = plan.recipe.total_steps
    steps = max(1, total - len(plan.pairs) * _steps_per_layer(plan)) if total else None
    return _classification(plan, plan.classification, steps=steps)


def _steps_per_layer(plan: SchedulePlan) -> int:
    # Protocol A: the layers share half of the steps equally; what does not divide goes to classification.
    return max(1, (plan.recipe.total_steps or 0) // (2 * len(plan.pairs)))


def _classification(plan: SchedulePlan, losses: Mapping[str, float], *, steps: int | None) -> Stage:
    epochs = None if steps else plan.recipe.classification_epochs
    return Stage(name="classification", losses=losses, pairs={}, epochs=epochs, steps=steps)


SCHEDULES: dict[str, Callable[[SchedulePlan], list[Stage]]] = {
    "finetune": finetune,
    "soft_labels": soft_labels,
    "all_layers": all_layers,
    "joint": joint,
    "pid": pid,
    "sid": sid,
}
