"""Sentence similarity: an embedding for each text. Texts are compared by the cosine of their embeddings."""

from __future__ import annotations

from functools import partial

from innerdistill.data.batches import TextCollator, make_collator
from innerdistill.data.example_type import ExampleType
from innerdistill.data.pairs import encode_texts_apart, read_texts_apart
from innerdistill.data.score_labels import (
    encode_scores,
    find_no_names,
    group_scores,
    has_score,
    refuse_nothing,
    warn_of_nothing,
)
from innerdistill.evaluation.changed_texts import find_changed_texts
from innerdistill.evaluation.predicted_classes import choose_no_thresholds
from innerdistill.evaluation.predicted_embeddings import (
    compare_embeddings,
    describe_embeddings,
    has_pair_score,
    identify_embeddings,
    make_constant_embeddings,
    make_embedding_columns,
    measure_agreement,
    measure_embedding_distances,
    predict_embeddings,
    show_pair_score,
    show_similarity,
)
from innerdistill.evaluation.predicted_scores import find_no_swapped_labels, mark_no_classes, show_correlation
from innerdistill.evaluation.prediction_type import PredictionType
from innerdistill.models.heads import Head, configure_embedding_head, has_embedding_head, name_embedding
from innerdistill.models.sentence_encoder import ONNX_OUTPUTS, SentenceEncoder, save_sentence_encoder
from innerdistill.problem_types.problem_type import CLS_COSINE, SOFT_LABELS, ProblemType, Wording

SENTENCE_SIMILARITY = ProblemType(
    name="sentence_similarity",
    examples=ExampleType(
        read_rows=read_texts_apart,
        find_names=find_no_names,
        encode_labels=encode_scores,
        has_label=has_score,
        group_labels=group_scores,
        needs_every_group=False,
        encode_texts=encode_texts_apart,
        has_windows=False,
        pairs_apart=True,
        reads_words=False,
        show_text=str,
        make_collator=partial(make_collator, kind=TextCollator),
        match_names=find_no_names,
        refuse_names=refuse_nothing,
        warn_of_missing=warn_of_nothing,
        warn_of_spellings=warn_of_nothing,
        given_outputs="they are of labels, and sentence similarity has embeddings; give a teacher (teacher.path).",
    ),
    head=Head(
        auto_class=SentenceEncoder,
        configure=configure_embedding_head,
        fits=has_embedding_head,
        name_outputs=name_embedding,
        reads="all tokens",
        save=save_sentence_encoder,
    ),
    output_losses={},
    predictions=PredictionType(
        shape="embeddings",
        predict=predict_embeddings,
        decide=predict_embeddings,
        identify=identify_embeddings,
        has_label=has_pair_score,
        mark_classes=mark_no_classes,
        choose_thresholds=choose_no_thresholds,
        constant_predictions=make_constant_embeddings,
        describe=describe_embeddings,
        compare=compare_embeddings,
        agreement="similarity_correlation",
        agreement_values=measure_agreement,
        find_changed=find_changed_texts,
        show_agreement=show_correlation,
        measure_distances=measure_embedding_distances,
        show_label=show_pair_score,
        show_answer=show_similarity,
        make_columns=make_embedding_columns,
        find_swapped_labels=find_no_swapped_labels,
        further_shapes=("searches",),
    ),
    default_metric="spearman",
    stand_ins={CLS_COSINE: "token_cosine", SOFT_LABELS: "embedding_cosine"},
    data_keys=("pairs",),
    needs_same_tokens="the student has the modules of its teacher, and so its hidden size and its tokens.",
    wording=Wording(
        title="sentence similarity",
        outputs="embeddings",
        pipeline_tag="sentence-similarity",
        usage=(
            "from sentence_transformers import SentenceTransformer",
            "",
            'embed = SentenceTransformer("path/to/this/folder").encode',
        ),
        function="embed",
        library="sentence-transformers",
        onnx_outputs=ONNX_OUTPUTS,
        output_columns=("embedding",),
        agreement="correlation of the similarities of texts",
        output_distance="mean cosine distance of the embeddings",
        disagreement="other neighbours or similarities; of a text, the nearest neighbour is shown",
        agreement_note=(
            "Similarities are cosines of two embeddings: of the texts of a pair, or of every text with every other. "
            "Neighbours are the ten most similar other texts of the split; of more than 20,000 texts, some are chosen "
            "by a hash and compared among themselves. Before training, the student is the layers that it copied."
        ),
        agreement_numbers={
            "similarity_correlation": "correlation of similarities",
            "shared_neighbours": "ten nearest neighbours in common",
            "mean_cosine": "cosine of the embeddings",
        },
        file_numbers={"shared_neighbours": "ten neighbours in common"},
        page_parts=frozenset(),
    ),
)
