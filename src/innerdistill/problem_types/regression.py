"""Regression: one score for each text or pair of texts."""

from __future__ import annotations

from functools import partial

from transformers import AutoModelForSequenceClassification

from innerdistill.data.batches import make_collator
from innerdistill.data.example_type import ExampleType
from innerdistill.data.labels import read_label
from innerdistill.data.plain_rows import read_plain_rows
from innerdistill.data.score_labels import (
    encode_scores,
    find_no_names,
    group_scores,
    has_score,
    refuse_nothing,
    warn_of_nothing,
)
from innerdistill.data.tokens import encode_texts
from innerdistill.evaluation.predicted_classes import choose_no_thresholds, identify_answers
from innerdistill.evaluation.predicted_scores import (
    compare_scores,
    describe_scores,
    find_no_swapped_labels,
    make_constant_scores,
    make_score_columns,
    mark_no_classes,
    measure_score_distances,
    predict_scores,
    show_correlation,
    show_score,
    show_score_answer,
)
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.losses.loss import Loss
from innerdistill.losses.paper import gold_scores, soft_scores
from innerdistill.models.heads import Head, configure_score_head, has_score_head, name_scores
from innerdistill.problem_types.problem_type import ProblemType, Wording

REGRESSION = ProblemType(
    name="regression",
    examples=ExampleType(
        read_rows=partial(read_plain_rows, read_label=read_label),
        find_names=find_no_names,
        encode_labels=encode_scores,
        has_label=has_score,
        group_labels=group_scores,
        needs_every_group=False,
        encode_texts=encode_texts,
        has_windows=False,
        pairs_apart=False,
        reads_words=False,
        show_text=str,
        make_collator=make_collator,
        match_names=find_no_names,
        refuse_names=refuse_nothing,
        warn_of_missing=warn_of_nothing,
        warn_of_spellings=warn_of_nothing,
        given_outputs="labels of regression are numbers already; name the column of scores in data.label.",
    ),
    head=Head(
        auto_class=AutoModelForSequenceClassification,
        configure=configure_score_head,
        fits=has_score_head,
        name_outputs=name_scores,
        reads="first token",
    ),
    output_losses={
        "soft_labels": Loss(soft_scores, needs=("teacher_logits", "student_logits")),
        "gold_labels": Loss(gold_scores, needs=("student_logits", "labels")),
    },
    predictions=PredictionType(
        shape="scores",
        predict=predict_scores,
        decide=predict_scores,
        identify=identify_answers,
        has_label=has_score,
        mark_classes=mark_no_classes,
        choose_thresholds=choose_no_thresholds,
        constant_predictions=make_constant_scores,
        describe=describe_scores,
        compare=compare_scores,
        agreement="pearson",
        show_agreement=show_correlation,
        measure_distances=measure_score_distances,
        show_label=show_score,
        show_answer=show_score_answer,
        make_columns=make_score_columns,
        find_swapped_labels=find_no_swapped_labels,
    ),
    default_metric="pearson",
    wording=Wording(
        title="regression",
        outputs="scores",
        pipeline_tag="text-classification",
        usage=(
            "from transformers import pipeline",
            "",
            'options = {"truncation": True, "function_to_apply": "none"}',
            'predict = pipeline("text-classification", model="path/to/this/folder", **options)',
        ),
        function="predict",
        onnx_outputs=("logits",),
        output_columns=("predicted_score",),
        agreement="correlation of the scores",
        output_distance="mean difference of the scores",
        disagreement="other scores",
        page_parts=frozenset(),
    ),
)
