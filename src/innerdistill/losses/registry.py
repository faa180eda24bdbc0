"""LOSSES: every loss that a recipe can name. A new loss is an entry here, or of an installed package.

`soft_labels` and `gold_labels` depend on the problem type. Those here are for classes; `problem_types` has the others.
Embedding losses are for sentence encoders alone, `margin_mse` and `rank_kl` for rankers.
The names alone are in `names.py` too, which needs no torch.
"""

from __future__ import annotations

from innerdistill.losses.contrast import multiple_negatives
from innerdistill.losses.embeddings import embedding_cosine, embedding_mse, similarity_kl
from innerdistill.losses.loss import LOGITS, Loss
from innerdistill.losses.other_papers import (
    attention_score_mse,
    hidden_mse,
    normalised_cls_mse,
    relation_kl,
    token_cosine,
)
from innerdistill.losses.paper import attention_kl, cls_cosine, gold_labels, soft_labels
from innerdistill.losses.ranking import margin_mse, rank_kl
from innerdistill.support.extensions import Registry

LOSSES = Registry(
    "losses",
    Loss,
    {
        "attention_kl": Loss(attention_kl, needs=("attention", "token_mask")),
        "cls_cosine": Loss(cls_cosine, needs=("cls",)),
        "soft_labels": Loss(soft_labels, needs=("teacher_logits", "student_logits", "temperature")),
        "gold_labels": Loss(gold_labels, needs=("student_logits", "labels")),
        "normalised_cls_mse": Loss(normalised_cls_mse, needs=("cls",)),
        "attention_score_mse": Loss(attention_score_mse, needs=("qkv", "token_mask")),
        "hidden_mse": Loss(hidden_mse, needs=("hidden", "token_mask"), embeddings=True),
        "token_cosine": Loss(token_cosine, needs=("hidden", "token_mask")),
        "relation_kl": Loss(relation_kl, needs=("qkv", "token_mask")),
        "embedding_cosine": Loss(embedding_cosine, needs=LOGITS, of_embeddings=True),
        "embedding_mse": Loss(embedding_mse, needs=LOGITS, of_embeddings=True),
        "similarity_kl": Loss(similarity_kl, needs=(*LOGITS, "temperature"), of_embeddings=True, reads_batch=True),
        "multiple_negatives": Loss(
            multiple_negatives, needs=("student_logits", "parts"), of_embeddings=True, reads_batch=True
        ),
        "margin_mse": Loss(margin_mse, needs=(*LOGITS, "groups"), reads_batch=True),
        "rank_kl": Loss(rank_kl, needs=(*LOGITS, "temperature", "groups"), reads_batch=True),
    },
)
