"""The clean self-attention distribution: before dropout, whatever kernel computes the output.

transformers hands out attention weights AFTER dropout (and with SDPA none at all), so a loss on them is wrong in train
mode. Here an attention function registered with transformers computes the output by SDPA and hands out queries, keys
and mask; the distribution is made from them only if a loss asks for it.

Shapes: B examples, H heads, L tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

IMPLEMENTATION = "innerdistill"


@dataclass(frozen=True)
class Attention:
    """One layer's self-attention, from which its distribution can be made.

    Attributes:
        query: after rotary embedding where the family has one. (B, H, L, D)
        key: as query. (B, H, L, D)
        scaling: factor of query times key.
        mask: True where a key may be seen, or numbers added to the scores (position bias, very negative where a key
            must not be seen), or None where every key may be seen. (B or 1, H or 1, L or 1, L)
    """

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None

    def log_probabilities(self) -> Tensor:
        """Logarithm of the distribution over keys, at least in float32: 16-bit scores would round, or overflow.

        Returns:
            log softmax(scaling * query key^T + mask); the exponential is exactly 0 for masked keys. (B, H, L, L)
        """
        query, key = at_least_float32(self.query), at_least_float32(self.key)
        with torch.autocast(query.device.type, enabled=False):
            scores = torch.matmul(query, key.transpose(-1, -2)) * self.scaling
        if self.mask is None:
            return scores.log_softmax(dim=-1)
        if self.mask.dtype == torch.bool:
            # A finite number, not -inf: a padded query row in a sliding window may see no key, and NaN spreads.
            scores = scores.masked_fill(~self.mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + self.mask
        return scores.log_softmax(dim=-1)

    def probabilities(self) -> Tensor:
        """The distribution over keys, of shape (B, H, L, L); every row sums to 1."""
        return self.log_probabilities().exp()


def at_least_float32(tensor: Tensor) -> Tensor:
    """16-bit values as float32, in which every softmax and loss here is computed; others as they are.

    Args:
        tensor: any shape.

    Returns:
        The same shape.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


_recorders: ContextVar[Mapping[nn.Module, Callable[[Attention], None]]] = ContextVar("recorders")


@contextmanager
def record_attention(recorders: Mapping[nn.Module, Callable[[Attention], None]]) -> Iterator[None]:
    """Hand the attention of some modules to callbacks while the context is open.

    Args:
        recorders: callback by attention module (the one that computes queries and keys).

    Yields:
        Nothing.
    """
    token = _recorders.set(recorders)
    try:
        yield
    finally:
        _recorders.reset(token)


def clean_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA that also hands out the attention of modules under `record_attention`.

    Args:
        module: the attention module of the model.
        query: (B, H, L, D)
        key: (B, H or fewer with grouped queries, L, D)
        value: as key.
        attention_mask: boolean, additive or None.
        dropout: probability, applied inside SDPA only.
        scaling: factor of query times key; None means D ** -0.5.
        **kwargs: passed on to SDPA.

    Returns:
        The output (B, L, H, D), and None in the place of attention weights.
    """
    recorder = _recorders.get({}).get(module)
    if recorder is not None:
        keys = repeat_kv(key, query.shape[1] // key.shape[1])
        recorder(Attention(query, keys, query.shape[-1] ** -0.5 if scaling is None else scaling, attention_mask))
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=False, **kwargs
    )


AttentionInterface.register(IMPLEMENTATION, clean_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
