"""The losses of the paper (Aguilar et al. 2020): pure functions of teacher and student, the ones that run in training.

Every loss returns one value per example, (B,). `registry` lists them by name.
Shapes: B examples, H heads, L tokens, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.blocked_kl import blocked_attention_kl, can_use_fused_kernel
from innerdistill.models.attention import Attention, AttentionMaps, at_least_float32


def attention_kl(teacher: Attention | AttentionMaps, student: Attention, token_mask: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's self-attention from the teacher's, averaged over heads.

    L_kl = (1/L) * sum_i sum_j A_T[i,j] * log(A_T[i,j] / A_S[i,j]), with L the number of real tokens; rows of padding do
    not count, and padded keys have probability 0 in both. Source: Aguilar et al. 2020, attention loss.

    The maps A are never stored whole: `blocked_kl` computes value and gradients in blocks that fit the cache, and on an
    NVIDIA GPU `fused_kl` does so in one kernel.

    Args:
        teacher: attention of the teacher's layer, before dropout, computed now or cached; no gradient reaches it.
        student: attention of the mapped student layer; gradients reach its query, key and additive mask.
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)

    >>> def attend(rows):  # scores that are the logarithms of the rows: their softmax gives the rows
    ...     zeros = torch.zeros(1, 1, 2, 1)
    ...     return Attention(zeros, zeros, 1.0, torch.tensor([[rows]]).log())
    >>> teacher, student = attend([[0.5, 0.5], [0.5, 0.5]]), attend([[0.25, 0.75], [0.5, 0.5]])
    >>> attention_kl(teacher, student, torch.ones(1, 2, dtype=torch.bool))  # rows ln(4/3) / 2 and 0; their mean
    tensor([0.0719])
    """
    if can_use_fused_kernel(teacher, student):
        from innerdistill.losses.fused_kl import fused_attention_kl  # noqa: PLC0415 - Triton is not everywhere

        assert isinstance(teacher, Attention)
        return fused_attention_kl(teacher, student, token_mask)
    return blocked_attention_kl(teacher, student, token_mask)


def cls_cosine(teacher_cls: Tensor, student_cls: Tensor) -> Tensor:
    """Cosine distance of the [CLS] activations.

    L_cos = 1 - cos(h_T, h_S). Source: Aguilar et al. 2020, cosine loss.

    Args:
        teacher_cls: activation of the first token. (B, hidden)
        student_cls: as the teacher's. (B, hidden)

    Returns:
        From 0 (same direction) to 2 (opposite). (B,)

    >>> cls_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # 1 - 3/5
    tensor([0.4000])
    """
    return 1 - F.cosine_similarity(at_least_float32(teacher_cls), at_least_float32(student_cls), dim=-1)


def soft_labels(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the student's class probabilities from the teacher's.

    T^2 * sum_c p_c log(p_c / q_c), p = softmax(teacher / T), q = softmax(student / T). It differs from the
    cross-entropy by the entropy of p, which has no gradient, and is 0 for equal models. The factor T^2 keeps the
    gradient's size independent of T. Source: Hinton et al. 2015.

    Args:
        teacher_logits: (B, C)
        student_logits: (B, C)
        temperature: T > 0.

    Returns:
        0 or more. (B,)

    >>> teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> soft_labels(teacher, student)  # ln(4/3) / 2
    tensor([0.1438])
    """
    teacher_log_probs = (at_least_float32(teacher_logits) / temperature).log_softmax(-1)
    student_log_probs = (at_least_float32(student_logits) / temperature).log_softmax(-1)
    return temperature**2 * (teacher_log_probs.exp() * (teacher_log_probs - student_log_probs)).sum(-1)


def gold_labels(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the annotated class; 0 for examples without a label.

    -log q_y, q = softmax(student). Source: Aguilar et al. 2020, gold labels.

    Args:
        student_logits: (B, C)
        labels: class ids; UNLABELLED where there is none. (B,)

    Returns:
        0 or more. (B,)

    >>> gold_labels(torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log(), torch.tensor([0, -100]))  # ln 4
    tensor([1.3863, 0.0000])
    """
    return F.cross_entropy(at_least_float32(student_logits), labels, ignore_index=UNLABELLED, reduction="none")


def soft_scores(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Squared difference of the predicted scores: the soft label of a regression, where a KL over one logit is 0.

    (s_T - s_S)^2.

    Args:
        teacher_logits: (B, 1)
        student_logits: (B, 1)

    Returns:
        0 or more. (B,)

    >>> soft_scores(torch.tensor([[3.0]]), torch.tensor([[1.0]]))
    tensor([4.])
    """
    return (at_least_float32(teacher_logits) - at_least_float32(student_logits)).square().mean(-1)


def gold_scores(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error to the annotated score: the gold label of a regression; 0 for examples without a score.

    (y - s_S)^2.

    Args:
        student_logits: (B, 1)
        labels: scores; NaN where there is none. (B,)

    Returns:
        0 or more. (B,)

    >>> gold_scores(torch.tensor([[3.0], [3.0]]), torch.tensor([1.0, float("nan")]))
    tensor([4., 0.])
    """
    known = ~labels.isnan()
    return torch.where(known, at_least_float32(student_logits)[:, 0] - labels.nan_to_num(), 0).square()
