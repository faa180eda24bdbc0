"""Losses of rankings against slow references, written one number at a time from their formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses.ranking import gold_relevances, margin_mse, rank_kl


def list_query(groups, index):
    return [number for number, group in enumerate(groups) if group == groups[index]]


def slow_softmax(scores, members, temperature):
    weights = {number: math.exp(scores[number] / temperature) for number in members}
    return {number: weight / sum(weights.values()) for number, weight in weights.items()}


def slow_margin_mse(teacher, student, groups):
    values = []
    for i in range(len(groups)):
        others = [j for j in list_query(groups, i) if j != i]
        squares = [((teacher[i] - teacher[j]) - (student[i] - student[j])) ** 2 for j in others]
        values.append(sum(squares) / max(1, len(squares)))
    return values


def slow_rank_kl(teacher, student, groups, temperature):
    values = []
    for i in range(len(groups)):
        p, q = (slow_softmax(side, list_query(groups, i), temperature) for side in (teacher, student))
        values.append(temperature**2 * sum(p[j] * math.log(p[j] / q[j]) for j in p))
    return values


def slow_gold(student, labels, groups):
    values = []
    for i in range(len(groups)):
        members = list_query(groups, i)
        total = sum(labels[j] for j in members)
        q = slow_softmax(student, members, 1)
        values.append(-sum(labels[j] / total * math.log(q[j]) for j in members) if total else 0)
    return values


@st.composite
def batches(draw):
    """Scores of teacher and student, relevances and queries of a batch."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    count = draw(st.integers(1, 9))
    logits = torch.randn(2, count, 1, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (count,), generator=generator).double()
    groups = torch.randint(0, 4, (count,), generator=generator).sort().values * 2**61
    return *logits, labels, groups


@settings(max_examples=80, deadline=None)
@given(batches(), st.sampled_from([0.5, 1.0, 3.0]))
def test_losses_equal_their_formulas(batch, temperature):
    teacher, student, labels, groups = batch
    lists = [part.flatten().tolist() for part in batch]
    t, s, relevances, numbers = lists
    assert margin_mse(teacher, student, groups).tolist() == pytest.approx(slow_margin_mse(t, s, numbers), abs=1e-9)
    expected = slow_rank_kl(t, s, numbers, temperature)
    assert rank_kl(teacher, student, temperature, groups).tolist() == pytest.approx(expected, abs=1e-9)
    expected = slow_gold(s, relevances, numbers)
    assert gold_relevances(student, labels, groups).tolist() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(batches())
def test_gradients_are_finite_and_a_constant_for_all_documents_changes_nothing(batch):
    teacher, student, labels, groups = batch
    student.requires_grad_()
    losses = [
        margin_mse(teacher, student, groups),
        rank_kl(teacher, student, 2.0, groups),
        gold_relevances(student, labels, groups),
    ]
    (gradient,) = torch.autograd.grad(sum(loss.sum() for loss in losses), student)
    assert gradient.isfinite().all()
    for group in groups.unique():
        assert gradient[groups == group].sum().item() == pytest.approx(0, abs=1e-9)


def test_documents_without_a_relevance_teach_nothing_by_labels():
    student, nothing = torch.randn(3, 1, requires_grad=True), torch.tensor([math.nan, math.nan, 1.0])
    values = gold_relevances(student, nothing, torch.tensor([1, 1, 2]))
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert values.tolist() == pytest.approx([0, 0, 0]) and gradient.isfinite().all() and (gradient == 0).all()
