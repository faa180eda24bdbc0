"""Multi-label classification: any number of several labels for each text or pair of texts."""

from __future__ import annotations

from functools import partial

from transformers import AutoModelForSequenceClassification

from innerdistill.data.batches import make_collator
from innerdistill.data.class_labels import match_class_names
from innerdistill.data.example_type import ExampleType
from innerdistill.data.given_rows import LABEL_RULES
from innerdistill.data.label_sets import (
    encode_label_sets,
    find_label_names,
    group_label_sets,
    has_label_set,
    read_label_set,
    warn_of_label_spellings,
    warn_of_missing_labels,
)
from innerdistill.data.plain_rows import read_plain_rows
from innerdistill.data.score_labels import refuse_nothing
from innerdistill.data.tokens import encode_texts
from innerdistill.evaluation.predicted_classes import show_share
from innerdistill.evaluation.predicted_label_sets import (
    choose_thresholds,
    compare_sets,
    decide_sets,
    describe_sets,
    find_swapped_sets,
    identify_sets,
    make_constant_sets,
    make_set_columns,
    mark_labels,
    measure_set_distances,
    predict_margins,
    show_set,
    show_set_answer,
)
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.losses.label_sets import gold_label_sets, soft_label_sets
from innerdistill.losses.loss import Loss
from innerdistill.models.heads import Head, configure_label_set_head, has_label_set_head, name_classes
from innerdistill.problem_types.problem_type import ProblemType, Wording

MULTI_LABEL_CLASSIFICATION = ProblemType(
    name="multi_label_classification",
    examples=ExampleType(
        read_rows=partial(read_plain_rows, read_label=read_label_set),
        find_names=find_label_names,
        encode_labels=encode_label_sets,
        has_label=has_label_set,
        group_labels=group_label_sets,
        needs_every_group=True,
        encode_texts=encode_texts,
        has_windows=False,
        pairs_apart=False,
        reads_words=False,
        show_text=str,
        make_collator=make_collator,
        match_names=match_class_names,
        refuse_names=refuse_nothing,
        warn_of_missing=warn_of_missing_labels,
        warn_of_spellings=warn_of_label_spellings,
        given_outputs=LABEL_RULES,
    ),
    head=Head(
        auto_class=AutoModelForSequenceClassification,
        configure=configure_label_set_head,
        fits=has_label_set_head,
        name_outputs=name_classes,
        reads="first token",
    ),
    output_losses={
        "soft_labels": Loss(soft_label_sets, needs=("teacher_logits", "student_logits", "temperature")),
        "gold_labels": Loss(gold_label_sets, needs=("student_logits", "labels")),
    },
    predictions=PredictionType(
        shape="label sets",
        predict=predict_margins,
        decide=decide_sets,
        identify=identify_sets,
        has_label=has_label_set,
        mark_classes=mark_labels,
        choose_thresholds=choose_thresholds,
        constant_predictions=make_constant_sets,
        describe=describe_sets,
        compare=compare_sets,
        agreement="equal_predictions",
        show_agreement=show_share,
        measure_distances=measure_set_distances,
        show_label=show_set,
        show_answer=show_set_answer,
        make_columns=make_set_columns,
        find_swapped_labels=find_swapped_sets,
    ),
    default_metric="micro_f1",
    has_thresholds=True,
    data_keys=("separator", "thresholds"),
    wording=Wording(
        title="multi-label classification",
        outputs="label sets",
        pipeline_tag="text-classification",
        usage=(
            "from transformers import pipeline",
            "",
            'score = pipeline("text-classification", model="path/to/this/folder", top_k=None, truncation=True)',
            "config = score.model.config",
            "",
            "",
            "def classify(text):",
            '    thresholds = getattr(config, "thresholds", [0.5] * config.num_labels)',
            '    found = {each["label"]: each["score"] for each in score([text])[0]}',
            "    return [name for i, name in config.id2label.items() if found[name] > thresholds[i]]",
            "",
            "",
        ),
        function="classify",
        onnx_outputs=("logits",),
        output_columns=("predicted_labels", "probability_<label>"),
        agreement="equal label sets",
        output_distance="mean KL divergence in nats",
        disagreement="other labels",
        page_parts=frozenset({"per class", "right and wrong"}),
    ),
)
