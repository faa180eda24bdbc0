"""Each loss against a slow reference written from the paper's equation, and the properties it must have."""

import math

import pytest
import torch
from drawn_attention import masks, random_attention
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.paper import (
    LOSSES,
    Loss,
    LossInputs,
    attention_kl,
    cls_cosine,
    gold_labels,
    soft_labels,
    soft_scores,
)  # fmt: skip
from innerdistill.models.attention import Attention
from innerdistill.models.capture import Internals, LayerInternals


def slow_attention_kl(teacher, student, lengths):
    """(1/L) sum_i sum_j T log(T/S), averaged over heads, one number at a time."""
    values = []
    for example, length in enumerate(lengths):
        per_head = []
        for head in range(len(teacher[example])):
            total = 0.0
            for i in range(length):
                for j in range(length):
                    t, s = float(teacher[example][head][i][j]), float(student[example][head][i][j])
                    total += t * math.log(t / s) if t > 0 else 0.0
            per_head.append(total / length)
        values.append(sum(per_head) / len(per_head))
    return values


@settings(max_examples=60, deadline=None)
@given(masks(), st.integers(1, 3), st.integers(0, 2**20))
def test_attention_kl_equals_the_equation(shape, heads, seed):
    mask, lengths = shape
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (random_attention(generator, len(lengths), heads, mask.shape[1], mask) for _ in range(2))
    found = attention_kl(teacher.log_probabilities(), student.log_probabilities(), mask)
    wanted = slow_attention_kl(teacher.probabilities(), student.probabilities(), lengths)
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    assert (found >= -1e-12).all()


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
    short = attention_kl(*(a.log_probabilities() for a in pair), mask)
    assert attention_kl(*(a.log_probabilities() for a in longer), padded).item() == pytest.approx(
        short.item(), abs=1e-12
    )


def test_attention_kl_gradient_in_float64():
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    generator = torch.Generator().manual_seed(0)
    teacher = random_attention(generator, 2, 2, 4, mask).log_probabilities()
    query, key = torch.randn(2, 2, 2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(query, key):
        return attention_kl(teacher, Attention(query, key, 0.6, mask[:, None, None, :]).log_probabilities(), mask)

    assert torch.autograd.gradcheck(loss, (query.detach().requires_grad_(), key.detach().requires_grad_()))


def test_gradients_are_finite_under_every_kind_of_mask():
    for mask in (None, torch.tensor([[[[True, True, False]]]]), torch.tensor([[[[0.0, -1.0, torch.finfo().min]]]])):
        query, key = (torch.randn(1, 2, 3, 4, requires_grad=True) for _ in range(2))
        log_probs = Attention(query, key, 0.5, mask).log_probabilities()
        attention_kl(
            torch.full((1, 2, 3, 3), 1 / 3).log(), log_probs, torch.tensor([[True, True, False]])
        ).sum().backward()
        assert query.grad.isfinite().all() and key.grad.isfinite().all() and query.grad.abs().sum() > 0


def test_a_row_that_sees_no_key_does_not_spread_nan():
    # A padded query in a sliding window may see no key at all.
    mask = torch.tensor([[[[True, True, False], [True, True, False], [False, False, False]]]])
    query = torch.randn(1, 2, 3, 4, requires_grad=True)
    log_probs = Attention(query, torch.randn(1, 2, 3, 4), 0.5, mask).log_probabilities()
    loss = attention_kl(log_probs.detach(), log_probs, torch.tensor([[True, True, False]]))
    loss.sum().backward()
    assert loss.item() == 0 and query.grad.isfinite().all()


def test_identical_attention_has_no_divergence_even_if_probabilities_underflow():
    query = 300 * torch.randn(1, 2, 5, 4)
    log_probs = Attention(query, query, 1.0, None).log_probabilities()
    assert attention_kl(log_probs, log_probs, torch.ones(1, 5, dtype=torch.bool)).item() == 0


def test_cls_cosine_equals_the_equation():
    teacher, student = torch.randn(2, 5, 8)
    for found, t, s in zip(cls_cosine(teacher, student), teacher, student, strict=True):
        dot = sum(float(a) * float(b) for a, b in zip(t, s, strict=True))
        norms = math.sqrt(sum(float(a) ** 2 for a in t)) * math.sqrt(sum(float(b) ** 2 for b in s))
        assert found.item() == pytest.approx(1 - dot / norms, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.5])
def test_soft_labels_equal_the_equation(temperature):
    teacher, student = torch.randn(2, 4, 3).double()
    for found, t, s in zip(soft_labels(teacher, student, temperature), teacher, student, strict=True):
        p = [math.exp(float(x) / temperature) for x in t]
        q = [math.exp(float(x) / temperature) for x in s]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        wanted = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_soft_labels_have_the_gradient_of_the_cross_entropy():
    teacher, student = torch.randn(2, 4, 3)
    first, second = student.clone().requires_grad_(), student.clone().requires_grad_()
    soft_labels(teacher, first).sum().backward()
    torch.nn.functional.cross_entropy(second, teacher.softmax(-1), reduction="sum").backward()
    assert torch.allclose(first.grad, second.grad, atol=1e-6)


def test_rows_without_a_label_add_nothing():
    logits = torch.randn(3, 2, requires_grad=True)
    found = gold_labels(logits, torch.tensor([1, UNLABELLED, 0]))
    found.sum().backward()
    assert found[1] == 0 and (logits.grad[1] == 0).all() and (found[[0, 2]] > 0).all()
    scores = torch.randn(3, 1, requires_grad=True)
    found = gold_labels(scores, torch.tensor([1.0, math.nan, 0.5]))
    found.sum().backward()
    assert found[1] == 0 and scores.grad[1] == 0 and scores.grad.isfinite().all()


def test_regression_has_a_soft_label_with_a_gradient():
    student = torch.tensor([[1.0]], requires_grad=True)
    soft_scores(torch.tensor([[3.0]]), student).sum().backward()
    assert student.grad.item() == -4


@pytest.mark.parametrize("name", LOSSES)
def test_contract(name):
    """Every entry of LOSSES: one finite value per example, 0 for equal models unless it compares with labels."""
    loss, mask = LOSSES[name], torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    generator = torch.Generator().manual_seed(0)
    attention = random_attention(generator, 2, 3, 5, mask)
    hidden = torch.randn(2, 5, 8, generator=generator)
    view = (
        LayerInternals(attention, hidden[:, 0], hidden, attention) if loss.is_internal else Internals(torch.randn(2, 3))
    )
    found = loss.function(view, view, LossInputs(mask, torch.tensor([0, 2])))
    assert found.shape == (2,) and found.isfinite().all()
    if loss.is_internal or "teacher_logits" in loss.needs:
        assert torch.allclose(found, torch.zeros_like(found), atol=1e-6)


@pytest.mark.parametrize("needs", [(), ("logits",), ("attention", "labels"), ("hiden",)])
def test_needs_that_nothing_serves_are_refused(needs):
    with pytest.raises(ValueError, match="expected some of attention, cls, hidden"):
        Loss(lambda teacher, student, inputs: inputs.labels, needs=needs)


@pytest.mark.parametrize("kind", ["attention", "qkv", "teacher_logits"])
def test_embeddings_have_no_attention(kind):
    with pytest.raises(ValueError, match="expected cls, hidden or both"):
        Loss(lambda teacher, student, inputs: inputs.labels, needs=(kind,), embeddings=True)


def test_a_16_bit_model_gets_32_bit_scores():
    """Scores of this size lose their differences in bfloat16, and overflow in float16."""
    query = torch.tensor([[[[200.0, 1.0]], [[300.0, 1.0]]]])
    key = torch.tensor([[[[200.0, 0.0], [200.0, 1.0]], [[300.0, 0.0], [300.0, 1.0]]]])
    wanted = Attention(query, key, 1.0, None).log_probabilities()
    assert wanted[0, 0, 0, 1] - wanted[0, 0, 0, 0] == 1
    for kind in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = Attention(query.to(kind), key.to(kind), 1.0, None).log_probabilities()
        assert found.dtype == torch.float32 and torch.equal(found, wanted)
