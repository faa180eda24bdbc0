"""The attention KL without the maps: in blocks that stay in the cache, with its own backward.

Plain PyTorch keeps the scores, logarithms and exponentials of all heads for the backward pass: memory that grows with
the square of the length. Here a block's distributions are made, its share of the loss and of the gradients is taken,
and it is forgotten. What remains is as large as queries and keys.

Shapes: B examples, H heads, L tokens, D head size.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from innerdistill.models.attention import Attention, AttentionMaps, at_least_float32, block_of, exponential

CPU_BLOCK = 1 << 19  # elements of a map: 2 MiB, which the second-level cache holds
DEVICE_BLOCK = 1 << 26  # an accelerator wants more work at once


def attention_kl_without_maps(teacher: Attention | AttentionMaps, student: Attention, token_mask: Tensor) -> Tensor:
    """As `blocked_attention_kl`, which it is but where a GPU's kernel serves."""
    if _kernel_serves(teacher, student):
        from innerdistill.losses.fused_kl import fused_attention_kl  # noqa: PLC0415 - Triton is not everywhere

        assert isinstance(teacher, Attention)
        return fused_attention_kl(teacher, student, token_mask)
    return blocked_attention_kl(teacher, student, token_mask)


def _kernel_serves(teacher: Attention | AttentionMaps, student: Attention) -> bool:
    """Not kept maps, no gradient of a position bias, no head that would not fit on the chip; Ampere or later."""
    query = student.query
    if not (query.is_cuda and isinstance(teacher, Attention) and importlib.util.find_spec("triton")):
        return False
    narrow = query.shape[-1] <= 64 and query.shape == teacher.query.shape
    known = {query.dtype, teacher.query.dtype} <= {torch.float32, torch.bfloat16}  # float16 would lose small slopes
    fixed_mask = student.mask is None or not student.mask.requires_grad
    return narrow and known and fixed_mask and torch.cuda.get_device_capability(query.device) >= (8, 0)


def blocked_attention_kl(teacher: Attention | AttentionMaps, student: Attention, token_mask: Tensor) -> Tensor:
    """`attention_kl` of two attentions, with memory linear in the length.

    The gradient of the loss by a score is (A_S - A_T) / (H * L) in rows of real tokens. It does not depend on what
    follows but for a factor per example, so queries' and keys' gradients are made in the forward pass, where the
    distributions are at hand.

    Args:
        teacher: no gradient reaches it.
        student: gradients reach its query, key and additive mask.
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)
    """
    others = (student.scaling, teacher, token_mask)
    found: Tensor = _BlockedKL.apply(student.query, student.key, student.mask, others)  # type: ignore[no-untyped-call]
    return found


class _BlockedKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        others: tuple[float, Attention | AttentionMaps, Tensor],
    ) -> Tensor:
        scaling, teacher, token_mask = others
        student = Attention(query, key, scaling, mask)
        weights = token_mask / (query.shape[1] * token_mask.sum(1, keepdim=True)).to(at_least_float32(query).dtype)
        kl = weights.new_zeros(len(query))
        gradients = []
        if any(ctx.needs_input_grad[:2]):
            gradients = [torch.zeros_like(part, dtype=weights.dtype) for part in (query, key)]
        with torch.autocast(query.device.type, enabled=False):
            for examples, rows in _blocks(query):
                slope, value = _slope(teacher, student, examples, rows)
                weight = weights[examples, None, rows, None]
                kl[examples] += (value * weight).sum((1, 2, 3))
                if gradients:  # weights and scaling on queries and keys, which are smaller than the maps
                    weight = weight * scaling
                    gradients[0][examples, :, rows] = slope @ at_least_float32(key[examples]) * weight
                    weighted = at_least_float32(query[examples, :, rows]) * weight
                    gradients[1][examples] += slope.transpose(-1, -2) @ weighted
        ctx.save_for_backward(query, key, mask, weights, *gradients)
        ctx.teacher, ctx.scaling = teacher if ctx.needs_input_grad[2] else None, scaling
        return kl - teacher.entropy if isinstance(teacher, AttentionMaps) else kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, mask, weights, *gradients = ctx.saved_tensors
        factor = upstream[0]
        by_mask = None
        if ctx.needs_input_grad[2]:
            # A position bias is shared by the examples, whose factors are known only now: once more over the blocks.
            student = Attention(query, key, ctx.scaling, mask)
            by_mask = torch.zeros_like(mask)
            weights = weights * factor[:, None]
            for examples, rows in _blocks(query):
                slope, _ = _slope(ctx.teacher, student, examples, rows)
                part = by_mask[block_of(mask, examples, rows)]
                part += slope.mul_(weights[examples, None, rows, None]).sum_to_size(part.shape)
        by_parts = [
            (gradient * factor[:, None, None, None]).to(part.dtype) if needed else None
            for gradient, part, needed in zip(gradients, (query, key), ctx.needs_input_grad[:2], strict=False)
        ]
        return (*(by_parts or (None, None)), by_mask, None)


def _slope(
    teacher: Attention | AttentionMaps, student: Attention, examples: slice, rows: slice
) -> tuple[Tensor, Tensor]:
    """A block's derivative by the student's scores (b, H, r, L), and the KL divergence of its rows (b, H, r, 1).

    With kept maps that is the cross-entropy.
    """
    student_log_probs = student.log_probabilities(examples, rows)
    # A hidden key's logarithm is finite, so its share is 0.
    if isinstance(teacher, AttentionMaps):  # all but the teacher's entropy
        teacher_probs = teacher.probabilities(examples, rows)
        value = -(student_log_probs * teacher_probs).sum(-1, keepdim=True)
    else:
        teacher_probs, teacher_log_probs = teacher.distribution(examples, rows)
        value = teacher_log_probs.sub_(student_log_probs).mul_(teacher_probs).sum(-1, keepdim=True)
    return exponential(student_log_probs).sub_(teacher_probs), value


def _blocks(query: Tensor) -> Iterator[tuple[slice, slice]]:
    examples, heads, tokens = query.shape[:3]
    size = CPU_BLOCK if query.device.type == "cpu" else DEVICE_BLOCK
    together = max(1, size // (heads * tokens * tokens))
    height = min(tokens, max(1, size // (heads * tokens)))
    for first in range(0, examples, together):
        for row in range(0, tokens, height):
            yield slice(first, first + together), slice(row, row + height)
