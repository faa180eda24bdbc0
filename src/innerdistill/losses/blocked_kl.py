"""The attention KL without the maps: in blocks that stay in the cache, with its own backward.

Plain PyTorch stores the scores, logarithms and exponentials of all heads for the backward pass: memory that grows with
the square of the length. Here the distributions of one block are computed, added to the loss and to the gradients, and
freed. The memory that remains is that of queries and keys.

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
DEVICE_BLOCK = 1 << 26  # an accelerator needs more work at once


def can_use_fused_kernel(teacher: Attention | AttentionMaps, student: Attention) -> bool:
    """Whether `fused_kl` computes this loss: an Ampere GPU or later, a head that fits on the chip, no cached maps.

    Args:
        teacher: attention of the teacher, computed now or cached.
        student: attention of the student; the kernel gives its mask no gradient.

    Returns:
        False on a CPU and wherever the kernel would not be exact.
    """
    query = student.query
    if not (query.is_cuda and isinstance(teacher, Attention) and importlib.util.find_spec("triton")):
        return False
    fits_on_chip = query.shape[-1] <= 64 and query.shape == teacher.query.shape
    dtypes = {query.dtype, teacher.query.dtype} <= {torch.float32, torch.bfloat16}  # float16 would lose small slopes
    fixed_mask = student.mask is None or not student.mask.requires_grad
    return fits_on_chip and dtypes and fixed_mask and torch.cuda.get_device_capability(query.device) >= (8, 0)


def blocked_attention_kl(teacher: Attention | AttentionMaps, student: Attention, token_mask: Tensor) -> Tensor:
    """`attention_kl` of two attentions, with memory linear in the length.

    The gradient of the loss by a score is (A_S - A_T) / (H * L) in rows of real tokens. The rest of the backward pass
    only multiplies it by a factor per example. So the gradients of queries and keys are computed in the forward pass,
    where the distributions are at hand.

    Args:
        teacher: attention of the teacher, computed now or cached; no gradient reaches it.
        student: attention of the student; gradients reach its query, key and additive mask.
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)
    """
    others = (student.scaling, teacher, token_mask)
    kl: Tensor = _BlockedKL.apply(student.query, student.key, student.mask, others)  # type: ignore[no-untyped-call]
    return kl


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
            # The examples share a position bias, and their factors are known only now: a second pass over the blocks.
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

    With cached maps the second is the cross-entropy.
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
