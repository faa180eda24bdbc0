"""Token classification: a tag for each word of a text, such as those that mark names of persons and places."""

from __future__ import annotations

from functools import partial

from transformers import AutoModelForTokenClassification

from innerdistill.data.batches import WordCollator, make_collator
from innerdistill.data.example_type import ExampleType
from innerdistill.data.score_labels import refuse_nothing
from innerdistill.data.tags import (
    encode_tags,
    find_tag_names,
    group_tags,
    has_tags,
    match_tag_names,
    read_tagged_texts,
    warn_of_tag_spellings,
    warn_of_tags,
)
from innerdistill.data.words import encode_words, show_words
from innerdistill.evaluation.predicted_classes import choose_no_thresholds, show_share
from innerdistill.evaluation.predicted_tags import (
    compare_tags,
    describe_tags,
    find_swapped_tags,
    identify_tags,
    make_constant_tags,
    make_tag_columns,
    mark_types,
    measure_tag_distances,
    predict_tags,
    show_tag_answer,
    show_tags,
)
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.losses.loss import Loss
from innerdistill.losses.token_labels import gold_token_labels, soft_token_labels
from innerdistill.models.heads import Head, configure_tag_head, has_tag_head, name_classes
from innerdistill.problem_types.problem_type import CLS_COSINE, ProblemType, Wording

TOKEN_CLASSIFICATION = ProblemType(
    name="token_classification",
    examples=ExampleType(
        read_rows=read_tagged_texts,
        find_names=find_tag_names,
        encode_labels=encode_tags,
        has_label=has_tags,
        group_labels=group_tags,
        needs_every_group=True,
        encode_texts=encode_words,
        has_windows=True,
        pairs_apart=False,
        reads_words=True,
        show_text=show_words,
        make_collator=partial(make_collator, kind=WordCollator),
        match_names=match_tag_names,
        refuse_names=refuse_nothing,
        warn_of_missing=warn_of_tags,
        warn_of_spellings=warn_of_tag_spellings,
        given_outputs="every word needs outputs of its own, which no column holds; give a teacher (teacher.path).",
    ),
    head=Head(
        auto_class=AutoModelForTokenClassification,
        configure=configure_tag_head,
        fits=has_tag_head,
        name_outputs=name_classes,
        reads="all tokens",
        outputs="per token",
    ),
    output_losses={
        "soft_labels": Loss(
            soft_token_labels, needs=("teacher_logits", "student_logits", "labels", "word_mask", "temperature")
        ),
        "gold_labels": Loss(gold_token_labels, needs=("student_logits", "labels")),
    },
    predictions=PredictionType(
        shape="tags",
        predict=predict_tags,
        decide=predict_tags,
        identify=identify_tags,
        has_label=has_tags,
        mark_classes=mark_types,
        choose_thresholds=choose_no_thresholds,
        constant_predictions=make_constant_tags,
        describe=describe_tags,
        compare=compare_tags,
        agreement="equal_predictions",
        show_agreement=show_share,
        measure_distances=measure_tag_distances,
        show_label=show_tags,
        show_answer=show_tag_answer,
        make_columns=make_tag_columns,
        find_swapped_labels=find_swapped_tags,
    ),
    default_metric="entity_f1",
    stand_ins={CLS_COSINE: "token_cosine"},
    needs_same_tokens="outputs for words are compared where both models have the word's first token.",
    wording=Wording(
        title="token classification",
        outputs="tags",
        pipeline_tag="token-classification",
        usage=(
            "from transformers import pipeline",
            "",
            'options = {"aggregation_strategy": "first"}',
            'find_entities = pipeline("token-classification", model="path/to/this/folder", **options)',
        ),
        function="find_entities",
        onnx_outputs=("logits",),
        output_columns=("predicted_tags", "predicted_spans"),
        agreement="texts with equal tags",
        output_distance="mean KL divergence in nats",
        disagreement="other tags",
        page_parts=frozenset({"per class", "right and wrong"}),
        class_columns=("type", "entities"),
    ),
)
