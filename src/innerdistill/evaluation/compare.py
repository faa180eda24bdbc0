"""Student and teacher on every evaluation split: scores, agreement, and the logits they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from numpy.typing import NDArray

from innerdistill.data.arrow import read_numbers
from innerdistill.evaluation.intervals import bootstrap_scores
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.scoring import score_outputs


def compare(
    splits: Mapping[str, Dataset], logits: Mapping[str, Mapping[str, NDArray[Any]]], *, scoring: Scoring
) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Score models on the splits that they predicted.

    Args:
        splits: tokenised splits by name.
        logits: output of `student`, of `teacher` or of both, by split, each (N, C).
        scoring: metric, names and what the outputs mean.

    Returns:
        `scores`, with their standard error over examples, by split and model; splits without labels have none. For two
        models also `agreement` by split. And by split the columns row, label (N,) and the logits (N, C).
    """
    results: dict[str, Any] = {"scores": {}, "agreement": {}}
    predictions = {}
    for split in next(iter(logits.values())):
        labels = read_numbers(splits[split], "labels")
        of_split = {name: of_model[split] for name, of_model in logits.items()}
        predictions[split] = {"row": read_numbers(splits[split], "row"), "label": labels, **of_split}
        if scoring.predictions.has_label(labels).any():
            draws = bootstrap_scores(labels, of_split, scoring=scoring)
            results["scores"][split] = {}
            for name, values in of_split.items():
                scores = score_outputs(labels, values, scoring=scoring)
                results["scores"][split][name] = scores | {"standard_error": float(draws[name].std(ddof=1))}
        if len(of_split) == 2:
            agreement = scoring.predictions.compare(labels, of_split["teacher"], of_split["student"])
            results["agreement"][split] = agreement
    return results, predictions
