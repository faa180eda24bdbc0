"""Schedules: in which order the losses are optimised. Plain Python: a Stage can be printed, tested and plotted.

A new schedule is a function and an entry in SCHEDULES, or of an installed package. Layers are 1-based.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from innerdistill.losses.names import COSINES
from innerdistill.recipe.recipe import ScheduleRecipe
from innerdistill.support.extensions import Registry
from innerdistill.support.messages import join_names, suggest_name
from innerdistill.training.stage import Stage

BASELINE = "finetune"  # schedule of a run's baseline: the same student, trained without distillation


@dataclass(frozen=True)
class SchedulePlan:
    """What a schedule builds its stages from.

    Attributes:
        pairs: teacher layer by student layer, ascending.
        internal: weight by name of the internal losses.
        classification: weight by name of the output losses: soft labels, gold labels and others.
        recipe: lengths, threshold and options.
    """

    pairs: Mapping[int, int]
    internal: Mapping[str, float]
    classification: Mapping[str, float]
    recipe: ScheduleRecipe

    def build_internal_stage(self, name: str, pairs: Mapping[int, int], *, layers: int = 1) -> Stage:
        """Build a stage of the internal losses.

        Args:
            name: name of the stage, unique within a schedule.
            pairs: teacher layer by student layer, where the losses are measured.
            layers: length, as a multiple of the length of one layer: all layers, PID and SID spend the same in total.

        Returns:
            The stage.
        """
        always = self.classification if self.recipe.classification_always else {}
        return Stage(
            name=name,
            losses={**self.internal, **always},
            pairs=pairs,
            epochs=None if self.recipe.total_steps else layers * self.recipe.epochs_per_layer,
            steps=layers * self._steps_per_layer if self.recipe.total_steps else None,
            threshold=self.recipe.threshold,
            is_internal=True,
        )

    def build_last_stage(self) -> Stage:
        """Build the stage of the output losses that follows the internal stages of all pairs.

        Returns:
            A stage with the optimiser steps that the internal stages leave, where the recipe gives their total.
        """
        total = self.recipe.total_steps
        steps = max(1, total - len(self.pairs) * self._steps_per_layer) if total else None
        return self.build_classification_stage(self.classification, steps=steps)

    def build_classification_stage(
        self, losses: Mapping[str, float], *, steps: int | None, name: str = "classification"
    ) -> Stage:
        """Build a stage of output losses.

        Args:
            losses: weight by name.
            steps: length in optimiser steps; None takes `schedule.classification_epochs`.
            name: name of the stage, unique within a schedule.

        Returns:
            The stage.
        """
        epochs = None if steps else self.recipe.classification_epochs
        return Stage(name=name, losses=losses, pairs={}, epochs=epochs, steps=steps)

    @property
    def _steps_per_layer(self) -> int:
        # The layers share half of the steps equally; what does not divide goes to classification.
        return max(1, (self.recipe.total_steps or 0) // (2 * len(self.pairs)))


@dataclass(frozen=True)
class Schedule:
    """A schedule and its traits.

    Attributes:
        function: builds the stages, in order, from a plan.
        has_internal_stages: whether it has stages that only compare layers. They take half of `schedule.total_steps`,
            have a learning rate of their own and can end at a threshold.
        compares_layers: whether it uses the internal losses, in a stage of their own or beside the output losses.
        reads_teacher: whether it distills. If not, unlabelled examples are left out, and no loss needs a weight.

    Raises:
        ValueError: traits that exclude one another.
    """

    function: Callable[[SchedulePlan], list[Stage]]
    has_internal_stages: bool = True
    compares_layers: bool = True
    reads_teacher: bool = True

    def __post_init__(self) -> None:
        """Refuse traits that exclude one another."""
        if self.has_internal_stages and not self.compares_layers:
            raise ValueError("a schedule has internal stages but compares no layers; set has_internal_stages=False.")
        if self.compares_layers and not self.reads_teacher:
            raise ValueError("a schedule compares layers but does not read the teacher; set compares_layers=False.")


def finetune(plan: SchedulePlan) -> list[Stage]:
    """E1.1: gold labels only, no distillation.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage.
    """
    gold = {"gold_labels": plan.classification.get("gold_labels") or 1.0}
    return [plan.build_classification_stage(gold, steps=plan.recipe.total_steps)]


def soft_labels(plan: SchedulePlan) -> list[Stage]:
    """E2.0, E2.1: standard distillation from the teacher's probabilities, with gold labels if they have a weight.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage.
    """
    return [plan.build_classification_stage(plan.classification, steps=plan.recipe.total_steps)]


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


def all_layers(plan: SchedulePlan) -> list[Stage]:
    """E3.2: the internal losses of all layers together, then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        Two stages.
    """
    return [plan.build_internal_stage("all layers", plan.pairs, layers=len(plan.pairs)), plan.build_last_stage()]


def pid(plan: SchedulePlan) -> list[Stage]:
    """E3.3, progressive internal distillation: layer 1, then layer 2, ... bottom-up one at a time, then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage per layer and one for classification.
    """
    stages = [plan.build_internal_stage(f"layer {k}", {k: m}) for k, m in plan.pairs.items()]
    return [*stages, plan.build_last_stage()]


def sid(plan: SchedulePlan) -> list[Stage]:
    """E3.4, stacked internal distillation (Algorithm 1): layer 1, then 1+2, then 1+2+3, ... then classification.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage per layer and one for classification.
    """
    pairs = list(plan.pairs.items())
    stacks = [dict(pairs[:height]) for height in range(1, len(pairs) + 1)]
    stages = [plan.build_internal_stage(f"layer {'+'.join(map(str, stack))}", stack) for stack in stacks]
    return [*stages, plan.build_last_stage()]


SCHEDULES = Registry(
    "schedules",
    Schedule,
    {
        "finetune": Schedule(finetune, has_internal_stages=False, compares_layers=False, reads_teacher=False),
        "soft_labels": Schedule(soft_labels, has_internal_stages=False, compares_layers=False),
        "all_layers": Schedule(all_layers),
        "joint": Schedule(joint, has_internal_stages=False),
        "pid": Schedule(pid),
        "sid": Schedule(sid),
    },
)


def check_schedule(name: str) -> None:
    """Check the name of a schedule.

    Args:
        name: `schedule.name` of a recipe.

    Raises:
        ValueError: it is none of SCHEDULES, or the package that brings it cannot be imported.
    """
    if name not in SCHEDULES and name.lower().startswith("distil"):
        raise ValueError(
            f"schedule.name: unknown schedule {name!r}. Did you mean 'sid' (the default, with internal layers) or "
            f"'soft_labels' (outputs alone)? Schedules: {join_names(sorted(SCHEDULES))}."
        )
    if name not in SCHEDULES:
        raise ValueError(f"schedule.name: unknown schedule {name!r}. {suggest_name(name, SCHEDULES, kind='schedules')}")
    SCHEDULES[name]  # imports the schedule of an installed package, which may fail


def build_stages(plan: SchedulePlan) -> list[Stage]:
    """Build the stages of the schedule that the recipe names.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        Stages in order.

    Raises:
        ValueError: unknown schedule; no loss for a phase; too few steps; a threshold without the cosine loss.
    """
    check_schedule(plan.recipe.name)
    schedule = SCHEDULES[plan.recipe.name]
    _check_losses(plan, schedule)
    _check_lengths(plan, schedule)
    stages = schedule.function(plan)
    if not schedule.has_internal_stages and any(stage.is_internal for stage in stages):
        raise ValueError(
            f"schedule.name: the schedule {plan.recipe.name!r} has internal stages; register it with "
            "has_internal_stages=True."
        )
    return stages


def _check_losses(plan: SchedulePlan, schedule: Schedule) -> None:
    if schedule.reads_teacher and not plan.classification:
        raise ValueError(
            f"losses: the schedule {plan.recipe.name!r} ends with classification, so losses.soft_labels or "
            "losses.gold_labels needs a weight above 0."
        )
    if schedule.compares_layers and not (plan.internal and plan.pairs):
        raise ValueError(
            f"losses: the schedule {plan.recipe.name!r} needs an internal loss (losses.attention_kl, "
            "losses.cls_cosine, or another that compares layers) with a weight above 0 and at least one mapped layer."
        )


def _check_lengths(plan: SchedulePlan, schedule: Schedule) -> None:
    total, fewest = plan.recipe.total_steps, 2 * len(plan.pairs)
    if schedule.has_internal_stages and total is not None and total < fewest:
        raise ValueError(
            f"schedule.total_steps: {total} steps are too few for {len(plan.pairs)} mapped layers; at least {fewest} "
            "are needed."
        )
    if plan.recipe.threshold is None:
        return
    if not schedule.has_internal_stages:
        raise ValueError(
            f"schedule.threshold: the schedule {plan.recipe.name!r} has no internal stage that a threshold could end."
        )
    if not plan.internal.keys() & set(COSINES):
        raise ValueError(
            "schedule.threshold: it is compared with the cosine loss of an internal stage, so it needs "
            "losses.cls_cosine or losses.token_cosine above 0."
        )
