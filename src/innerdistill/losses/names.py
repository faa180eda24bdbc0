"""Names of the built-in losses: a recipe is checked against them before torch, which losses need, is imported."""

BUILT_IN = (
    "attention_kl",
    "cls_cosine",
    "soft_labels",
    "gold_labels",
    "normalised_cls_mse",
    "attention_score_mse",
    "hidden_mse",
    "token_cosine",
    "relation_kl",
    "embedding_cosine",
    "embedding_mse",
    "similarity_kl",
    "multiple_negatives",
    "margin_mse",
    "rank_kl",
)
COSINES = ("cls_cosine", "token_cosine")  # schedule.threshold is compared with the first of them that is on
