"""MPNet's attention through `clean_attention`: the family is outside transformers' AttentionInterface."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from innerdistill.models.clean_attention import clean_attention


class CleanMPNetAttention(MPNetSelfAttention):
    """MPNet's attention through `clean_attention`, with the shared position bias as an additive mask.

    Shapes: B examples, H heads, L tokens.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Compute what the class that it replaces computes.

        Args:
            hidden_states: activations before the layer. (B, L, hidden)
            attention_mask: additive mask, (B, 1, 1 or L, L), or None.
            position_bias: additive bias, the same in every layer. (B, H, L, L)
            output_attentions: not supported here; `capture` brings the distribution.
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
