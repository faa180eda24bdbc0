"""The objectives of other papers against slow references, written one number at a time from their formulas."""

import math

import pytest
import torch
from drawn_attention import masks, random_attention
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses.loss import LossInputs, collect_needs, measure
from innerdistill.losses.other_papers import (
    attention_score_mse,
    hidden_mse,
    normalised_cls_mse,
    relation_kl,
    token_cosine,
)
from innerdistill.losses.paper import cls_cosine
from innerdistill.losses.registry import LOSSES
from innerdistill.models.attention import Attention
from innerdistill.models.capture import capture
from innerdistill.models.families import FAMILIES
from innerdistill.models.probe import probe


def slow_softmax(values):
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def slow_score_mse(teacher, student, lengths):
    values = []
    for example, length in enumerate(lengths):
        heads = teacher.query.shape[1]
        total = 0.0
        for head in range(heads):
            for i in range(length):
                for j in range(length):
                    t, s = (
                        dot(a.query[example, head, i], a.key[example, head, j]) / math.sqrt(a.query.shape[-1])
                        for a in (teacher, student)
                    )
                    total += (t - s) ** 2 / length**2
        values.append(total / heads)
    return values


def slow_relation_kl(teacher, student, lengths):
    values = []
    for example, length in enumerate(lengths):
        total = 0.0
        for kind in ("query", "key", "value"):
            vectors = [getattr(a, kind)[example].tolist() for a in (teacher, student)]
            for head in range(len(vectors[0])):
                for i in range(length):
                    rows = [
                        slow_softmax([dot(v[head][i], v[head][j]) / math.sqrt(4) for j in range(length)])
                        for v in vectors
                    ]
                    total += sum(t * math.log(t / s) for t, s in zip(*rows, strict=True)) / (len(vectors[0]) * length)
        values.append(total / 3)
    return values


@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(1, 3), st.integers(0, 2**20))
@pytest.mark.parametrize(("loss", "slow"), [(attention_score_mse, slow_score_mse), (relation_kl, slow_relation_kl)])
def test_attention_objectives_equal_their_formulas(loss, slow, shape, heads, seed):
    mask, lengths = shape
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (random_attention(generator, len(lengths), heads, mask.shape[1], mask) for _ in range(2))
    assert loss(teacher, student, mask).tolist() == pytest.approx(slow(teacher, student, lengths), abs=1e-9)


def test_relations_have_the_gradient_of_their_formula():
    """A vector is query and key at once, so both ways count."""
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    generator = torch.Generator().manual_seed(0)
    teacher = random_attention(generator, 2, 2, 4, mask)
    student = tuple(
        torch.randn(2, 2, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in "qkv"
    )
    loss = lambda q, k, v: relation_kl(teacher, Attention(q, k, 0.5, None, v), mask)  # noqa: E731
    assert torch.autograd.gradcheck(loss, student)


@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(0, 2**20))
def test_hidden_mse_equals_its_formula(shape, seed):
    mask, lengths = shape
    teacher, student = torch.randn(
        2, *mask.shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    wanted = [
        sum((float(teacher[b, i, d]) - float(student[b, i, d])) ** 2 for i in range(n) for d in range(6)) / (6 * n)
        for b, n in enumerate(lengths)
    ]
    assert hidden_mse(teacher, student, mask).tolist() == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(0, 2**20))
def test_token_cosine_equals_its_formula(shape, seed):
    mask, lengths = shape
    teacher, student = torch.randn(
        2, *mask.shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    wanted = []
    for example, length in enumerate(lengths):
        total = 0.0
        for t, s in zip(teacher[example, :length].tolist(), student[example, :length].tolist(), strict=True):
            total += 1 - dot(t, s) / math.sqrt(dot(t, t) * dot(s, s))
        wanted.append(total / length)
    assert token_cosine(teacher, student, mask).tolist() == pytest.approx(wanted, abs=1e-9)
    longer = [torch.nn.functional.pad(hidden, (0, 0, 0, 3), value=7.0) for hidden in (teacher, student)]
    assert token_cosine(*longer, torch.nn.functional.pad(mask, (0, 3))).tolist() == pytest.approx(wanted, abs=1e-9)


def test_token_cosine_has_the_gradient_of_its_formula():
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    teacher, student = torch.randn(2, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda hidden: token_cosine(teacher, hidden, mask), student)
    token_cosine(teacher, student, mask).sum().backward()
    assert not student.grad[~mask].any()


@given(st.integers(0, 2**20))
def test_the_patient_loss_is_twice_the_cosine_loss(seed):
    teacher, student = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(normalised_cls_mse(teacher, student), 2 * cls_cosine(teacher, student))


def test_scores_beyond_a_window_do_not_count():
    query, key, value = torch.randn(3, 1, 2, 4, 4, dtype=torch.float64)
    window = torch.ones(4, 4, dtype=torch.bool).tril(1).triu(-1)[None, None]
    near, other = (Attention(q, key, 0.5, window, value) for q in (query, query + 1))
    found = attention_score_mse(near, other, torch.ones(1, 4, dtype=torch.bool))
    differences = (near.scores() - other.scores())[window.expand(1, 2, 4, 4)]
    assert found.item() == pytest.approx(differences.square().mean().item())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name", ["attention_score_mse", "hidden_mse", "token_cosine", "relation_kl", "normalised_cls_mse"]
)
def test_every_family_serves_every_rival(name, family, make_model):
    """From real models: 0 between a model and itself, a gradient in the embeddings between two of them."""
    loss, pairs = LOSSES[name], {1: 2, 2: 4}
    teacher, student = make_model(family), make_model(family, layers=2, seed=1, dropout=0.0)
    probe(teacher), probe(student)
    ids = torch.randint(6, 40, (3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 2 + [0] * 5])
    needs = collect_needs([name], pairs, LOSSES)
    assert (0 in needs.student_layers) == (name == "hidden_mse")
    inputs = {"input_ids": ids, "attention_mask": mask}
    theirs = capture(teacher, inputs, layers=needs.teacher_layers, logits=False)
    ours = capture(student, inputs, layers=needs.student_layers, logits=False)
    shared = LossInputs(mask.bool(), torch.zeros(3, dtype=torch.long))
    apart = measure({name: loss}, pairs, theirs, ours, shared)
    same = measure({name: loss}, {m: m for m in pairs.values()}, theirs, theirs, shared)
    assert all((part > 0).all() and part.isfinite().all() for part in apart.values())
    assert all(torch.allclose(part, torch.zeros_like(part), atol=1e-6) for part in same.values())
    sum(apart.values()).sum().backward()
    assert student.get_input_embeddings().weight.grad.abs().sum() > 0
