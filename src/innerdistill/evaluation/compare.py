"""Student and teacher on every evaluation split: scores, agreement, and the logits they come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from innerdistill.data.windows import read_of_examples
from innerdistill.evaluation.differences import compare_on_examples
from innerdistill.evaluation.labelled_examples import LabelledExamples, sum_groups
from innerdistill.evaluation.prediction_type import PredictionType, Scoring
from innerdistill.evaluation.pseudo_values import compute_pseudo_values, estimate_standard_error
from innerdistill.evaluation.scoring import score_outputs


def compare(
    splits: Mapping[str, Dataset],
    logits: Mapping[str, Mapping[str, NDArray[Any]]],
    *,
    scoring: Scoring,
    against_teacher: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[Any]]]]:
    """Score models on the splits that they predicted.

    Args:
        splits: tokenised splits by name.
        logits: output of `student`, of `teacher` or of both, by split, each (N, C). The teacher may lack splits. Also
            of `untrained`, the student before training, which may lack splits too.
        scoring: metric, names and what the outputs mean.
        against_teacher: splits without labels, whose models are scored against the predictions of `teacher`.

    Returns:
        `scores`, with their standard error over examples and the difference from the constant answer, by split and
        model; splits with neither labels nor the teacher in their place have none. For two models also `agreement` and
        `differences` by split: the student's score less the teacher's. Scored against the teacher, `agreement` has its
        main number and `output_distance`, the mean distance of the two outputs. Numbers that are means over examples
        have their standard error beside them, such as `mean_cosine_error`. Of an untrained student
        `untrained_agreement` and `above_untrained`, the student's score less its own, by split. And by split the
        columns row, label, with groups also group (N,), and the logits (N, C).
    """
    results: dict[str, Any] = {"scores": {}, "agreement": {}, "differences": {}}
    if "untrained" in logits:
        results |= {"untrained_agreement": {}, "above_untrained": {}}
    predictions = {}
    for split in next(iter(logits.values())):
        of_dataset = LabelledExamples.from_dataset(splits[split])
        of_split = {name: of_model[split] for name, of_model in logits.items() if split in of_model}
        groups = {} if of_dataset.groups is None else {"group": of_dataset.groups}
        columns = {"row": read_of_examples(splits[split], "row"), "label": of_dataset.labels, **groups, **of_split}
        predictions[split] = columns
        of_metric = scoring.switch_to_teacher() if split in against_teacher else scoring
        examples = LabelledExamples.from_columns(columns, scoring=of_metric)
        is_scored = bool(scoring.predictions.has_label(examples.labels).any())
        predicted = {}
        if is_scored:
            results["scores"][split] = {}
            for name, values in of_split.items():
                predicted[name] = of_metric.predict_labelled(examples, values)
                results["scores"][split][name] = score_with_errors(
                    examples, values, scoring=of_metric, predictions=predicted[name]
                )
        for name, part in (("student", "agreement"), ("untrained", "untrained_agreement")):
            if name in of_split and "teacher" in of_split:
                results[part][split] = _measure_agreement(
                    of_dataset,
                    of_split["teacher"],
                    of_split[name],
                    predictions=scoring.predictions,
                    has_labels=split not in against_teacher,
                )
        for name, part in (("teacher", "differences"), ("untrained", "above_untrained")):
            if name in predicted and "student" in predicted:
                labelled, pair = of_metric.select_labelled(examples), (predicted["student"], predicted[name])
                results[part][split] = compare_on_examples(labelled, *pair, scoring=of_metric).as_dict()
    return results, predictions


def _measure_agreement(
    examples: LabelledExamples,
    teacher: NDArray[Any],
    student: NDArray[Any],
    *,
    predictions: PredictionType,
    has_labels: bool,
) -> dict[str, float]:
    """Numbers on the agreement of two models by name; `..._error` is the standard error of one over examples."""
    if predictions.agreement_values is None:
        agreement = predictions.compare(examples.labels, teacher, student)
        if not has_labels:  # of numbers on right and wrong there are none
            agreement = {predictions.agreement: agreement[predictions.agreement]}
    else:
        agreement = {}
        for name, values in predictions.agreement_values(teacher, student).items():
            known = ~np.isnan(values)
            groups = examples.select(known).groups
            agreement[name] = float(values[known].mean())
            agreement[f"{name}_error"] = estimate_standard_error(sum_groups(values[known], groups))
    if not has_labels:
        _, distances = predictions.measure_distances(teacher, student)
        agreement["output_distance"] = float(distances.mean())
    return agreement


def score_with_errors(
    examples: LabelledExamples, logits: NDArray[Any], *, scoring: Scoring, predictions: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Compute the scores of one model on one split, with the errors of the primary one.

    Args:
        examples: examples of the split. (N,)
        logits: output of the model. (N, C)
        scoring: metric, names, what the outputs mean, and the constant answer.
        predictions: from `scoring.predict_labelled`, where they are known already.

    Returns:
        As `score_outputs`; also `standard_error` over examples and `above_constant`, the difference from the constant
        answer.

    Raises:
        ValueError: no example has a label.
    """
    labelled = scoring.select_labelled(examples)
    predictions = scoring.predict_labelled(examples, logits) if predictions is None else predictions
    constant = scoring.answer_constant(labelled.labels)
    values = compute_pseudo_values(labelled.labels, predictions, scoring=scoring)
    return {
        **score_outputs(examples.labels, logits, scoring=scoring, predictions=predictions),
        "standard_error": estimate_standard_error(sum_groups(values, labelled.groups)),
        "above_constant": compare_on_examples(labelled, predictions, constant, scoring=scoring).as_dict(),
    }
