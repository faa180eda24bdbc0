"""DeBERTa's attention through `clean_attention`: the family is outside transformers' AttentionInterface.

Its scores have three parts: content to content, content to position and position to content. The last two depend on
query and key, and are handed on as an additive mask, so gradients reach them.

Shapes: B examples, H heads, L tokens, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.deberta.modeling_deberta import DisentangledSelfAttention
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention as DisentangledSelfAttentionV2

from innerdistill.models.clean_attention import clean_attention, is_second_pass


class CleanDebertaAttention(DisentangledSelfAttention):
    """Attention of DeBERTa (`deberta`). Heads that are mixed before or after the softmax are not supported."""

    def forward(  # noqa: PLR0917 - as the class that it replaces
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Compute what the class that it replaces computes.

        Args:
            hidden_states: activations before the layer. (B, L, D H)
            attention_mask: 1 where a key may be seen. (B, 1, L, L)
            output_attentions: not supported here; `capture` brings the distribution.
            query_states: None; decoders for masked tokens use it.
            relative_pos: position of the query less that of the key. (1, L, L)
            rel_embeddings: embeddings of relative positions. (positions, D H)

        Returns:
            The output (B, L, D H), and None in the place of attention weights.
        """
        assert query_states is None
        query, key, value = self.transpose_for_scores(self.in_proj(hidden_states)).chunk(3, dim=-1)
        query = query + self.transpose_for_scores(self.q_bias[None, None])
        value = value + self.transpose_for_scores(self.v_bias[None, None])
        parts = 1 + len(self.pos_att_type)
        scaling = (self.attention_head_size * parts) ** -0.5
        bias: Any = 0
        if self.relative_attention and not is_second_pass():
            positions = self.pos_dropout(rel_embeddings)
            bias = self.disentangled_att_bias(query * scaling, key, relative_pos, positions, parts)
        return _attend(self, query, key, value, _hide(bias, attention_mask, query), scaling=scaling), None


class CleanDebertaV2Attention(DisentangledSelfAttentionV2):
    """Attention of DeBERTa v2 and v3 (`deberta-v2`)."""

    def forward(  # noqa: PLR0917 - as the class that it replaces
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Compute what the class that it replaces computes.

        Args:
            hidden_states: activations before the layer. (B, L, D H)
            attention_mask: 1 where a key may be seen. (B, 1, L, L)
            output_attentions: not supported here; `capture` brings the distribution.
            query_states: None; decoders for masked tokens use it.
            relative_pos: bucket of the position of the query less that of the key. (1, L, L)
            rel_embeddings: embeddings of the buckets. (buckets, D H)

        Returns:
            The output (B, L, D H), and None in the place of attention weights.
        """
        assert query_states is None
        heads = self.num_attention_heads
        projections = (self.query_proj, self.key_proj, self.value_proj)
        query, key, value = (self.transpose_for_scores(part(hidden_states), heads) for part in projections)
        parts = 1 + sum(kind in self.pos_att_type for kind in ("c2p", "p2c"))
        bias: Any = 0
        if self.relative_attention and not is_second_pass():
            positions = self.pos_dropout(rel_embeddings)
            bias = self.disentangled_attention_bias(query, key, relative_pos, positions, parts)
            bias = _split_heads(bias, heads) if isinstance(bias, Tensor) else bias
        query, key, value = (_split_heads(part, heads) for part in (query, key, value))
        scaling = (self.attention_head_size * parts) ** -0.5
        return _attend(self, query, key, value, _hide(bias, attention_mask, query), scaling=scaling), None


def _split_heads(tensor: Tensor, heads: int) -> Tensor:
    """(B H, ...) as (B, H, ...)."""
    return tensor.view(-1, heads, *tensor.shape[1:])


def _hide(bias: Tensor | int, attention_mask: Tensor, query: Tensor) -> Tensor:
    """Turn the bias into an additive mask, very negative where no key may be seen; 0 is no bias: (B, H or 1, L, L)."""
    allowed = attention_mask.bool()
    if isinstance(bias, int):
        bias = torch.zeros_like(allowed, dtype=query.dtype)
    return bias.masked_fill(~allowed, torch.finfo(bias.dtype).min)


def _attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, scaling: float) -> Tensor:
    drop = module.dropout.p if module.training else 0.0
    output, _ = clean_attention(module, query, key, value, mask, dropout=drop, scaling=scaling)
    return output.flatten(-2)
