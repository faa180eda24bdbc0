"""train: run the stages of a job, or of its teacher's fine-tuning, with `distill_models`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import Dataset
from scipy.special import logit
from transformers import PreTrainedModel

from innerdistill.data.batches import drop_given
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.evaluation.scoring import score_outputs, select_numbers
from innerdistill.recipe.reporting import HUB_KEYS, drop_reporting
from innerdistill.run.cost import count_steps, estimate_stage_costs
from innerdistill.run.distances import measure_stage
from innerdistill.run.job import Job
from innerdistill.support.messages import format_duration
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.targets import Targets

WRONG = 1.5  # an estimate that is off by more than this factor is corrected, once
SHORTEST_ERROR = 60.0  # seconds; a smaller error of an estimate is not worth a sentence

logger = logging.getLogger(__name__)


class TimeEstimate:
    """Tells how long training takes: once by its first steps, and once more if that turns out to be wrong."""

    def __init__(self, name: str, lengths: Sequence[tuple[float, float]]) -> None:
        """Store what is known before training.

        Args:
            name: `Training` or `Fine-tuning`.
            lengths: steps of every stage, and the cost of a step in any unit.
        """
        self.name, self.lengths = name, lengths
        self.seconds_per_unit: float | None = None
        self.is_corrected = False

    def __call__(self, number: int, step: int, seconds: float) -> None:
        """Compare the time of the latest steps with what was told.

        Args:
            number: number of the stage, 1-based.
            step: steps of the stage so far.
            seconds: time of a step in seconds.
        """
        (steps, cost), later = self.lengths[number - 1], self.lengths[number:]
        units_later, seconds_per_unit = sum(steps * cost for steps, cost in later), seconds / cost
        if self.seconds_per_unit is None:
            self.seconds_per_unit = seconds_per_unit
            duration = format_duration((steps * cost + units_later) * seconds_per_unit)
            logger.info("%s takes %s, judged by its first steps.", self.name, duration)
            return
        rest = max(0.0, steps - step) * cost + units_later
        told, now = rest * self.seconds_per_unit, rest * seconds_per_unit
        if not self.is_corrected and abs(now - told) > SHORTEST_ERROR and not told / WRONG <= now <= told * WRONG:
            self.is_corrected = True
            logger.info("The rest of the %s takes %s.", self.name.lower(), format_duration(now))


def train(
    job: Job, model: PreTrainedModel, *, folder: Path, teacher: Targets | None, stages: Sequence[Stage]
) -> list[StageRecord]:
    """Train a model, and resume from the checkpoints of an unfinished run in its folder.

    Args:
        job: job of the run.
        model: untrained student, or base model that becomes the teacher; trained in place.
        folder: folder of the run.
        teacher: teacher outputs; None for fine-tuning.
        stages: stages in order.

    Returns:
        One record per stage.
    """
    setup = make_setup(job, train=job.splits["train"] if teacher is None else job.select_student_examples())
    if teacher is not None and job.teacher is not None:
        setup = replace(setup, measure=partial(measure_stage, job))
    if teacher is None:
        lengths = [(float(count_steps(job, stages[0], len(setup.train))), 1.0)]
    else:
        costs = estimate_stage_costs(job, cached=teacher.list_cached_parts())
        lengths = [(cost.steps, cost.relative) for cost in costs]
    return distill_models(
        teacher,
        model,
        stages=stages,
        setup=setup,
        folder=folder,
        resume=True,
        overwrite=job.recipe.overwrite,
        announce_time=TimeEstimate("Fine-tuning" if teacher is None else "Training", lengths),
    )


def make_setup(job: Job, *, train: Dataset) -> TrainingSetup:
    """Collect the data, losses and options that all stages of a job share.

    Args:
        job: job of the run.
        train: tokenised training examples.

    Returns:
        The setup.
    """
    recipe, scoring = job.recipe, job.get_scoring("selection")

    def score(model: PreTrainedModel, selection: Dataset) -> dict[str, float]:
        labels, logits = job.references_per_epoch, predict_logits(model, selection, job.collate)
        thresholds = job.problem_type.predictions.choose_thresholds(labels, logits, kind=recipe.data.thresholds)
        if thresholds is not None:  # those that the model would get if training ended here
            logits = logits - logit(thresholds)
        return select_numbers(score_outputs(labels, logits, scoring=scoring))

    return TrainingSetup(
        train=drop_given(train),
        collate=job.collate,
        selection=job.scored_per_epoch,
        score=score,
        metric=scoring.metric,
        best=recipe.checkpoint == "best",
        trainer=drop_reporting(recipe.trainer, HUB_KEYS),
        internal_trainer=recipe.internal_trainer,
        losses=job.losses,
        temperature=recipe.temperature,
        group_by_length=recipe.group_by_length,
        seed=recipe.seed,
        checkpoint_minutes=recipe.checkpoint_minutes,
        callbacks=job.callbacks,
    )
