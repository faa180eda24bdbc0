"""The contrastive loss against a slow reference, with equal texts, cut examples and negative texts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses.contrast import multiple_negatives


def slow_cosine(first, second):
    product = sum(x * y for x, y in zip(first, second, strict=True))
    return product / math.sqrt(sum(x * x for x in first)) / math.sqrt(sum(y * y for y in second))


def slow_loss(embeddings, parts, scale):
    rows = [(*numbers, vector) for numbers, vector in zip(parts, embeddings, strict=True)]
    anchors = {example: (text, vector) for example, place, text, vector in rows if place == 0}
    positives = {example: (text, vector) for example, place, text, vector in rows if place == 1}
    values = {}
    for example, (anchor, vector) in anchors.items():
        if example not in positives:
            continue
        good = {text for other, (text, _) in positives.items() if other in anchors and anchors[other][0] == anchor}
        compared = {positives[example][0]: positives[example][1]}
        for _, place, text, other in rows:
            if place > 0 and text not in good and text != anchor:
                compared.setdefault(text, other)
        weights = {text: math.exp(scale * slow_cosine(vector, other)) for text, other in compared.items()}
        values[example] = -math.log(weights[positives[example][0]] / sum(weights.values()))
    return [values.get(example, 0.0) for example, *_ in parts]


@st.composite
def batches(draw):
    """Embeddings, equal for equal texts, and parts in any order; some texts are missing."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    texts, width = draw(st.integers(2, 12)), draw(st.integers(2, 3))
    vectors = torch.randn(texts, 4, generator=generator, dtype=torch.float64)
    parts = [(e, p, draw(st.integers(0, texts - 1))) for e in range(draw(st.integers(1, 5))) for p in range(width)]
    parts = draw(st.permutations(parts))[: draw(st.integers(1, len(parts)))]
    return vectors[[text for _, _, text in parts]], parts


@settings(max_examples=200, deadline=None)
@given(batches(), st.sampled_from([1.0, 20.0]))
def test_the_loss_equals_its_formula(batch, scale):
    embeddings, parts = batch
    expected = slow_loss(embeddings.tolist(), parts, scale)
    found = multiple_negatives(embeddings, torch.tensor(parts), scale=scale)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_it_is_that_of_sentence_transformers_where_all_texts_differ():
    from sentence_transformers import util

    generator = torch.Generator().manual_seed(0)
    for width in (2, 3):
        sides = torch.randn(width, 6, 8, generator=generator)
        parts = [(example, place, 10 * example + place) for example in range(6) for place in range(width)]
        found = multiple_negatives(sides.transpose(0, 1).reshape(-1, 8), torch.tensor(parts))
        scores = 20 * util.cos_sim(sides[0], torch.cat(list(sides[1:])))  # as MultipleNegativesRankingLoss
        expected = torch.nn.functional.cross_entropy(scores, torch.arange(6))
        assert found.mean().item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_finite_with_a_gradient(dtype):
    embeddings = 100 * torch.randn(7, 16, generator=torch.Generator().manual_seed(0))
    embeddings[1] = 0  # of no direction at all
    embeddings.requires_grad_()
    parts = torch.tensor([(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4), (2, 0, 5), (3, 1, 6), (4, 0, 7)])
    values = multiple_negatives(embeddings.to(dtype), parts)
    assert values.dtype == torch.float32 and values.isfinite().all() and (values >= 0).all()
    values.sum().backward()
    assert embeddings.grad.isfinite().all() and embeddings.grad[0].abs().sum() > 0


def test_gradients_are_those_of_the_formula():
    embeddings = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = torch.tensor([(0, 0, 1), (0, 1, 2), (0, 2, 9), (1, 0, 3), (1, 1, 4), (1, 2, 2)])
    assert torch.autograd.gradcheck(
        lambda logits: multiple_negatives(logits, parts, scale=2.0), embeddings.requires_grad_()
    )
