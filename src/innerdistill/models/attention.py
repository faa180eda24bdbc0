"""Attention: the self-attention distribution of one layer, before dropout, whole or block by block.

Shapes: B examples, H heads, L tokens, D head size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from innerdistill.models.dropout import dropout

ALL = slice(None)


@dataclass(frozen=True)
class Attention:
    """One layer's self-attention, from which its distribution can be made, whole or block by block.

    Attributes:
        query: after rotary embedding where the family has one. (B, H, L, D)
        key: as query. (B, H, L, D)
        scaling: factor of query times key.
        mask: True where a key may be seen; or numbers added to the scores: a position bias, very negative where a key
            must not be seen. None where every key may be seen. (B or 1, H or 1, L or 1, L)
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
            scores = torch.matmul(query * self.scaling, key.transpose(-1, -2))
        if self.mask is None:
            return scores
        mask = self.mask[block_of(self.mask, examples, rows)]
        if mask.dtype != torch.bool:  # a bias in bfloat16 cannot hold the number below
            mask = at_least_float32(mask)
        # A finite number, not -inf: a padded query row in a sliding window may see no key, and NaN spreads. Added, as
        # filling takes much longer: beside it a score is lost in the rounding.
        least = torch.finfo(scores.dtype).min
        if mask.dtype == torch.bool:
            scores += torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, least)
        else:
            scores += mask.clamp(min=least)
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
        return exponential(log_probs.clone()), log_probs

    def probabilities(self) -> Tensor:
        """The distribution over keys, of shape (B, H, L, L); every row sums to 1."""
        return self.log_probabilities().exp()

    def output(self, drop: float) -> Tensor:
        """What the distribution takes from the values, softmax(scores) value, with dropout between.

        Args:
            drop: probability of dropout.

        Returns:
            (B, H, L, D)
        """
        assert self.value is not None
        return torch.matmul(dropout(self.scores().softmax(dim=-1), drop).to(self.value.dtype), self.value)


@dataclass(frozen=True)
class AttentionMaps:
    """A layer's self-attention that was computed before and cached as its distribution.

    Attributes:
        maps: probabilities in float16; 0 in the rows and columns of padding. (B, H, L, L)
        entropy: mean entropy of the rows of real tokens over heads, in nats. With it no step needs the logarithm. (B,)
    """

    maps: Tensor
    entropy: Tensor

    @staticmethod
    def of(maps: Tensor, token_mask: Tensor) -> AttentionMaps:
        """Compute the entropy of maps.

        Args:
            maps: probabilities in float16. (B, H, L, L)
            token_mask: True for real tokens. (B, L)

        Returns:
            The maps with their entropy, as a store holds them.
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
    """Index the part of a broadcastable tensor that belongs to a block.

    Args:
        tensor: (B or 1, H or 1, L or 1, L)
        examples: examples of the block.
        rows: query tokens of the block.

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


def exponential(logarithms: Tensor) -> Tensor:
    """Probabilities from their logarithms, e^x = 2^(x / ln 2); exactly 0 for hidden keys.

    On a CPU torch's exp takes up to ten times as long if some results round to 0.

    Args:
        logarithms: any shape; overwritten.

    Returns:
        The same tensor.
    """
    return logarithms.mul_(1 / math.log(2)).exp2_()
