"""Output losses of token classification: a distribution over tags for each word, read at its first piece.

Every loss returns one value per example, (B,): the mean over the words of the example.
Shapes: B examples, L tokens, C tags.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.paper import soft_labels
from innerdistill.models.attention import at_least_float32


def soft_token_labels(
    teacher_logits: Tensor, student_logits: Tensor, labels: Tensor, word_mask: Tensor, temperature: float = 1.0
) -> Tensor:
    """Kullback-Leibler divergence of the student's tag probabilities from the teacher's, averaged over words.

    T^2 * (1/|M|) * sum_{i in M} sum_c p_ic log(p_ic / q_ic), p = softmax(teacher / T), q = softmax(student / T).
    M are the tokens with a label; in an example without labels, the first pieces of its words.
    Source: Hinton et al. 2015, for each token.

    Args:
        teacher_logits: (B, L, C)
        student_logits: (B, L, C)
        labels: tag ids; UNLABELLED where there is none. (B, L)
        word_mask: True for the first piece of each word. (B, L)
        temperature: T > 0.

    Returns:
        Nats per word, 0 or more; 0 without words. (B,)

    >>> teacher = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]]).log()
    >>> student = torch.tensor([[[0.25, 0.75], [0.5, 0.5], [0.1, 0.9]]]).log()
    >>> labels, words = torch.tensor([[0, 1, -100]]), torch.tensor([[True, False, False]])
    >>> soft_token_labels(teacher, student, labels, words)  # ln(4/3) / 2 and 0; their mean
    tensor([0.0719])
    >>> soft_token_labels(teacher, student, torch.full((1, 3), -100), words)  # of the one word
    tensor([0.1438])
    """
    is_labelled = labels != UNLABELLED
    chosen = torch.where(is_labelled.any(-1, keepdim=True), is_labelled, word_mask)
    return _average(soft_labels(teacher_logits, student_logits, temperature), chosen)


def gold_token_labels(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the annotated tags, averaged over the tokens that have one; 0 for examples without tags.

    -(1/|M|) * sum_{i in M} log q_iy, q = softmax(student), M the tokens with a label.

    Args:
        student_logits: (B, L, C)
        labels: tag ids; UNLABELLED where there is none. (B, L)

    Returns:
        Nats per word, 0 or more. (B,)

    >>> student = torch.tensor([[[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]] * 2).log()
    >>> gold_token_labels(student, torch.tensor([[0, 1, -100], [-100, -100, -100]]))  # (ln 4 + ln 2) / 2
    tensor([1.0397, 0.0000])
    """
    logits = at_least_float32(student_logits).transpose(1, 2)
    entropy = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="none")
    return _average(entropy, labels != UNLABELLED)


def _average(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen tokens of each example; 0 without any."""
    return torch.where(chosen, values, 0).sum(-1) / chosen.sum(-1).clamp(min=1)
