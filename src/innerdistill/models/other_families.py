"""Families that are not supported, each with the reason. An entry in FAMILIES, or a package's, comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# `innerdistill families` reads this without waiting for transformers.

OWN = "it computes attention in code of its own, which hands out no clean distribution"
PARTIAL = "no token attends to all others, so it has no distribution over all tokens"
MORE_INPUTS = "it reads more than text"

REASONS = {
    "albert": "all its layers share one set of weights, so none can be left out",
    "big_bird": PARTIAL,
    "canine": "it reads characters and shortens the sequence between its layers",
    "convbert": "it mixes its attention with a convolution",
    "flaubert": OWN,
    "fnet": "it has no attention, but Fourier transforms",
    "funnel": "its layers shorten the sequence",
    "ibert": "its layers compute in integers",
    "layoutlm": f"{MORE_INPUTS}: the place of each word on a page",
    "layoutlmv2": f"{MORE_INPUTS}: images of pages",
    "layoutlmv3": f"{MORE_INPUTS}: images of pages",
    "lilt": f"{MORE_INPUTS}: the place of each word on a page",
    "longformer": PARTIAL,
    "luke": f"{MORE_INPUTS}: entities of a knowledge base",
    "markuplm": f"{MORE_INPUTS}: the place of each word in a web page",
    "megatron-bert": OWN,
    "modernvbert": f"{MORE_INPUTS}: images",
    "mra": "its attention is an approximation without a distribution",
    "nystromformer": "its attention is an approximation without a distribution",
    "perceiver": "its layers do not work on tokens",
    "reformer": PARTIAL,
    "rembert": OWN,
    "roc_bert": f"{MORE_INPUTS}: the shape and sound of each character",
    "roformer": OWN,
    "squeezebert": OWN,
    "tapas": f"{MORE_INPUTS}: tables",
    "ultravbert": f"{MORE_INPUTS}: images",
    "xlm": OWN,
    "xlnet": OWN,
    "xmod": "it has adapters for each language, and needs to be told which one a text is in",
    "yoso": "its attention is an approximation without a distribution",
}


def explain_refusal(config: PretrainedConfig) -> str:
    """Explain why a family that is not in FAMILIES is not supported.

    Args:
        config: configuration of the model.

    Returns:
        The reason, as the rest of a sentence.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: PLC0415

    if config.model_type in REASONS:
        return REASONS[config.model_type]
    if config.is_encoder_decoder:
        return "it has a decoder beside its encoder"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "it is a decoder, whose tokens attend to earlier ones only"
    return "FAMILIES has no entry for it; docs/how-to/extending.md says how to add one"
