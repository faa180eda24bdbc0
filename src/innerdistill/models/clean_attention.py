"""clean_attention: an attention function that gives access to the distribution before dropout.

transformers returns attention weights AFTER dropout, and none at all with SDPA, so a loss on them is wrong in training.
This function is registered with transformers. It computes the output by SDPA, or from maps where that is faster, and
hands out queries, keys and mask. A loss that needs the distribution computes it from them.

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

from innerdistill.models.attention import Attention

IMPLEMENTATION = "innerdistill"
SHORT = 128  # tokens; from 256 on torch's kernel is the faster one in bfloat16 too

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

    The layer runs twice, whatever is inside it. The first pass runs on all tokens up to the attention, takes queries,
    keys and values, and ends there. The second pass runs on the first token alone, whose query attends to the keys and
    values of all. So most of the layer's work, what follows the attention, is done for one token of each text. The
    values are exact; only dropout draws other random numbers. A model must not run in two threads at a time.

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


def is_second_pass() -> bool:
    """Tell whether a layer runs for the second time, under `first_token_only`.

    Then `clean_attention` has all it needs but the first token's query, and a mask need not be computed again.

    Returns:
        True in the second pass.
    """
    first_token = _first_token.get()
    return first_token is not None and first_token.seen is not None


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
    """SDPA, or the same from whole maps, that also hands out the attention of modules under `record_attention`.

    Args:
        module: the attention module of the model.
        query: (B, H, L, D)
        key: (B, H or fewer with grouped queries, L, D)
        value: as key.
        attention_mask: boolean, additive or None.
        dropout: probability, applied after what is handed out.
        scaling: factor of query times key; None means D ** -0.5.
        **kwargs: passed on to SDPA.

    Returns:
        The output (B, L, H, D), and None in the place of attention weights.
    """
    first_token = _first_token.get()
    if first_token is not None and first_token.seen is not None:  # the second pass
        query, key, value, attention_mask = first_token.seen
        query = query[:, :, :1]
        if attention_mask is not None:
            attention_mask = attention_mask[:, :, :1]
    elif (recorder := _recorders.get({}).get(module)) is not None:
        recorder(_attention_of(query, key, value, attention_mask, scaling))
    if first_token is not None and first_token.seen is None:
        first_token.seen = (query, key, value, attention_mask)
        raise _AllSeen
    if _maps_are_faster(query, key, drop=dropout):
        output = _attention_of(query, key, value, attention_mask, scaling).output(dropout)
        return output.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=False, **kwargs
    )


def _attention_of(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Attention:
    keys, values = (repeat_kv(part, query.shape[1] // part.shape[1]) for part in (key, value))
    return Attention(query, keys, query.shape[-1] ** -0.5 if scaling is None else scaling, mask, values)


def _maps_are_faster(query: Tensor, key: Tensor, *, drop: float) -> bool:
    """Whether `Attention.output` is faster than torch's SDPA: in training on a CPU, where SDPA computes maps too.

    Without dropout its bfloat16 kernel takes up to eight times as long on short texts.
    """
    if query.device.type != "cpu" or not query.requires_grad:
        return False
    return drop > 0 or (query.dtype in {torch.bfloat16, torch.float16} and key.shape[-2] <= SHORT)


AttentionInterface.register(IMPLEMENTATION, clean_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
