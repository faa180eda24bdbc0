"""Families of encoders: where the layers are and how their attention is reached.

A new family is one entry in FAMILIES, or of an installed package; `probe` then checks that it works.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.models.clean_attention import IMPLEMENTATION
from innerdistill.models.deberta import CleanDebertaAttention, CleanDebertaV2Attention
from innerdistill.models.dropout import replace_dropout
from innerdistill.models.mpnet import CleanMPNetAttention
from innerdistill.models.other_families import explain_refusal
from innerdistill.support.extensions import Registry

UNLIMITED = 1 << 20  # tokens: more than any text has, and few enough for a tokenizer to take as its limit


@dataclass(frozen=True)
class Family:
    """How to handle one `model_type` of transformers.

    Attributes:
        layers: path of the list of layers inside `model.base_model`.
        attention: path of the attention module inside a layer (the one that is handed to the attention function).
        replacement: subclass of the attention module's class that calls `clean_attention`, for families outside
            transformers' AttentionInterface.
        per_layer_config: keys of the configuration that hold one value per layer.
        after_first: path of a module that some models of the family have between their first two layers. Its output is
            that of the first layer.
    """

    layers: str
    attention: str
    replacement: type[nn.Module] | None = None
    per_layer_config: tuple[str, ...] = ()
    after_first: str = ""


_BERT = Family("encoder.layer", "attention.self")
_LAYERS = Family("layers", "self_attn")

FAMILIES = Registry(
    "families",
    Family,
    {
        "bert": _BERT,
        "electra": _BERT,
        "mobilebert": _BERT,
        "roberta": _BERT,
        "xlm-roberta": _BERT,
        "camembert": _BERT,
        "xlm-roberta-xl": _BERT,
        "roberta-prelayernorm": _BERT,
        "data2vec-text": _BERT,
        "ernie": _BERT,
        "esm": _BERT,
        "distilbert": Family("transformer.layer", "attention"),
        "mpnet": Family("encoder.layer", "attention.attn", CleanMPNetAttention),
        "deberta": Family("encoder.layer", "attention.self", CleanDebertaAttention),
        "deberta-v2": Family("encoder.layer", "attention.self", CleanDebertaV2Attention, after_first="encoder.conv"),
        "modernbert": Family("layers", "attn", per_layer_config=("layer_types",)),
        "ultrabert": Family("layers", "self_attn", per_layer_config=("layer_types",)),
        "eurobert": _LAYERS,
        "nomic_bert": _LAYERS,
        "gte": _LAYERS,
        "jina_embeddings_v3": _LAYERS,
        "esmc": _LAYERS,
    },
)


def has_family(config: PretrainedConfig) -> bool:
    """Tell whether the layers of a model can be read. Of any other model only its outputs can.

    Args:
        config: configuration of the model.

    Returns:
        True if FAMILIES has an entry for it.
    """
    return config.model_type in FAMILIES


def family_of(config: PretrainedConfig) -> Family:
    """Look up the family of a model.

    Args:
        config: configuration of the model.

    Returns:
        Its entry in FAMILIES.

    Raises:
        ValueError: FAMILIES has no entry; the sentence says why, and lists the families that it has.
    """
    if not has_family(config):
        raise ValueError(
            f"layers of the family {config.model_type!r} are not supported: {explain_refusal(config)}. "
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


def find_layer_output(model: PreTrainedModel, number: int) -> nn.Module:
    """Find the module whose output is that of a layer.

    Args:
        model: model of a supported family.
        number: number of the layer, 1-based.

    Returns:
        The layer; of the first one perhaps the module that follows it.
    """
    path = family_of(model.config).after_first
    following: nn.Module | None = operator.attrgetter(path)(model.base_model) if path and number == 1 else None
    return encoder_layers(model)[number - 1] if following is None else following


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


def find_embedding(model: PreTrainedModel, name: str) -> nn.Embedding | None:
    """Find an embedding table of a model.

    Args:
        model: any model.
        name: name of the table in transformers, such as `position_embeddings`.

    Returns:
        The table; None if the model has none of this name.
    """
    for path, module in model.base_model.named_modules():
        if path.endswith(name) and isinstance(module, nn.Embedding):
            return module
    return None


def max_positions(model: PreTrainedModel) -> int:
    """Find the longest input that a model has positions for.

    RoBERTa and its relatives count positions from the padding id: their tables have it as `padding_idx`. Others have
    more rows in the table than positions: their buffer `position_ids` has the numbers that they use.

    Args:
        model: any model.

    Returns:
        Number of tokens, special tokens included; UNLIMITED where the configuration sets no limit.
    """
    numbered = (ids.shape[-1] for name, ids in model.base_model.named_buffers() if name.endswith("position_ids"))
    return min(_count_positions(model), *numbered, UNLIMITED)


def _count_positions(model: PreTrainedModel) -> int:
    """Rows of the position table that tokens may have; without a table, what the configuration says."""
    for path, module in model.base_model.named_modules():
        # not each is an nn.Embedding: I-BERT has a class of its own
        if path.endswith("position_embeddings") and hasattr(module, "padding_idx"):
            return int(module.weight.shape[0]) - (0 if module.padding_idx is None else int(module.padding_idx) + 1)
    try:
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    except NotImplementedError:  # XLNet's says so
        return UNLIMITED
    return limit if isinstance(limit, int) and limit > 0 else UNLIMITED


def embedding_parameters(model: PreTrainedModel) -> int:
    """Count the parameters in embedding tables (words, positions, types), which a layer count does not change.

    Args:
        model: any model.

    Returns:
        Number of parameters.
    """
    tables = [module for module in model.base_model.modules() if isinstance(module, torch.nn.Embedding)]
    return sum(table.weight.numel() for table in tables)
