"""train: run the stages of a job, or of its teacher's fine-tuning, with `distill_models`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.evaluation.scoring import score_outputs, select_numbers
from innerdistill.run.cost import count_steps, estimate_stage_costs
from innerdistill.run.distances import measure_stage
from innerdistill.run.job import Job
from innerdistill.support.messages import format_duration
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.targets import Targets

logger = logging.getLogger(__name__)


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

    def announce_time(number: int, seconds: float) -> None:
        if teacher is None:
            steps = float(count_steps(job, stages[0], len(setup.train)))
        else:
            costs = estimate_stage_costs(job, cached=teacher.list_cached_parts())[number - 1 :]
            steps = sum(cost.steps * cost.relative for cost in costs) / costs[0].relative  # as long as those measured
        name = "Fine-tuning" if teacher is None else "Training"
        logger.info("%s takes %s, judged by its first steps.", name, format_duration(steps * seconds))

    setup = make_setup(job, train=job.splits["train"] if teacher is None else job.select_student_examples())
    if teacher is not None:
        setup = replace(setup, measure=partial(measure_stage, job))
    return distill_models(
        teacher,
        model,
        stages=stages,
        setup=setup,
        folder=folder,
        resume=True,
        overwrite=job.recipe.overwrite,
        announce_time=announce_time,
    )


def make_setup(job: Job, *, train: Dataset) -> TrainingSetup:
    """Collect the data, losses and options that all stages of a job share.

    Args:
        job: job of the run.
        train: tokenised training examples.

    Returns:
        The setup.
    """
    recipe = job.recipe

    def score(model: PreTrainedModel, selection: Dataset) -> dict[str, float]:
        logits = predict_logits(model, selection, job.collate)
        return select_numbers(score_outputs(read_numbers(selection, "labels"), logits, scoring=job.scoring))

    return TrainingSetup(
        train=train,
        collate=job.collate,
        selection=job.scored_per_epoch,
        score=score,
        metric=job.metric,
        best=recipe.checkpoint == "best",
        trainer=recipe.trainer,
        internal_trainer=recipe.internal_trainer,
        losses=job.losses,
        temperature=recipe.temperature,
        group_by_length=recipe.group_by_length,
        seed=recipe.seed,
        checkpoint_minutes=recipe.checkpoint_minutes,
    )
