"""Losses of embeddings against slow references, written one number at a time from their formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses.embeddings import embedding_cosine, embedding_mse, similarity_kl
from innerdistill.losses.registry import LOSSES

NAMES = ("embedding_cosine", "embedding_mse", "similarity_kl")
OF_ONE_TEXT = [name for name in NAMES if not LOSSES[name].reads_batch]


def slow_cosine(first, second):
    product = sum(x * y for x, y in zip(first, second, strict=True))
    return product / math.sqrt(sum(x * x for x in first)) / math.sqrt(sum(y * y for y in second))


def slow_softmax(embeddings, index, temperature):
    others = [slow_cosine(embeddings[index], other) / temperature for other in embeddings]
    weights = [0.0 if number == index else math.exp(value) for number, value in enumerate(others)]
    return [weight / sum(weights) for weight in weights]


def slow_similarity_kl(teacher, student, temperature):
    values = []
    for index in range(len(teacher)):
        if len(teacher) == 1:
            return [0.0]
        p, q = (slow_softmax(side, index, temperature) for side in (teacher, student))
        pairs = [(x, y) for number, (x, y) in enumerate(zip(p, q, strict=True)) if number != index]
        values.append(temperature**2 * sum(x * math.log(x / y) for x, y in pairs))
    return values


@st.composite
def embeddings(draw):
    """Embeddings of teacher and student."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64)


@settings(max_examples=80, deadline=None)
@given(embeddings(), st.sampled_from([0.05, 1.0, 3.0]))
def test_losses_equal_their_formulas(both, temperature):
    teacher, student = both
    rows = list(zip(teacher.tolist(), student.tolist(), strict=True))
    expected = [1 - slow_cosine(t, s) for t, s in rows]
    assert embedding_cosine(teacher, student).tolist() == pytest.approx(expected, abs=1e-9)
    expected = [sum((x - y) ** 2 for x, y in zip(t, s, strict=True)) / len(t) for t, s in rows]
    assert embedding_mse(teacher, student).tolist() == pytest.approx(expected, abs=1e-9)
    expected = slow_similarity_kl(teacher.tolist(), student.tolist(), temperature)
    assert similarity_kl(teacher, student, temperature).tolist() == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(embeddings())
def test_equal_models_have_no_loss(both):
    for name in NAMES:
        values = LOSSES[name].function(both[0], both[0])
        assert values.shape == both[0].shape[:1] and torch.allclose(values, torch.zeros_like(values), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_in_float32(name, dtype):
    generator = torch.Generator().manual_seed(0)
    teacher, student = 100 * torch.randn(2, 5, 16, generator=generator)
    student[1] = 0  # of no direction at all
    values = LOSSES[name].function(teacher.to(dtype), student.to(dtype).requires_grad_())
    assert values.dtype == torch.float32 and values.isfinite().all()
    values.sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_formulas(name):
    teacher, student = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: LOSSES[name].function(teacher, logits), student.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_only_a_loss_that_says_so_reads_the_other_texts_of_a_batch(name):
    teacher, student = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    together = LOSSES[name].function(teacher, student)
    parts = [LOSSES[name].function(teacher[rows], student[rows]) for rows in (slice(0, 2), slice(2, 6))]
    assert torch.allclose(together, torch.cat(parts)) == (name in OF_ONE_TEXT)


def test_a_text_alone_in_its_batch_is_compared_with_none():
    student = torch.randn(1, 3, requires_grad=True)
    value = similarity_kl(torch.randn(1, 3), student)
    value.sum().backward()
    assert value.tolist() == [0] and student.grad.isfinite().all()
