"""What to try next, where a student or its teacher falls short. Every suggestion follows from a measured number."""

from __future__ import annotations

import math

from innerdistill.recipe.advice import advise_on_teacher, correct_rate, find_student_rate, name_other_rate
from innerdistill.report.headline import list_problems
from innerdistill.report.record import RunRecord, TrainedStage

SPLIT, SELECTION = "validation", "selection"
STILL_RISES = 0.002  # smallest gain of the score on selection in the last epoch
FEWEST_SCORES = 3  # of epochs; fewer cannot show that a score rose and then no longer did
FITS_TRAIN = 0.05  # more agreement with the teacher on train than on validation
ROSE = 1.02  # mean loss in the last epoch, as a multiple of the smallest


def suggest_next_steps(record: RunRecord, baseline: RunRecord | None = None) -> list[str]:
    """Suggest what to try next for a student that learned little, or is clearly below its teacher.

    A teacher that scores less than the baseline comes first, whatever the student scores.

    Args:
        record: what happened and what came out.
        baseline: record of the student that was trained without distillation.

    Returns:
        Sentences, each with its evidence and the key to set. None for a student that is as good as its teacher. None
        either if the teacher tells classes apart, but is no better than a constant answer: a warning has the advice.
    """
    teacher = record.scores[SPLIT].teacher
    if record.teacher is None:
        examples = record.data.rows["train"]
        return [advise_on_teacher(record.recipe, examples=examples)] if list_problems(record) else []
    if teacher is not None and not teacher.beats_constant:
        return [advise_on_teacher(record.recipe, examples=record.data.rows["train"])] if teacher.collapsed else []
    of_teacher = _suggest_teacher(record, baseline)
    if list_problems(record):
        return of_teacher + _advise_on_little(record)
    difference = (record.differences or {}).get(SPLIT)
    if difference is None or not difference.paired.is_clearly_negative:
        return of_teacher
    corrections = _correct_rates(record)
    steps = [*(corrections or _suggest_half_rate(record)), *_suggest_more_steps(record), *_suggest_texts(record)]
    # What follows would be judged with the wrong teacher or learning rate. No student agrees with its teacher on all
    # texts, so a gap alone calls for nothing.
    if of_teacher or corrections or record.is_against_teacher:
        return of_teacher + steps
    return steps + _suggest_last(record, is_only_one=not steps)


def _suggest_teacher(record: RunRecord, baseline: RunRecord | None) -> list[str]:
    """A teacher that is below a student trained on labels alone, by more than a standard error of its own score."""
    teacher = record.scores[SPLIT].teacher
    if baseline is None or teacher is None:  # outputs may be given for other splits than this one
        return []
    score = baseline.scores[SPLIT].student.primary
    if score - teacher.primary <= teacher.standard_error:
        return []
    return [
        f"Get a better teacher first: it scores {teacher.primary:.3f}, and the baseline, trained on labels without "
        f"distillation, {score:.3f}. {advise_on_teacher(record.recipe, examples=record.data.rows['train'])}"
    ]


def _advise_on_little(record: RunRecord) -> list[str]:
    """A student that predicts one class or is no better than a constant answer: the learning rate, then the length."""
    steps = _correct_rates(record) or _suggest_half_rate(record)
    if steps:
        return steps
    other = name_other_rate(*find_student_rate(record.recipe, is_internal=False))
    return [
        f"The student learned too little in {record.steps} steps. Try {other}, or train longer with "
        f"{_lengthen(record, record.stages[-1])}."
    ]


def _correct_rates(record: RunRecord) -> list[str]:
    """Learning rates far from the usual ones; each key once."""
    sentences = {}
    for stage in record.stages:
        key, rate = find_student_rate(record.recipe, is_internal=stage.stage.is_internal)
        sentences[key] = correct_rate(key, rate)
    return list(filter(None, sentences.values()))


def _suggest_half_rate(record: RunRecord) -> list[str]:
    """A loss that rose or swung between epochs."""
    for stage in record.stages:
        losses = [epoch.losses["loss"] for epoch in stage.epochs]
        if len(losses) > 1 and losses[-1] > min(losses) * ROSE:
            section = "internal_trainer" if stage.stage.is_internal else "trainer"
            rate = f" (its highest was {stage.learning_rate:.2g})" if stage.learning_rate else ""
            return [
                f"The loss of stage {stage.stage.name!r} rose from {min(losses):.4g} to {losses[-1]:.4g}: try half the "
                f"{section}.learning_rate{rate}."
            ]
    return []


def _list_scores(record: RunRecord) -> list[float]:
    """Scores on selection after each epoch of the last stage."""
    metric = record.get_metric(SELECTION)
    return [epoch.scores[metric] for epoch in record.stages[-1].epochs if epoch.scores]


def _get_smallest_change(record: RunRecord) -> float:
    """The smallest change of the score on selection that is more than noise: its standard error."""
    scores = record.scores.get(SELECTION)
    return math.inf if scores is None else max(STILL_RISES, scores.student.standard_error)


def _suggest_more_steps(record: RunRecord) -> list[str]:
    """A score on selection that still rose when training ended."""
    scores = _list_scores(record)
    if len(scores) < 2 or scores[-1] - max(scores[:-1]) < _get_smallest_change(record):
        return []
    return [
        f"The score on selection still rose in the last epoch, from {max(scores[:-1]):.3f} to {scores[-1]:.3f}: train "
        f"longer with {_lengthen(record, record.stages[-1])}."
    ]


def _lengthen(record: RunRecord, stage: TrainedStage) -> str:
    if record.recipe.schedule.total_steps is not None:
        return f"schedule.total_steps={2 * record.recipe.schedule.total_steps}"
    return f"schedule.classification_epochs={2 * (stage.stage.epochs or 1):g}"


def _suggest_texts(record: RunRecord) -> list[str]:
    """A student that agrees with its teacher on the texts that it has seen, and less on others."""
    if "train" not in record.agreement or record.recipe.data.unlabelled is not None or record.teacher is None:
        return []
    on_train, on_others = record.get_agreement("train"), record.get_agreement(SPLIT)
    if on_train - on_others < FITS_TRAIN:
        return []
    return [
        f"The student agrees with the teacher more on train ({on_train:.3f}) than on {SPLIT} ({on_others:.3f}): more "
        f"texts help. They need {'outputs, but ' * record.teacher.is_given}no labels: name their file in "
        "data.unlabelled."
    ]


def _suggest_last(record: RunRecord, *, is_only_one: bool) -> list[str]:
    """Another learning rate, and then one layer more if training has shown that it can do no better."""
    assert record.teacher is not None
    other = name_other_rate(*find_student_rate(record.recipe, is_internal=False))
    layers = record.student.layers
    if _has_levelled_off(record) and layers < (record.teacher.layers or 0):
        start = "If that is not enough, try"
        if is_only_one:
            start = "The student's loss fell, and its score on selection no longer rose: try"
        return [f"{start} {other}, and then one layer more: student.num_layers={layers + 1}."]
    if is_only_one:
        return [f"The student is clearly below its teacher, and training does not show why: try {other}."]
    return []


def _has_levelled_off(record: RunRecord) -> bool:
    """Whether the loss fell, and the score on selection rose by more than noise and then did not rise further."""
    losses, scores = [epoch.losses["loss"] for epoch in record.stages[-1].epochs], _list_scores(record)
    if len(scores) < FEWEST_SCORES or losses[-1] >= losses[0]:
        return False
    has_risen = max(scores) - scores[0] > _get_smallest_change(record)
    return has_risen and scores[-1] - max(scores[:-1]) < STILL_RISES
