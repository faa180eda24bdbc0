"""Families of encoders: where the layers are and how their attention is reached.

A new family is one entry in FAMILIES, or of an installed package; `probe` then checks that it works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.models.clean_attention import IMPLEMENTATION
from innerdistill.models.dropout import replace_dropout
from innerdistill.models.mpnet import CleanMPNetAttention
from innerdistill.support.extensions import Registry


@dataclass(frozen=True)
class Family:
    """How to handle one `model_type` of transformers.

    Attributes:
        layers: path of the list of layers inside `model.base_model`.
        attention: path of the attention module inside a layer (the one that is handed to the attention function).
        replacement: subclass of the attention module's class that calls `clean_attention`, for families outside
            transformers' AttentionInterface.
        positions_used_by_padding: number of positions that the position table loses because it starts after the padding
            id.
        per_layer_config: keys of the configuration that hold one value per layer.
    """

    layers: str
    attention: str
    replacement: type[nn.Module] | None = None
    positions_used_by_padding: int = 0
    per_layer_config: tuple[str, ...] = ()


_BERT = Family("encoder.layer", "attention.self")
_ROBERTA = Family("encoder.layer", "attention.self", positions_used_by_padding=2)

FAMILIES = Registry(
    "families",
    Family,
    {
        "bert": _BERT,
        "electra": _BERT,
        "mobilebert": _BERT,
        "roberta": _ROBERTA,
        "xlm-roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "distilbert": Family("transformer.layer", "attention"),
        "mpnet": Family("encoder.layer", "attention.attn", CleanMPNetAttention, positions_used_by_padding=2),
        "modernbert": Family("layers", "attn", per_layer_config=("layer_types",)),
        "eurobert": Family("layers", "self_attn"),
    },
)


def family_of(config: PretrainedConfig) -> Family:
    """Look up the family of a model.

    Args:
        config: configuration of the model.

    Returns:
        Its entry in FAMILIES.

    Raises:
        ValueError: FAMILIES has no entry; the sentence lists the families that it has.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"models of the family {config.model_type!r} are not supported, because FAMILIES has no entry for them. "
            f"Supported: {', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[config.model_type]


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of the encoder's layers.

    Args:
        model: model of a supported family, with or without a head.

    Returns:
        The list that the model's forward pass walks through.

    Raises:
        ValueError: the family is not supported, or its entry names something else.
    """
    path = family_of(model.config).layers
    layers = model.base_model.get_submodule(path)
    if not isinstance(layers, nn.ModuleList):
        raise ValueError(
            f"FAMILIES[{model.config.model_type!r}].layers: {path!r} is a {type(layers).__name__}; expected the path "
            "of a ModuleList."
        )
    return layers


def prepare(model: PreTrainedModel) -> PreTrainedModel:
    """Let a model compute attention by `clean_attention`, and dropout by `models.dropout`.

    Weights and saved files stay the same. Outputs do too, except for the random numbers of dropout in training.

    Args:
        model: model of a supported family; changed in place.

    Returns:
        The model.

    Raises:
        ValueError: the family is not supported.
    """
    replace_dropout(model)
    _set_attention(model, clean=True)
    return model


@contextmanager
def use_own_attention(model: PreTrainedModel) -> Iterator[None]:
    """While open, a prepared model computes attention as transformers does.

    Args:
        model: prepared model; changed in place, prepared again at the end.

    Yields:
        Nothing.
    """
    _set_attention(model, clean=False)
    try:
        yield
    finally:
        _set_attention(model, clean=True)


def _set_attention(model: PreTrainedModel, *, clean: bool) -> None:
    family = family_of(model.config)
    if family.replacement is None:
        model.set_attn_implementation(IMPLEMENTATION if clean else "eager")
        return
    for layer in encoder_layers(model):
        # Another class on the same object: parameters keep their names and optimisers their references.
        attention: Any = layer.get_submodule(family.attention)
        attention.__class__ = family.replacement if clean else family.replacement.__base__


def max_positions(config: PretrainedConfig) -> int:
    """Compute the longest input that the table of positions allows.

    Args:
        config: configuration of a model of a supported family.

    Returns:
        Number of tokens, special tokens included.
    """
    return int(config.max_position_embeddings) - family_of(config).positions_used_by_padding


def embedding_parameters(model: PreTrainedModel) -> int:
    """Count the parameters in embedding tables (words, positions, types), which a layer count does not change.

    Args:
        model: any model.

    Returns:
        Number of parameters.
    """
    tables = [module for module in model.base_model.modules() if isinstance(module, torch.nn.Embedding)]
    return sum(table.weight.numel() for table in tables)
