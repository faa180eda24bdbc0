"""Text ranking: a score for each document of a query, which are read together. The scores put them in order."""

from __future__ import annotations

from functools import partial

from transformers import AutoModelForSequenceClassification

from innerdistill.data.batches import RankingCollator, make_collator
from innerdistill.data.example_type import ExampleType
from innerdistill.data.rankings import (
    can_be_scored,
    encode_documents,
    encode_relevances,
    gather_queries,
    group_no_labels,
    read_rankings,
    show_cell,
    warn_of_unscored_queries,
)
from innerdistill.data.score_labels import find_no_names, refuse_nothing, warn_of_nothing
from innerdistill.evaluation.predicted_classes import choose_no_thresholds
from innerdistill.evaluation.predicted_rankings import (
    compare_rankings,
    decide_relevances,
    describe_rankings,
    identify_rankings,
    make_constant_rankings,
    make_ranking_columns,
    measure_ranking_agreement,
    measure_ranking_distances,
    predict_rankings,
    show_ranking,
    show_relevances,
)
from innerdistill.evaluation.predicted_scores import find_no_swapped_labels, mark_no_classes, show_correlation
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.losses.loss import Loss
from innerdistill.losses.paper import soft_scores
from innerdistill.losses.ranking import gold_relevances
from innerdistill.models.heads import Head, has_ranking_head, name_scores
from innerdistill.models.rankers import (
    adopt_activation,
    configure_ranking_head,
    find_activation,
)
from innerdistill.problem_types.problem_type import ProblemType, Wording

TEXT_RANKING = ProblemType(
    name="text_ranking",
    examples=ExampleType(
        read_rows=read_rankings,
        find_names=find_no_names,
        encode_labels=encode_relevances,
        has_label=can_be_scored,
        group_labels=group_no_labels,
        needs_every_group=False,
        encode_texts=encode_documents,
        has_windows=False,
        pairs_apart=False,
        reads_words=False,
        show_text=show_cell,
        make_collator=partial(make_collator, kind=RankingCollator),
        match_names=find_no_names,
        refuse_names=refuse_nothing,
        warn_of_missing=warn_of_unscored_queries,
        warn_of_spellings=warn_of_nothing,
        given_outputs="every document needs a score of its own, which no column holds; give a teacher (teacher.path).",
        gather=gather_queries,
    ),
    head=Head(
        auto_class=AutoModelForSequenceClassification,
        configure=configure_ranking_head,
        fits=has_ranking_head,
        name_outputs=name_scores,
        reads="first token",
        adopt=adopt_activation,
        find_activation=find_activation,
    ),
    output_losses={
        "soft_labels": Loss(soft_scores, needs=("teacher_logits", "student_logits")),
        "gold_labels": Loss(gold_relevances, needs=("student_logits", "labels", "groups"), reads_batch=True),
    },
    predictions=PredictionType(
        shape="rankings",
        predict=predict_rankings,
        decide=decide_relevances,
        identify=identify_rankings,
        has_label=can_be_scored,
        mark_classes=mark_no_classes,
        choose_thresholds=choose_no_thresholds,
        constant_predictions=make_constant_rankings,
        describe=describe_rankings,
        compare=compare_rankings,
        agreement="rank_correlation",
        agreement_values=measure_ranking_agreement,
        show_agreement=show_correlation,
        measure_distances=measure_ranking_distances,
        show_label=show_relevances,
        show_answer=show_ranking,
        make_columns=make_ranking_columns,
        find_swapped_labels=find_no_swapped_labels,
    ),
    default_metric="ndcg_at_10",
    wording=Wording(
        title="text ranking",
        outputs="rankings",
        pipeline_tag="text-ranking",
        usage=(
            "from sentence_transformers import CrossEncoder",
            "",
            'ranker = CrossEncoder("path/to/this/folder")',
            "",
            "",
            "def score(pair):",
            '    return float(ranker.predict([(pair["text"], pair["text_pair"])])[0])',
            "",
            "",
        ),
        function="score",
        onnx_outputs=("logits",),
        output_columns=("predicted_score",),
        agreement="correlation of the ranks of documents",
        output_distance="mean of 1 - the correlation of the ranks",
        disagreement="another first document",
        page_parts=frozenset(),
        library="sentence-transformers",
        agreement_note=(
            "Ranks are those of a query's documents by each model's scores. The correlation is a mean over queries."
        ),
        agreement_numbers={
            "rank_correlation": "correlation of the ranks of a query's documents",
            "same_first": "queries with the same first document",
        },
    ),
)
