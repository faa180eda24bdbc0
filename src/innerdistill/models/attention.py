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


ALL = slice(None)


@dataclass(frozen=True)
class Attention:
    """One layer's self-attention, from which its distribution can be made, whole or block by block.

    Attributes:
        query: after rotary embedding where the family has one. (B, H, L, D)
        key: as query. (B, H, L, D)
        scaling: factor of query times key.
        mask: True where a key may be seen, or numbers added to the scores (position bias, very negative where a key
            must not be seen), or None where every key may be seen. (B or 1, H or 1, L or 1, L)
        value: as query; None where it was not handed out.
    """

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None
    value: Tensor | None = None

    def scores(self, examples: slice = ALL, rows: slice = ALL) -> Tensor:
        """What the softmax is taken of, at least in float32: 16-bit scores would round, or overflow.

        Args:
            examples: which examples.
            rows: which query tokens.

        Returns:
            scaling * query key^T + mask; the most negative number where a boolean mask hides a key. (B, H, L, L)
        """
        query, key = at_least_float32(self.query[examples, :, rows]), at_least_float32(self.key[examples])
        with torch.autocast(query.device.type, enabled=False):
            scores = torch.matmul(query, key.transpose(-1, -2)) * self.scaling
        if self.mask is None:
            return scores
        mask = self.mask[block_of(self.mask, examples, rows)]
        if mask.dtype == torch.bool:
            # A finite number, not -inf: a padded query row in a sliding window may see no key, and NaN spreads.
            scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
        else:
            scores += mask
        return scores

    def log_probabilities(self, examples: slice = ALL, rows: slice = ALL) -> Tensor:
        """Logarithm of the distribution over keys.

        Args:
            examples: which examples.
            rows: which query tokens.

        Returns:
            log softmax of the scores; the exponential is exactly 0 for masked keys. (B, H, L, L)
        """
        return self.scores(examples, rows).log_softmax(dim=-1)

    def distribution(self, examples: slice = ALL, rows: slice = ALL) -> tuple[Tensor, Tensor]:
        """The distribution over keys, and its logarithm.

        Args:
            examples: which examples.
            rows: which query tokens.

        Returns:
            Probabilities and their logarithms, each (B, H, L, L).
        """
        log_probs = self.log_probabilities(examples, rows)
        return log_probs.exp(), log_probs

    def probabilities(self) -> Tensor:
        """The distribution over keys, of shape (B, H, L, L); every row sums to 1."""
        return self.log_probabilities().exp()


@dataclass(frozen=True)
class AttentionMaps:
    """A layer's self-attention that was computed before and kept as its distribution.

    Attributes:
        maps: probabilities, in 16 bits; 0 in the rows and columns of padding. (B, H, L, L)
        entropy: of the real rows, the mean over heads and rows, in nats: so that no step needs the logarithm. (B,)
    """

    maps: Tensor
    entropy: Tensor

    @staticmethod
    def of(maps: Tensor, token_mask: Tensor) -> AttentionMaps:
        """Maps with their entropy.

        Args:
            maps: probabilities, in 16 bits. (B, H, L, L)
            token_mask: True for real tokens. (B, L)

        Returns:
            What a store keeps.
        """
        alone = AttentionMaps(maps, maps.new_zeros(len(maps), dtype=torch.float32))
        rows = torch.special.entr(alone.probabilities()).sum(-1) * token_mask[:, None]
        return AttentionMaps(maps, rows.sum((1, 2)) / (maps.shape[1] * token_mask.sum(1)))

    def probabilities(self, examples: slice = ALL, rows: slice = ALL) -> Tensor:
        """The distribution over keys, (B, H, L, L), with rows brought back to a sum of 1 after rounding."""
        maps = self.maps[examples, :, rows].float()
        return maps.div_(maps.sum(-1, keepdim=True).clamp_(min=torch.finfo(maps.dtype).tiny))

    def log_probabilities(self, examples: slice = ALL, rows: slice = ALL) -> Tensor:
        """As `Attention.log_probabilities`; masked keys have a finite logarithm whose exponential is 0."""
        probs = self.probabilities(examples, rows)
        return probs.log().clamp_(min=torch.finfo(probs.dtype).min)


def block_of(tensor: Tensor, examples: slice, rows: slice) -> tuple[slice, slice, slice]:
    """Index of the part of a broadcastable tensor that belongs to a block.

    Args:
        tensor: (B or 1, H or 1, L or 1, L)
        examples: of the block.
        rows: of the block.

    Returns:
        Slices of the first three dimensions.
    """
    return (examples if tensor.shape[0] > 1 else ALL, ALL, rows if tensor.shape[2] > 1 else ALL)


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


@dataclass
class _FirstToken:
    """Queries, keys, values and mask of all tokens, once they have been seen."""

    seen: tuple[Tensor, Tensor, Tensor, Tensor | None] | None = None


class _AllSeen(Exception):  # noqa: N818 - a way out of a forward pass, not an error
    pass


_first_token: ContextVar[_FirstToken | None] = ContextVar("first_token", default=None)


@contextmanager
def first_token_only(layer: nn.Module) -> Iterator[None]:
    """While open, a layer gives the activation of the first token only, which is all that [CLS] needs of the top layer.

    The layer runs twice, whatever is inside it: on all tokens up to its attention, where queries, keys and values are
    taken and the pass is left; and on the first token alone, whose query then meets the keys and values of all. What
    follows the attention, most of the layer's work, is computed for one token of each text. Exact; only the random
    numbers of dropout are others. Not for one model in two threads at a time.

    Args:
        layer: restored at the end; if its attention is not `clean_attention`, it gives all tokens as ever.

    Yields:
        Nothing.
    """
    whole, own = layer.forward, vars(layer).get("forward")

    def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        token = _first_token.set(_FirstToken())
        try:
            return whole(hidden, *args, **kwargs)
        except _AllSeen:
            return whole(hidden[:, :1], *args, **kwargs)
        finally:
            _first_token.reset(token)

    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward
        if own is not None:
            layer.forward = own


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
    first_token = _first_token.get()
    if first_token is not None and first_token.seen is not None:
        query, key, value, attention_mask = first_token.seen
        query = query[:, :, :1]
        if attention_mask is not None:
            attention_mask = attention_mask[:, :, :1]
    elif (recorder := _recorders.get({}).get(module)) is not None:
        keys, values = (repeat_kv(part, query.shape[1] // part.shape[1]) for part in (key, value))
        scaling_used = query.shape[-1] ** -0.5 if scaling is None else scaling
        recorder(Attention(query, keys, scaling_used, attention_mask, values))
    if first_token is not None and first_token.seen is None:
        first_token.seen = (query, key, value, attention_mask)
        raise _AllSeen
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=False, **kwargs
    )


AttentionInterface.register(IMPLEMENTATION, clean_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
