"""Objectives of other papers, for comparison: pure functions from their formulas.

Teacher and student have the same hidden size here, so there is no projection between them. Every function returns one
value per example, (B,). Shapes: B examples, H heads, L tokens, D head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.losses.paper import attention_kl
from innerdistill.models.attention import Attention, at_least_float32


def normalised_cls_mse(teacher_cls: Tensor, student_cls: Tensor) -> Tensor:
    """Squared distance of the [CLS] activations, each divided by its norm: the patient loss of PKD.

    L_PT = || h_S / |h_S| - h_T / |h_T| ||^2, which is 2 (1 - cos(h_T, h_S)). Source: Sun et al. 2019.

    Args:
        teacher_cls: activation of the first token. (B, hidden)
        student_cls: as the teacher's. (B, hidden)

    Returns:
        From 0 to 4. (B,)

    >>> normalised_cls_mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # (1 - 0.6)^2 + 0.8^2
    tensor([0.8000])
    """
    teacher, student = (F.normalize(at_least_float32(cls), dim=-1) for cls in (teacher_cls, student_cls))
    return (teacher - student).square().sum(-1)


def attention_score_mse(teacher: Attention, student: Attention, token_mask: Tensor) -> Tensor:
    """Squared difference of the attention scores before the softmax: the attention loss of TinyBERT.

    L_attn = 1/H sum_h MSE(S_S[h], S_T[h]), S = Q K^T / sqrt(D). The scores include the position bias where the family
    has one. The mean is over the pairs of real tokens that both layers can see. Source: Jiao et al. 2020.

    Args:
        teacher: queries and keys of the teacher's layer.
        student: queries and keys of the mapped student layer.
        token_mask: True for real tokens. (B, L)

    Returns:
        0 or more. (B,)
    """
    scores = [attention.scores() for attention in (teacher, student)]
    visible = (token_mask[:, :, None] & token_mask[:, None, :])[:, None]
    for values in scores:
        visible = visible & (values > torch.finfo(values.dtype).min / 2)  # beyond a window there is no score
    squares = torch.where(visible, scores[0] - scores[1], 0).square()
    return squares.sum((1, 2, 3)) / visible.expand_as(squares).sum((1, 2, 3))


def hidden_mse(teacher_hidden: Tensor, student_hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Squared difference of the activations of all tokens: the hidden and embedding losses of TinyBERT.

    L_hidn = MSE(H_S W, H_T) with W the identity, the mean over real tokens and dimensions. Source: Jiao et al. 2020.

    Args:
        teacher_hidden: activations of all tokens after the teacher's layer. (B, L, hidden)
        student_hidden: as the teacher's. (B, L, hidden)
        token_mask: True for real tokens. (B, L)

    Returns:
        0 or more. (B,)

    >>> real = torch.tensor([[True, False]])
    >>> hidden_mse(torch.tensor([[[1.0, 2.0], [9.0, 9.0]]]), torch.zeros(1, 2, 2), real)  # (1 + 4) / 2
    tensor([2.5000])
    """
    squares = (at_least_float32(teacher_hidden) - at_least_float32(student_hidden)).square().mean(-1)
    return torch.where(token_mask, squares, 0).sum(-1) / token_mask.sum(-1)


def token_cosine(teacher_hidden: Tensor, student_hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Cosine distance of the activations of all tokens: the cosine loss of DistilBERT.

    L_cos = 1/L sum_i (1 - cos(h_T[i], h_S[i])), the mean over the L real tokens. Source: Sanh et al. 2019.

    Args:
        teacher_hidden: activations of all tokens after the teacher's layer. (B, L, hidden)
        student_hidden: as the teacher's. (B, L, hidden)
        token_mask: True for real tokens. (B, L)

    Returns:
        From 0 (same directions) to 2 (opposite ones). (B,)

    >>> teacher = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    >>> student = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [0.0, 1.0]]])
    >>> token_cosine(teacher, student, torch.tensor([[True, True, False]]))  # (1 - 3/5 + 0) / 2
    tensor([0.2000])
    """
    similarities = F.cosine_similarity(at_least_float32(teacher_hidden), at_least_float32(student_hidden), dim=-1)
    return torch.where(token_mask, 1 - similarities, 0).sum(-1) / token_mask.sum(-1)


def relation_kl(teacher: Attention, student: Attention, token_mask: Tensor) -> Tensor:
    """Divergence of the self-relations of queries, keys and values: the loss of MiniLMv2.

    L = 1/3 sum over A in (Q, K, V) of 1/(H L) sum_h sum_i KL(R_T[h, i] || R_S[h, i]), R = softmax(A A^T / sqrt(D));
    as many relation heads as attention heads. Source: Wang et al. 2021, who add the three up.

    Args:
        teacher: queries, keys and values of the teacher's layer.
        student: queries, keys and values of the mapped student layer.
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)
    """
    mask = token_mask[:, None, None, :]

    def relate(vectors: Tensor | None) -> Attention:
        """Vectors that attend to one another: an attention whose queries are its keys."""
        assert vectors is not None
        return Attention(vectors, vectors, vectors.shape[-1] ** -0.5, mask)

    by_kind = [
        attention_kl(relate(getattr(teacher, kind)), relate(getattr(student, kind)), token_mask)
        for kind in ("query", "key", "value")
    ]
    return torch.stack(by_kind).mean(0)
