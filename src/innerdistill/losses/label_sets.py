"""Output losses of multi-label classification: every label is a decision of its own.

Every loss returns one value per example, (B,). Shapes: B examples, C labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.models.attention import at_least_float32


def soft_label_sets(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the student's decisions from the teacher's, averaged over labels.

    T^2 * (1/C) * sum_c [p_c log(p_c / q_c) + (1 - p_c) log((1 - p_c) / (1 - q_c))], p = sigmoid(teacher / T),
    q = sigmoid(student / T). A softmax would make the labels exclude each other. Source: Hinton et al. 2015, for
    Bernoulli distributions.

    Args:
        teacher_logits: (B, C)
        student_logits: (B, C)
        temperature: T > 0.

    Returns:
        0 or more. (B,)

    >>> teacher, student = torch.zeros(1, 2), torch.tensor([[0.75, 0.5]]).logit()  # p = (1/2, 1/2), q = (3/4, 1/2)
    >>> soft_label_sets(teacher, student)  # (ln(2/3) + ln 2) / 2 for the first label, halved by the mean
    tensor([0.0719])
    """
    teacher, student = at_least_float32(teacher_logits) / temperature, at_least_float32(student_logits) / temperature
    divergence = torch.zeros_like(student)
    for sign in (1, -1):
        log_p, log_q = F.logsigmoid(sign * teacher), F.logsigmoid(sign * student)
        divergence = divergence + log_p.exp() * (log_p - log_q)
    return temperature**2 * divergence.mean(-1)


def gold_label_sets(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy with the annotated labels, averaged over labels; 0 for examples without labels.

    -(1/C) * sum_c [y_c log q_c + (1 - y_c) log(1 - q_c)], q = sigmoid(student).

    Args:
        student_logits: (B, C)
        labels: 1 or 0; NaN where nothing is known. (B, C)

    Returns:
        0 or more. (B,)

    >>> labels = torch.tensor([[1.0, 0.0], [float("nan"), float("nan")]])
    >>> gold_label_sets(torch.tensor([[0.25, 0.5], [0.5, 0.5]]).logit(), labels)  # (ln 4 + ln 2) / 2
    tensor([1.0397, 0.0000])
    """
    known = ~labels.isnan()
    logits = at_least_float32(student_logits)
    entropy = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num().to(logits), reduction="none")
    return torch.where(known, entropy, 0).mean(-1)
