"""Single-label classification: one of several classes for each text or pair of texts."""

from __future__ import annotations

from functools import partial

from transformers import AutoModelForSequenceClassification

from innerdistill.data.batches import make_collator
from innerdistill.data.class_labels import (
    encode_classes,
    find_class_names,
    group_classes,
    has_class,
    match_class_names,
    refuse_numbers,
    warn_of_missing_classes,
    warn_of_spellings,
)
from innerdistill.data.example_type import ExampleType
from innerdistill.data.given_rows import CLASS_RULES
from innerdistill.data.labels import read_label
from innerdistill.data.plain_rows import read_plain_rows
from innerdistill.data.tokens import encode_texts
from innerdistill.evaluation.predicted_classes import (
    choose_no_thresholds,
    compare_classes,
    describe_classes,
    find_swapped_labels,
    identify_answers,
    make_class_columns,
    make_constant_classes,
    mark_classes,
    measure_class_distances,
    predict_classes,
    show_class,
    show_class_answer,
    show_share,
)
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.losses.registry import LOSSES
from innerdistill.models.heads import Head, configure_class_head, has_class_head, name_classes
from innerdistill.problem_types.problem_type import ProblemType, Wording
from innerdistill.problem_types.regression import REGRESSION

SINGLE_LABEL_CLASSIFICATION = ProblemType(
    name="single_label_classification",
    examples=ExampleType(
        read_rows=partial(read_plain_rows, read_label=read_label),
        find_names=find_class_names,
        encode_labels=encode_classes,
        has_label=has_class,
        group_labels=group_classes,
        needs_every_group=True,
        encode_texts=encode_texts,
        has_windows=False,
        pairs_apart=False,
        reads_words=False,
        show_text=str,
        make_collator=make_collator,
        match_names=match_class_names,
        refuse_names=partial(refuse_numbers, metric=REGRESSION.default_metric),
        warn_of_missing=warn_of_missing_classes,
        warn_of_spellings=warn_of_spellings,
        given_outputs=CLASS_RULES,
    ),
    head=Head(
        auto_class=AutoModelForSequenceClassification,
        configure=configure_class_head,
        fits=has_class_head,
        name_outputs=name_classes,
        reads="first token",
    ),
    output_losses={name: LOSSES[name] for name in ("soft_labels", "gold_labels")},
    predictions=PredictionType(
        shape="classes",
        predict=predict_classes,
        decide=predict_classes,
        identify=identify_answers,
        has_label=has_class,
        mark_classes=mark_classes,
        choose_thresholds=choose_no_thresholds,
        constant_predictions=make_constant_classes,
        describe=describe_classes,
        compare=compare_classes,
        agreement="equal_predictions",
        show_agreement=show_share,
        measure_distances=measure_class_distances,
        show_label=show_class,
        show_answer=show_class_answer,
        make_columns=make_class_columns,
        find_swapped_labels=find_swapped_labels,
    ),
    default_metric="accuracy",
    wording=Wording(
        title="single-label classification",
        outputs="classes",
        pipeline_tag="text-classification",
        usage=(
            "from transformers import pipeline",
            "",
            'classify = pipeline("text-classification", model="path/to/this/folder", truncation=True)',
        ),
        function="classify",
        onnx_outputs=("logits",),
        output_columns=("predicted_label", "probability_<label>"),
        agreement="equal predictions",
        output_distance="mean KL divergence in nats",
        disagreement="other answers",
        page_parts=frozenset({"calibration error", "per class", "right and wrong"}),
    ),
)
