"""The attention KL in one kernel, for NVIDIA GPUs: no map ever leaves the chip.

Scores of teacher and student are computed tile by tile and added to the divergence at once. That is the online softmax
of FlashAttention (Dao et al. 2022), over both distributions together. With t and s the scores of one row,

    KL = sum_j p_j (t_j - s_j) - log sum_j exp(t_j) + log sum_j exp(s_j),    p = softmax(t),

so one pass over the keys gives a row. The backward pass computes the tiles again. Memory is linear in the length.

Shapes: B examples, H heads, L tokens, D head size. Needs `triton`, which comes with torch for CUDA.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from innerdistill.models.attention import Attention

TILE, WARPS, STAGES = 64, 4, 1  # measured on an H100: more of any is slower, or does not fit
PRECISION = tl.constexpr("tf32x3")  # of products of 32-bit numbers
LEAST = tl.constexpr(torch.finfo(torch.float32).min)  # score of a hidden key, as in Attention.scores


def fused_attention_kl(teacher: Attention, student: Attention, token_mask: Tensor) -> Tensor:
    """`attention_kl` of two attentions by Triton kernels.

    A product of float32 queries and keys is the sum of three TF32 products, about as exact as float32. Products of
    16-bit queries and keys are exact and added up in float32.

    Args:
        teacher: attention of the teacher, with as many heads and as large ones; no gradient reaches it.
        student: attention of the student; gradients reach its query and key, not its mask.
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)
    """
    others = student.mask, student.scaling, teacher, token_mask
    kl: Tensor = _FusedKL.apply(student.query, student.key, others)
    return kl


class _FusedKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, others: tuple[Tensor | None, float, Attention, Tensor]) -> Tensor:
        mask, scaling, teacher, token_mask = others
        sides = _side(query, key, mask, scaling), _side(teacher.query, teacher.key, teacher.mask, teacher.scaling)
        weights = token_mask / (query.shape[1] * token_mask.sum(1, keepdim=True)).float()
        kl, *log_sums = (query.new_empty(query.shape[:3], dtype=torch.float32) for _ in range(3))
        _row_divergence[_grid(query)](*sides, kl, *log_sums, **_sizes(query))
        ctx.save_for_backward(query, key, weights, *log_sums)
        ctx.sides = sides
        # A row of padding may see no key: its value is not used.
        return torch.where(token_mask[:, None], kl * weights[:, None], 0).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, weights, *log_sums = ctx.saved_tensors
        slopes = weights * upstream[0].float()[:, None]
        by_query, by_key = torch.empty_like(query), torch.empty_like(key)
        for kernel, gradient in ((_gradient_by_query, by_query), (_gradient_by_key, by_key)):
            kernel[_grid(query)](*ctx.sides, *log_sums, slopes, gradient, gradient.stride(), **_sizes(query))
        return by_query, by_key, None


def _side(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> tuple[Any, ...]:
    """Pointers, strides and factor of one model, as the kernels unpack them."""
    query, key = (part if part.stride(-1) == 1 else part.contiguous() for part in (query.detach(), key.detach()))
    hidden = 0  # 0 no mask, 1 numbers, 2 booleans
    if mask is None:
        mask, strides = query, (0, 0, 0, 0)
    else:
        hidden = 2 if mask.dtype == torch.bool else 1
        mask = mask.detach().expand(*query.shape[:3], key.shape[2])
        mask, strides = (mask.view(torch.uint8) if hidden == 2 else mask), mask.stride()
    return query, query.stride(), key, key.stride(), mask, strides, scaling, tl.constexpr(hidden)


def _grid(query: Tensor) -> tuple[int, int]:
    return triton.cdiv(query.shape[2], _tile(query)), query.shape[0] * query.shape[1]


def _tile(query: Tensor) -> int:
    return min(TILE, max(16, triton.next_power_of_2(query.shape[2])))


def _sizes(query: Tensor) -> dict[str, Any]:
    _, heads, tokens, width = query.shape
    return {
        "heads": heads,
        "tokens": tokens,
        "width": width,
        "WIDTH": max(16, triton.next_power_of_2(width)),
        "TILE": _tile(query),
        "num_warps": WARPS,
        "num_stages": STAGES,
    }


@triton.jit
def _vectors(pointer, strides, example, head, positions, tokens, width, WIDTH: tl.constexpr):
    """Queries or keys of some positions; zeros beyond the last token. (TILE, WIDTH)"""
    columns = tl.arange(0, WIDTH)
    start = pointer + example.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[1]
    inside = (positions[:, None] < tokens) & (columns[None, :] < width)
    return tl.load(start + positions[:, None].to(tl.int64) * strides[2] + columns[None, :], mask=inside, other=0.0)


@triton.jit
def _scores(side, query, key, example, head, rows, keys, tokens):
    """What the softmax is taken of; minus infinity beyond the last token. (TILE, TILE)"""
    scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * side[6]
    inside = (rows[:, None] < tokens) & (keys[None, :] < tokens)
    if side[7] > 0:
        strides = side[5]
        start = side[4] + example.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[1]
        places = start + rows[:, None].to(tl.int64) * strides[2] + keys[None, :].to(tl.int64) * strides[3]
        mask = tl.load(places, mask=inside, other=1)
        if side[7] == 2:
            scores = tl.where(mask != 0, scores, LEAST)
        else:
            scores += mask.to(tl.float32)
    return tl.where(keys[None, :] < tokens, scores, float("-inf"))


@triton.jit
def _row_divergence(
    student, teacher, kl, student_log_sums, teacher_log_sums,
    heads, tokens, width, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """KL of the rows of one tile, and the logarithms of both sums, for the backward pass."""
    example, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    rows = tl.program_id(0) * TILE + tl.arange(0, TILE)
    student_query = _vectors(student[0], student[1], example, head, rows, tokens, width, WIDTH)
    teacher_query = _vectors(teacher[0], teacher[1], example, head, rows, tokens, width, WIDTH)
    student_most = tl.full((TILE,), float("-inf"), tl.float32)
    teacher_most = tl.full((TILE,), float("-inf"), tl.float32)
    student_sum = tl.zeros((TILE,), tl.float32)
    teacher_sum = tl.zeros((TILE,), tl.float32)
    difference = tl.zeros((TILE,), tl.float32)
    for first in range(0, tokens, TILE):
        keys = first + tl.arange(0, TILE)
        student_key = _vectors(student[2], student[3], example, head, keys, tokens, width, WIDTH)
        teacher_key = _vectors(teacher[2], teacher[3], example, head, keys, tokens, width, WIDTH)
        s = _scores(student, student_query, student_key, example, head, rows, keys, tokens)
        t = _scores(teacher, teacher_query, teacher_key, example, head, rows, keys, tokens)
        most = tl.maximum(student_most, tl.max(s, 1))
        student_sum = student_sum * tl.exp(student_most - most) + tl.sum(tl.exp(s - most[:, None]), 1)
        student_most = most
        most = tl.maximum(teacher_most, tl.max(t, 1))
        shrink, p = tl.exp(teacher_most - most), tl.exp(t - most[:, None])
        teacher_sum = teacher_sum * shrink + tl.sum(p, 1)
        difference = difference * shrink + tl.sum(tl.where(p > 0, p * (t - s), 0.0), 1)
        teacher_most = most
    student_log_sum = student_most + tl.log(student_sum)
    teacher_log_sum = teacher_most + tl.log(teacher_sum)
    places = tl.program_id(1).to(tl.int64) * tokens + rows
    tl.store(kl + places, difference / teacher_sum - teacher_log_sum + student_log_sum, mask=rows < tokens)
    tl.store(student_log_sums + places, student_log_sum, mask=rows < tokens)
    tl.store(teacher_log_sums + places, teacher_log_sum, mask=rows < tokens)


@triton.jit
def _slope(
    student, teacher, student_log_sums, teacher_log_sums, slopes, student_query, student_key, teacher_query,
    teacher_key, example, head, heads, rows, keys, tokens,
):  # fmt: skip
    """Derivative of the loss by a tile of the student's scores: (q - p) * slope of the row. (TILE, TILE)"""
    inside = rows < tokens
    places = (example * heads + head).to(tl.int64) * tokens + rows
    s = _scores(student, student_query, student_key, example, head, rows, keys, tokens)
    t = _scores(teacher, teacher_query, teacher_key, example, head, rows, keys, tokens)
    q = tl.exp(s - tl.load(student_log_sums + places, mask=inside, other=0.0)[:, None])
    p = tl.exp(t - tl.load(teacher_log_sums + places, mask=inside, other=0.0)[:, None])
    slope = tl.load(slopes + example.to(tl.int64) * tokens + rows, mask=inside, other=0.0)[:, None]
    return tl.where(slope != 0, (q - p) * slope, 0.0) * student[6]


@triton.jit
def _gradient_by_query(
    student, teacher, student_log_sums, teacher_log_sums, slopes, gradient, strides,
    heads, tokens, width, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    example, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    rows = tl.program_id(0) * TILE + tl.arange(0, TILE)
    student_query = _vectors(student[0], student[1], example, head, rows, tokens, width, WIDTH)
    teacher_query = _vectors(teacher[0], teacher[1], example, head, rows, tokens, width, WIDTH)
    total = tl.zeros((TILE, WIDTH), tl.float32)
    for first in range(0, tokens, TILE):
        keys = first + tl.arange(0, TILE)
        student_key = _vectors(student[2], student[3], example, head, keys, tokens, width, WIDTH)
        teacher_key = _vectors(teacher[2], teacher[3], example, head, keys, tokens, width, WIDTH)
        slope = _slope(
            student, teacher, student_log_sums, teacher_log_sums, slopes, student_query, student_key, teacher_query,
            teacher_key, example, head, heads, rows, keys, tokens,
        )  # fmt: skip
        total += tl.dot(slope.to(student_key.dtype), student_key, input_precision=PRECISION)
    _store(gradient, strides, example, head, rows, total, tokens, width, WIDTH)


@triton.jit
def _gradient_by_key(
    student, teacher, student_log_sums, teacher_log_sums, slopes, gradient, strides,
    heads, tokens, width, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    example, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    keys = tl.program_id(0) * TILE + tl.arange(0, TILE)
    student_key = _vectors(student[2], student[3], example, head, keys, tokens, width, WIDTH)
    teacher_key = _vectors(teacher[2], teacher[3], example, head, keys, tokens, width, WIDTH)
    total = tl.zeros((TILE, WIDTH), tl.float32)
    for first in range(0, tokens, TILE):
        rows = first + tl.arange(0, TILE)
        student_query = _vectors(student[0], student[1], example, head, rows, tokens, width, WIDTH)
        teacher_query = _vectors(teacher[0], teacher[1], example, head, rows, tokens, width, WIDTH)
        slope = _slope(
            student, teacher, student_log_sums, teacher_log_sums, slopes, student_query, student_key, teacher_query,
            teacher_key, example, head, heads, rows, keys, tokens,
        )  # fmt: skip
        total += tl.dot(tl.trans(slope).to(student_query.dtype), student_query, input_precision=PRECISION)
    _store(gradient, strides, example, head, keys, total, tokens, width, WIDTH)


@triton.jit
def _store(pointer, strides, example, head, positions, values, tokens, width, WIDTH: tl.constexpr):
    columns = tl.arange(0, WIDTH)
    start = pointer + example.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[1]
    places = start + positions[:, None].to(tl.int64) * strides[2] + columns[None, :] * strides[3]
    inside = (positions[:, None] < tokens) & (columns[None, :] < width)
    tl.store(places, values.to(pointer.dtype.element_ty), mask=inside)
