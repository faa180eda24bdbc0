"""Output losses of rankers, which compare the documents of a query.

Every loss returns one value per document, (B,): that of its query, as far as the query stands in the batch. So the
batch size changes it, and so do accumulation and the number of processes. Batches keep the documents of a query
together; a query that the end of a batch cuts is compared within its parts.

Shapes: B documents of the queries of a batch. `groups` are the same for documents of one query.
"""

from __future__ import annotations

import torch
from torch import Tensor

from innerdistill.models.attention import at_least_float32


def margin_mse(teacher_logits: Tensor, student_logits: Tensor, groups: Tensor) -> Tensor:
    """Squared difference of the margins between a document and the others of its query.

    L_i = mean over j != i of ((t_i - t_j) - (s_i - s_j))^2, over the documents j of the same query. A constant that is
    added to all scores of a query changes nothing.
    Source: Hofstätter et al. 2020 (Margin-MSE), of all pairs of documents in place of a relevant and another one.

    Args:
        teacher_logits: scores of the teacher. (B, 1)
        student_logits: scores of the student. (B, 1)
        groups: number of the query of each document. (B,)

    Returns:
        0 or more; 0 for a document that is alone. (B,)

    >>> teacher, student = torch.tensor([[3.0], [1.0], [5.0]]), torch.tensor([[1.0], [0.0], [0.0]])
    >>> margin_mse(teacher, student, torch.tensor([7, 7, 8]))  # margins of the first query: 2 and 1
    tensor([1., 1., 0.])
    """
    gaps = (at_least_float32(teacher_logits) - at_least_float32(student_logits))[:, 0]
    others = _mark_same_query(groups) & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    squares = (gaps[:, None] - gaps[None]).square() * others
    return squares.sum(-1) / others.sum(-1).clamp(min=1)


def rank_kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float, groups: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's softmax over the documents of a query from the teacher's.

    T^2 * sum_j p_j log(p_j / q_j), p = softmax over the documents j of the query of t_j / T, q the same of the student.
    Source: ListNet (Cao et al. 2007), with the teacher's scores in place of relevances, and T of Hinton et al. 2015.

    Args:
        teacher_logits: scores of the teacher. (B, 1)
        student_logits: scores of the student. (B, 1)
        temperature: T > 0.
        groups: number of the query of each document. (B,)

    Returns:
        0 or more, the same for all documents of a query; 0 for a document that is alone. (B,)

    >>> teacher, student = torch.tensor([[1.0], [0.0], [5.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    >>> rank_kl(teacher, student, 1.0, torch.tensor([7, 7, 8]))  # p = (e, 1) / (e + 1): (e - 1) / (e + 1)
    tensor([0.4621, 0.4621, 0.0000])
    """
    same = _mark_same_query(groups)
    teacher, student = (_compare_documents(side / temperature, same) for side in (teacher_logits, student_logits))
    return temperature**2 * (teacher.exp() * (teacher - student).masked_fill(~same, 0)).sum(-1)


def gold_relevances(student_logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Cross-entropy of the softmax over the documents of a query against its relevances.

    L = -sum_j r_j log q_j, r = relevances divided by their sum, q = softmax over the documents j of the query of s_j.
    Source: ListNet (Cao et al. 2007), with relevances that are divided by their sum.

    Args:
        student_logits: scores of the student. (B, 1)
        labels: relevances, NaN where there is none. (B,)
        groups: number of the query of each document. (B,)

    Returns:
        0 or more, the same for all documents of a query; 0 without a relevance, and for a query without a relevant
        document. (B,)

    >>> gold_relevances(torch.tensor([[0.0], [0.0]]), torch.tensor([2.0, 0.0]), torch.tensor([7, 7]))  # log 2
    tensor([0.6931, 0.6931])
    """
    same = _mark_same_query(groups)
    known = ~labels.isnan()
    relevances = at_least_float32(labels).nan_to_num(0) * same  # (B, B): of the documents of each document's query
    shares = relevances / relevances.sum(-1, keepdim=True).clamp(min=1e-9)
    log_probabilities = _compare_documents(student_logits, same).masked_fill(~same, 0)
    return -(shares * log_probabilities).sum(-1) * known


def _mark_same_query(groups: Tensor) -> Tensor:
    """True for documents of the same query, (B, B)."""
    return groups[:, None] == groups[None]


def _compare_documents(logits: Tensor, same: Tensor) -> Tensor:
    """Logarithms of the softmax over the documents of the query of each document, minus infinity for others, (B, B)."""
    scores = at_least_float32(logits)[:, 0].expand(len(logits), -1)
    return scores.masked_fill(~same, -torch.inf).log_softmax(-1)
