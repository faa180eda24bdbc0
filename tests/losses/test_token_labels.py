"""Losses of tags against slow references, written one token at a time from their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.loss import Loss, LossInputs, measure
from innerdistill.losses.paper import soft_labels
from innerdistill.losses.token_labels import gold_token_labels, soft_token_labels
from innerdistill.models.capture import Internals

TAGS = 4


def slow_softmax(values, temperature=1.0):
    total = sum(math.exp(value / temperature) for value in values)
    return [math.exp(value / temperature) / total for value in values]


def slow_soft(teacher, student, labels, word_mask, temperature):
    means = []
    for t, s, tags, starts in zip(*(part.tolist() for part in (teacher, student, labels, word_mask)), strict=True):
        positions = [i for i, tag in enumerate(tags) if tag != UNLABELLED]
        positions = positions or [i for i, is_start in enumerate(starts) if is_start]
        total = 0.0
        for i in positions:
            pairs = zip(slow_softmax(t[i], temperature), slow_softmax(s[i], temperature), strict=True)
            total += temperature**2 * sum(p * math.log(p / q) for p, q in pairs)
        means.append(total / len(positions) if positions else 0.0)
    return means


def slow_gold(student, labels):
    means = []
    for s, tags in zip(student.tolist(), labels.tolist(), strict=True):
        values = [-math.log(slow_softmax(s[i])[tag]) for i, tag in enumerate(tags) if tag != UNLABELLED]
        means.append(sum(values) / len(values) if values else 0.0)
    return means


@st.composite
def batches(draw):
    """Logits of two models, labels at some first pieces of words or at none, and first pieces."""
    examples, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    teacher, student = 3 * torch.randn(2, examples, tokens, TAGS, generator=generator, dtype=torch.float64)
    word_mask = torch.rand(examples, tokens, generator=generator) < 0.6
    labels = torch.randint(0, TAGS, (examples, tokens), generator=generator)
    labels[~word_mask | (torch.rand(examples, tokens, generator=generator) < 0.2)] = UNLABELLED
    labels[torch.rand(examples, generator=generator) < 0.3] = UNLABELLED
    return teacher, student, labels, word_mask


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([0.5, 1.0, 3.0]))
def test_losses_equal_their_formulas(batch, temperature):
    teacher, student, labels, word_mask = batch
    soft = soft_token_labels(teacher, student, labels, word_mask, temperature)
    assert soft.tolist() == pytest.approx(slow_soft(teacher, student, labels, word_mask, temperature), abs=1e-9)
    assert gold_token_labels(student, labels).tolist() == pytest.approx(slow_gold(student, labels), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(batches(), st.integers(1, 5))
def test_padding_changes_nothing(batch, count):
    teacher, student, labels, word_mask = batch
    longer = [F.pad(logits, (0, 0, 0, count), value=50.0) for logits in (teacher, student)]
    more = F.pad(labels, (0, count), value=UNLABELLED), F.pad(word_mask, (0, count))
    assert torch.allclose(soft_token_labels(*longer, *more), soft_token_labels(*batch))
    assert torch.allclose(gold_token_labels(longer[1], more[0]), gold_token_labels(student, labels))


@settings(max_examples=40, deadline=None)
@given(batches())
def test_equal_models_have_no_soft_loss(batch):
    _, student, labels, word_mask = batch
    assert torch.allclose(
        soft_token_labels(student, student, labels, word_mask, 2.0), torch.zeros(len(student)).double()
    )


LABELS = torch.tensor([[UNLABELLED, 2, UNLABELLED, 0], [UNLABELLED] * 4, [UNLABELLED] * 4])
WORDS = torch.tensor([[False, True, True, True], [False, True, False, False], [False] * 4])
TEACHER, STUDENT = torch.randn(2, 3, 4, TAGS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_gradients_are_those_of_the_formulas_and_reach_only_what_counts():
    student = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: soft_token_labels(TEACHER, logits, LABELS, WORDS, 2.0), student)
    assert torch.autograd.gradcheck(lambda logits: gold_token_labels(logits, LABELS), student)
    (gradient,) = torch.autograd.grad(soft_token_labels(TEACHER, student, LABELS, WORDS).sum(), student)
    counts = torch.tensor([[False, True, False, True], [False, True, False, False], [False] * 4])
    assert torch.equal(gradient.abs().sum(-1) > 0, counts)
    (gradient,) = torch.autograd.grad(gold_token_labels(student, LABELS).sum(), student)
    assert torch.equal(gradient.abs().sum(-1) > 0, LABELS != UNLABELLED)


def test_an_example_without_words_counts_nothing():
    assert soft_token_labels(TEACHER, STUDENT, LABELS, WORDS)[2] == 0
    assert gold_token_labels(STUDENT, LABELS).tolist()[1:] == [0, 0]


def test_a_sentence_of_one_word_is_a_text_of_one_class():
    labels, words = torch.tensor([[1]] * 3), torch.ones(3, 1, dtype=torch.bool)
    assert torch.equal(
        soft_token_labels(TEACHER[:, :1], STUDENT[:, :1], labels, words, 2.0),
        soft_labels(TEACHER[:, 0], STUDENT[:, 0], 2.0),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_logits_are_finite(dtype):
    teacher, student = (1_000 * logits.to(dtype) for logits in (TEACHER, STUDENT))
    for values in (soft_token_labels(teacher, student, LABELS, WORDS), gold_token_labels(student, LABELS)):
        assert values.isfinite().all() and values.dtype == torch.float32


def test_the_gold_loss_is_measured_as_any_other():
    loss = Loss(gold_token_labels, needs=("student_logits", "labels"))
    inputs = LossInputs(torch.ones(3, 4, dtype=torch.bool), LABELS)
    found = measure({"gold": loss}, {}, Internals(TEACHER), Internals(STUDENT), inputs)
    assert torch.equal(found["gold"], gold_token_labels(STUDENT, LABELS))
