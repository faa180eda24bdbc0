"""Student and teacher on every evaluation split: scores, agreement, and the logits they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from numpy.typing import NDArray

from innerdistill.data.arrow import numbers
from innerdistill.evaluation.intervals import bootstrap_scores
from innerdistill.evaluation.scoring import agreement, has_label, task_scores


def compare(
    splits: Mapping[str, Dataset],
    logits: Mapping[str, Mapping[str, NDArray[Any]]],
    *,
    metric: str,
    names: Sequence[str] | None,
    positive: int = 1,
) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Score models on the splits that they answered.

    Args:
        splits: tokenised splits.
        logits: of `student`, of `teacher` or of both, by split, each (N, C).
        metric: primary metric.
        names: class names by id; None for a regression.
        positive: of two classes the one that f1 is of.

    Returns:
        `scores` (with their standard error over examples) by split and model and, of two models, `agreement` by split
        (splits without labels have no scores); and by split the columns row, label (N,) and the logits (N, C).
    """
    found: dict[str, Any] = {"scores": {}, "agreement": {}}
    predictions = {}
    for split in next(iter(logits.values())):
        labels = numbers(splits[split], "labels")
        answered = {name: of_model[split] for name, of_model in logits.items()}
        predictions[split] = {"row": numbers(splits[split], "row"), "label": labels, **answered}
        if has_label(labels, names).any():
            draws = bootstrap_scores(labels, answered, metric=metric, names=names, positive=positive)
            found["scores"][split] = {
                name: task_scores(labels, answers, metric=metric, names=names, positive=positive)
                | {"standard_error": float(draws[name].std(ddof=1))}
                for name, answers in answered.items()
            }
        if len(answered) == 2:
            found["agreement"][split] = agreement(labels, answered["teacher"], answered["student"], names=names)
    return found, predictions
