"""Each loss against a slow reference written from the paper's equation, and the properties it must have."""

import math

import pytest
import torch
from drawn_attention import masks, random_attention, slow_attention_kl
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.paper import attention_kl, cls_cosine, gold_labels, gold_scores, soft_labels, soft_scores
from innerdistill.models.attention import Attention


@settings(max_examples=60, deadline=None)
@given(masks(), st.integers(1, 3), st.integers(0, 2**20))
def test_attention_kl_equals_the_equation(shape, heads, seed):
    mask, lengths = shape
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (random_attention(generator, len(lengths), heads, mask.shape[1], mask) for _ in range(2))
    kl = attention_kl(teacher, student, mask)
    assert torch.allclose(kl, slow_attention_kl(teacher, student, mask), rtol=0, atol=1e-12)
    assert (kl >= -1e-12).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 2**20))
def test_padding_changes_nothing(tokens, pads, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(1, tokens, dtype=torch.bool)
    padded = torch.nn.functional.pad(mask, (0, pads))
    pair = [random_attention(generator, 1, 2, tokens, mask) for _ in range(2)]
    longer = []
    for attention in pair:
        query, key = (torch.nn.functional.pad(t, (0, 0, 0, pads), value=0.7) for t in (attention.query, attention.key))
        longer.append(Attention(query, key, 0.5, padded[:, None, None, :]))
    assert attention_kl(*longer, padded).item() == pytest.approx(attention_kl(*pair, mask).item(), abs=1e-12)


def test_attention_kl_gradient_in_float64():
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    generator = torch.Generator().manual_seed(0)
    teacher = random_attention(generator, 2, 2, 4, mask)
    query, key = torch.randn(2, 2, 2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(query, key):
        return attention_kl(teacher, Attention(query, key, 0.6, mask[:, None, None, :]), mask)

    assert torch.autograd.gradcheck(loss, (query.detach().requires_grad_(), key.detach().requires_grad_()))


def test_gradients_are_finite_under_every_kind_of_mask():
    even = torch.zeros(1, 2, 3, 4)  # the same share for every key
    for mask in (None, torch.tensor([[[[True, True, False]]]]), torch.tensor([[[[0.0, -1.0, torch.finfo().min]]]])):
        query, key = (torch.randn(1, 2, 3, 4, requires_grad=True) for _ in range(2))
        teacher, student = Attention(even, even, 1.0, None), Attention(query, key, 0.5, mask)
        attention_kl(teacher, student, torch.tensor([[True, True, False]])).sum().backward()
        assert query.grad.isfinite().all() and key.grad.isfinite().all() and query.grad.abs().sum() > 0


def test_a_row_that_sees_no_key_does_not_spread_nan():
    # A padded query in a sliding window may see no key at all.
    mask = torch.tensor([[[[True, True, False], [True, True, False], [False, False, False]]]])
    query, key = torch.randn(1, 2, 3, 4, requires_grad=True), torch.randn(1, 2, 3, 4)
    teacher, student = Attention(query.detach(), key, 0.5, mask), Attention(query, key, 0.5, mask)
    loss = attention_kl(teacher, student, torch.tensor([[True, True, False]]))
    loss.sum().backward()
    assert loss.item() == 0 and query.grad.isfinite().all()


def test_identical_attention_has_no_divergence_even_if_probabilities_underflow():
    query = 300 * torch.randn(1, 2, 5, 4)
    attention = Attention(query, query, 1.0, None)
    assert attention_kl(attention, attention, torch.ones(1, 5, dtype=torch.bool)).item() == 0


def test_cls_cosine_equals_the_equation():
    teacher, student = torch.randn(2, 5, 8)
    for distance, t, s in zip(cls_cosine(teacher, student), teacher, student, strict=True):
        dot = sum(float(a) * float(b) for a, b in zip(t, s, strict=True))
        norms = math.sqrt(sum(float(a) ** 2 for a in t)) * math.sqrt(sum(float(b) ** 2 for b in s))
        assert distance.item() == pytest.approx(1 - dot / norms, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.5])
def test_soft_labels_equal_the_equation(temperature):
    teacher, student = torch.randn(2, 4, 3).double()
    for divergence, t, s in zip(soft_labels(teacher, student, temperature), teacher, student, strict=True):
        p = [math.exp(float(x) / temperature) for x in t]
        q = [math.exp(float(x) / temperature) for x in s]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        wanted = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert divergence.item() == pytest.approx(wanted, rel=1e-5)


def test_soft_labels_have_the_gradient_of_the_cross_entropy():
    teacher, student = torch.randn(2, 4, 3)
    first, second = student.clone().requires_grad_(), student.clone().requires_grad_()
    soft_labels(teacher, first).sum().backward()
    torch.nn.functional.cross_entropy(second, teacher.softmax(-1), reduction="sum").backward()
    assert torch.allclose(first.grad, second.grad, atol=1e-6)


def test_examples_without_a_label_add_nothing():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = gold_labels(logits, torch.tensor([1, UNLABELLED, 0]))
    loss.sum().backward()
    assert loss[1] == 0 and (logits.grad[1] == 0).all() and (loss[[0, 2]] > 0).all()
    scores = torch.randn(3, 1, requires_grad=True)
    loss = gold_scores(scores, torch.tensor([1.0, math.nan, 0.5]))
    loss.sum().backward()
    assert loss[1] == 0 and scores.grad[1] == 0 and scores.grad.isfinite().all()


def test_regression_has_a_soft_label_with_a_gradient():
    student = torch.tensor([[1.0]], requires_grad=True)
    soft_scores(torch.tensor([[3.0]]), student).sum().backward()
    assert student.grad.item() == -4
