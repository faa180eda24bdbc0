"""Families of encoders: where the layers are and how their attention is reached.

Adding a family is one entry in FAMILIES; `probe` then checks that every layer is seen with the right shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from innerdistill.models.clean_attention import IMPLEMENTATION, clean_attention
from innerdistill.models.dropout import replace_dropout
from innerdistill.support.extensions import Registry


@dataclass(frozen=True)
class Family:
    """How to handle one `model_type`.

    Attributes:
        layers: path of the list of layers inside `model.base_model`.
        attention: path of the attention module inside a layer (the one that is handed to the attention function).
        replacement: class that replaces the attention module's, for families outside transformers' AttentionInterface.
        positions_used_by_padding: positions that the table of positions loses because it starts after the padding id.
        per_layer_config: keys of the configuration that hold one value per layer.
    """

    layers: str
    attention: str
    replacement: type[nn.Module] | None = None
    positions_used_by_padding: int = 0
    per_layer_config: tuple[str, ...] = ()


class CleanMPNetAttention(MPNetSelfAttention):
    """MPNet's attention through `clean_attention`, with the shared position bias as an additive mask."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Same function as the class it replaces.

        Args:
            hidden_states: (B, L, hidden)
            attention_mask: additive, (B, 1, 1 or L, L), or None.
            position_bias: (B, H, L, L)
            output_attentions: not served here; the distribution is reached by `capture`.
            **kwargs: unused, as in transformers.

        Returns:
            The output (B, L, hidden), and None in the place of attention weights.
        """
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        query, key, value = (part(hidden_states).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        parts = [part for part in (position_bias, attention_mask) if part is not None]
        mask = sum(parts[1:], start=parts[0]) if parts else None
        output, _ = clean_attention(
            self,
            query,
            key,
            value,
            mask,
            dropout=self.dropout.p if self.training else 0.0,
            scaling=self.attention_head_size**-0.5,
        )
        return self.o(output.flatten(-2)), None


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model.

    Args:
        config: the model's configuration.

    Returns:
        Its entry in FAMILIES.

    Raises:
        ValueError: not supported; the sentence lists the families that are.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"models of the family {config.model_type!r} are not supported, since their attention distribution cannot "
            f"be reached cleanly. Supported: {', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[config.model_type]


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The list of the encoder's layers.

    Args:
        model: of a supported family, with or without a head.

    Returns:
        The list that the model's forward pass walks through.
    """
    layers = model.base_model.get_submodule(family_of(model.config).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def prepare(model: PreTrainedModel) -> PreTrainedModel:
    """Make a model compute attention by `clean_attention`, and drop out by `models.dropout`.

    Weights and saved files stay the same, and outputs but for the random numbers of training.

    Args:
        model: of a supported family; changed in place.

    Returns:
        The model.

    Raises:
        ValueError: the family is not supported.
    """
    family = family_of(model.config)
    replace_dropout(model)
    if family.replacement is None:
        model.set_attn_implementation(IMPLEMENTATION)
        return model
    for layer in encoder_layers(model):
        # Another class on the same object: parameters keep their names and optimisers their references.
        layer.get_submodule(family.attention).__class__ = family.replacement
    return model


def max_positions(config: PretrainedConfig) -> int:
    """Longest input in tokens that the table of positions allows.

    Args:
        config: of a supported family.

    Returns:
        Number of tokens, special tokens included.
    """
    return int(config.max_position_embeddings) - family_of(config).positions_used_by_padding


def embedding_parameters(model: PreTrainedModel) -> int:
    """Number of parameters in embedding tables (words, positions, types), which a layer count does not change.

    Args:
        model: any model.

    Returns:
        Number of parameters.
    """
    tables = [module for module in model.base_model.modules() if isinstance(module, torch.nn.Embedding)]
    return sum(table.weight.numel() for table in tables)


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
