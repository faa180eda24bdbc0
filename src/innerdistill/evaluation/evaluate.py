"""Student and teacher on every evaluation split: scores, agreement, and the logits they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.batches import Collator
from innerdistill.data.mapped import numbers
from innerdistill.evaluation.bootstrap import bootstrap_scores
from innerdistill.evaluation.metrics import agreement, has_label, task_scores
from innerdistill.evaluation.predicting import predict_logits

SPLITS = ("selection", "validation", "test")


def compare(
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    splits: Mapping[str, Dataset],
    collate: Collator,
    *,
    metric: str,
    names: Sequence[str] | None,
    positive: int = 1,
    batch_size: int = 64,
) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Predict and score the evaluation splits.

    Args:
        student: the model to score.
        teacher: to compare it with; None for a model without one.
        splits: tokenised splits; selection, validation and test are used, where they are there.
        collate: examples -> padded batch.
        metric: primary metric.
        names: class names by id; None for a regression.
        positive: of two classes the one that f1 is of.
        batch_size: examples per batch.

    Returns:
        `scores` (with their standard error over examples) by split and model and `agreement` by split (splits without
        labels have no scores); and by split the
        columns row, label (N,) and the logits of student and teacher (N, C).
    """
    models = {"student": student} | ({"teacher": teacher} if teacher is not None else {})
    found: dict[str, Any] = {"scores": {}, "agreement": {}}
    predictions = {}
    for split in SPLITS:
        if split not in splits:
            continue
        labels = numbers(splits[split], "labels")
        columns = {"row": numbers(splits[split], "row"), "label": labels}
        columns |= {
            name: predict_logits(model, splits[split], collate, batch_size=batch_size) for name, model in models.items()
        }
        predictions[split] = columns
        if has_label(labels, names).any():
            logits = {name: columns[name] for name in models}
            draws = bootstrap_scores(labels, logits, metric=metric, names=names, positive=positive)
            found["scores"][split] = {
                name: task_scores(labels, columns[name], metric=metric, names=names, positive=positive)
                | {"standard_error": float(draws[name].std(ddof=1))}
                for name in models
            }
        if teacher is not None:
            found["agreement"][split] = agreement(labels, columns["teacher"], columns["student"], names=names)
    return found, predictions
