"""What to try next, where a student is clearly below its teacher. Every suggestion follows from a measured number."""

from __future__ import annotations

from innerdistill.report.record import RunRecord, TrainedStage

SPLIT = "validation"
STILL_RISES = 0.002  # gain of the score on selection in the last epoch
FITS_TRAIN = 0.05  # more agreement with the teacher on train than on validation


def suggest_next_steps(record: RunRecord) -> list[str]:
    """Suggest what to try next for a student that is clearly below its teacher.

    Args:
        record: what happened and what came out.

    Returns:
        Sentences, each with its evidence and the key to set; none for a student that is not clearly below.
    """
    difference = (record.differences or {}).get(SPLIT)
    if record.teacher is None or difference is None or not difference.paired.is_clearly_negative:
        return []
    if record.scores[SPLIT].student.collapsed:
        return [_advise_for_one_answer(record)]
    steps = [*_suggest_learning_rate(record), *_suggest_more_steps(record), *_suggest_texts(record)]
    return steps + _suggest_layer(record, is_only_one=not steps)


def _advise_for_one_answer(record: RunRecord) -> str:
    """A student that predicts one class was trained for too few steps, or at another learning rate than it needs."""
    stage = record.stages[-1]
    rate = "" if stage.learning_rate is None else f" (its highest was {stage.learning_rate:.2g})"
    return (
        f"The student predicts one class after {stage.steps} steps in the last stage. Try another "
        f"trainer.learning_rate{rate}, or train longer with {_lengthen(record, stage)}."
    )


def _suggest_learning_rate(record: RunRecord) -> list[str]:
    """A loss that rose or swung between epochs."""
    for stage in record.stages:
        losses = [epoch.losses["loss"] for epoch in stage.epochs]
        if len(losses) > 1 and losses[-1] > min(losses) * 1.02:
            section = "internal_trainer" if stage.stage.is_internal else "trainer"
            rate = f" (its highest was {stage.learning_rate:.2g})" if stage.learning_rate else ""
            return [
                f"The loss of stage {stage.stage.name!r} rose from {min(losses):.4g} to {losses[-1]:.4g}: try half the "
                f"{section}.learning_rate{rate}."
            ]
    return []


def _suggest_more_steps(record: RunRecord) -> list[str]:
    """A score on selection that still rose when training ended."""
    stage = record.stages[-1]
    scores = [epoch.scores[record.data.metric] for epoch in stage.epochs if epoch.scores]
    if len(scores) < 2 or scores[-1] - max(scores[:-1]) < STILL_RISES:
        return []
    return [
        f"The score on selection still rose in the last epoch, from {max(scores[:-1]):.3f} to {scores[-1]:.3f}: train "
        f"longer with {_lengthen(record, stage)}."
    ]


def _lengthen(record: RunRecord, stage: TrainedStage) -> str:
    if record.recipe.schedule.total_steps is not None:
        return f"schedule.total_steps={2 * record.recipe.schedule.total_steps}"
    return f"schedule.classification_epochs={2 * (stage.stage.epochs or 1):g}"


def _suggest_texts(record: RunRecord) -> list[str]:
    """A student that agrees with its teacher on the texts that it has seen, and less on others."""
    if "train" not in record.agreement or record.recipe.data.unlabelled is not None:
        return []
    on_train, on_others = record.get_agreement("train"), record.get_agreement(SPLIT)
    if on_train - on_others < FITS_TRAIN:
        return []
    return [
        f"It agrees with the teacher more on train ({on_train:.3f}) than on {SPLIT} ({on_others:.3f}): more texts "
        "help. They need no labels: name their file in data.unlabelled."
    ]


def _suggest_layer(record: RunRecord, *, is_only_one: bool) -> list[str]:
    """One layer more, which is the last resort."""
    assert record.teacher is not None
    layers = record.student.layers
    if layers >= record.teacher.layers:
        return []
    if is_only_one:
        return [f"Its loss fell and its score no longer rose: try one layer more, student.num_layers={layers + 1}."]
    return [f"If that is not enough, try one layer more: student.num_layers={layers + 1}."]
