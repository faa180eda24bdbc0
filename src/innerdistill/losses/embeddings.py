"""Output losses of sentence encoders: the student's embeddings against its teacher's.

Every loss returns one value per text, (B,). Shapes: B texts, D dimensions of an embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.models.attention import at_least_float32


def embedding_cosine(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Cosine distance of the embeddings.

    L = 1 - cos(e_T, e_S). It says nothing of the length of an embedding, as similarities by cosine do not.
    Source: the cosine loss of Sanh et al. 2019, of the embedding of a text.

    Args:
        teacher_logits: embeddings of the teacher. (B, D)
        student_logits: embeddings of the student. (B, D)

    Returns:
        From 0 (same direction) to 2 (opposite). (B,)

    >>> embedding_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # 1 - 3/5
    tensor([0.4000])
    """
    return 1 - F.cosine_similarity(at_least_float32(teacher_logits), at_least_float32(student_logits), dim=-1)


def embedding_mse(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Squared difference of the embeddings, averaged over dimensions.

    L = 1/D sum_d (e_T[d] - e_S[d])^2. Source: Reimers and Gurevych 2020, eq. 1.

    Args:
        teacher_logits: embeddings of the teacher. (B, D)
        student_logits: embeddings of the student. (B, D)

    Returns:
        0 or more. (B,)

    >>> embedding_mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # (4 + 16) / 2
    tensor([10.])
    """
    return (at_least_float32(teacher_logits) - at_least_float32(student_logits)).square().mean(-1)


def similarity_kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of how similar a text is to the other texts of its batch.

    T^2 * sum_{j != i} p_ij log(p_ij / q_ij), p_i = softmax over j of cos(e_T[i], e_T[j]) / T, q_i the same of the
    student. Cosines differ little, so a small T such as 0.05 tells the most similar texts from the others.
    Source: Fang et al. 2021 (SEED), with the other texts of the batch in place of a queue.

    The value of a text depends on the other texts of its batch. So the batch size changes it, and so do accumulation
    and the number of processes: each small batch is compared for itself.

    Args:
        teacher_logits: embeddings of the teacher. (B, D)
        student_logits: embeddings of the student. (B, D)
        temperature: T > 0.

    Returns:
        0 or more; 0 for a text that is alone in its batch. (B,)

    >>> teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # cosines of the first text: 1 and 0
    >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # 0 and 1
    >>> similarity_kl(teacher, student)[0]  # p = (e, 1) / (e + 1), and log(p/q) is 1 and -1: (e - 1) / (e + 1)
    tensor(0.4621)
    """
    teacher, student = (_compare_in_batch(side, temperature) for side in (teacher_logits, student_logits))
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)


def _compare_in_batch(embeddings: Tensor, temperature: float) -> Tensor:
    """Logarithms of the softmax over the other texts, (B, B - 1)."""
    count = len(embeddings)
    directions = F.normalize(at_least_float32(embeddings), dim=-1)
    others = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
    return ((directions @ directions.T)[others].view(count, count - 1) / temperature).log_softmax(-1)
