"""Dropout of our own: the distribution of torch's, other random numbers; and attention with it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from innerdistill import load_recipe
from innerdistill.models import clean_attention as module
from innerdistill.models.clean_attention import clean_attention
from innerdistill.models.dropout import STEPS, Dropout, dropout, remove_dropout, replace_dropout
from innerdistill.models.families import FAMILIES, prepare
from innerdistill.run.assemble import assemble

B, H, L, D = 3, 2, 5, 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("probability", [0.01, 0.1, 1 / 3, 0.9])
def test_as_many_values_are_dropped_as_asked_for(probability):
    count = 200_001  # not a multiple of the four values that a draw decides on
    dropped = (dropout(torch.ones(count), probability) == 0).sum().item()
    assert abs(dropped - count * probability) < 4 * math.sqrt(count * probability * (1 - probability))


def test_values_are_dropped_each_by_itself():
    kept = (dropout(torch.ones(100_000, 4), 0.5) > 0).double()
    assert torch.allclose(torch.corrcoef(kept.T), torch.eye(4, dtype=torch.double), atol=0.015)
    assert abs(torch.corrcoef(torch.stack([kept[1:, 0], kept[:-1, 3]]))[0, 1]) < 0.015


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_kept_values_are_scaled_by_what_is_kept(kind):
    values = torch.randn(7, 11, dtype=kind)
    found = dropout(values, 0.1)
    assert found.dtype == kind
    kept = found != 0
    scale = STEPS / (STEPS - round(0.1 * STEPS))
    assert torch.allclose(found[kept].double(), values[kept].double() * scale, rtol=0.01 if kind.itemsize < 4 else 1e-6)


@pytest.mark.parametrize(("probability", "wanted"), [(0.0, 1.0), (1e-9, 1.0), (1.0, 0.0)])
def test_nothing_and_everything(probability, wanted):
    assert (dropout(torch.ones(3, 3), probability) == wanted).all()


def test_the_seed_decides_and_the_gradient_is_the_mask():
    values = torch.randn(6, 5, dtype=torch.double, requires_grad=True)

    def seeded_dropout(values):
        torch.manual_seed(3)
        return dropout(values, 0.4)

    assert torch.equal(seeded_dropout(values), seeded_dropout(values))
    assert torch.autograd.gradcheck(seeded_dropout, [values])


def test_modules_drop_in_training_only():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.AlphaDropout(0.5))
    replace_dropout(model)
    assert [type(part) for part in model] == [nn.Linear, Dropout, nn.AlphaDropout]
    values = torch.ones(100, 4)
    assert torch.equal(model[1].eval()(values), values)
    assert set(model[1].train()(values).unique().tolist()) == {0.0, 2.0}


def parts(kind=torch.double, *, key_heads=H):
    shapes = (B, H, L, D), (B, key_heads, L, D), (B, key_heads, L, D)
    return [torch.randn(shape, dtype=kind, requires_grad=True) for shape in shapes]


def masks():
    seen = torch.ones(B, 1, L, L, dtype=torch.bool)
    seen[1, ..., 3:] = False
    bias = torch.randn(1, H, L, L, dtype=torch.double, requires_grad=True)
    return {"none": None, "boolean": seen, "bias": bias}


@pytest.mark.parametrize("mask", ["none", "boolean", "bias"])
@pytest.mark.parametrize("key_heads", [H, 1])
def test_attention_from_maps_is_sdpa(monkeypatch, mask, key_heads):
    query, key, value = inputs = parts(key_heads=key_heads)
    seen = masks()[mask]
    repeated = (part.repeat_interleave(H // key_heads, 1) for part in (key, value))
    wanted = F.scaled_dot_product_attention(query, *repeated, attn_mask=seen, scale=0.7)
    monkeypatch.setattr(module, "_maps_are_faster", lambda *_, **__: True)
    found, _ = clean_attention(nn.Module(), query, key, value, seen, scaling=0.7)
    assert torch.allclose(found.transpose(1, 2), wanted, atol=1e-12)
    learnt = [*inputs, *([seen] if mask == "bias" else [])]
    for ours, theirs in zip(
        *(torch.autograd.grad(output.sin().sum(), learnt) for output in (found.transpose(1, 2), wanted)), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_attention_with_dropout_has_the_expectation_of_attention_without():
    query, key, value = (part.detach().expand(2000, *part.shape).flatten(0, 1) for part in parts(torch.float))
    query.requires_grad_()
    with_dropout, _ = clean_attention(nn.Module(), query, key, value, None, dropout=0.3)
    without, _ = clean_attention(nn.Module(), query, key, value, None)
    assert not torch.allclose(with_dropout, without, atol=0.1)
    difference = (with_dropout - without).view(2000, -1)
    error = difference.std(0) / math.sqrt(2000)
    assert (difference.mean(0).abs() < 4.5 * error).all()


def test_attention_in_16_bits_is_close_and_has_gradients():
    query, key, value = parts(torch.bfloat16)
    found, _ = clean_attention(nn.Module(), query, key, value, None)
    wanted = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.transpose(1, 2).float(), wanted, atol=0.03)
    found.sum().backward()
    assert value.grad is not None and value.grad.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prepared_model_has_no_other_dropout_and_padding_stays_finite(make_model, batch, family):
    model = prepare(make_model(family, dropout=0.2)).train()
    kinds = {type(part) for part in model.modules() if isinstance(part, nn.Dropout)}
    assert kinds <= {Dropout}  # EuroBERT drops out in its attention alone
    model(**batch).logits.sum().backward()
    assert all(part.grad.isfinite().all() for part in model.parameters() if part.grad is not None)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_without_dropout_every_family_answers_in_training_as_it_does_otherwise(make_model, batch, family, prepared):
    model = make_model(family, dropout=0.3)
    if prepared:
        prepare(model)
    before = model.config.to_dict()
    with torch.no_grad():
        wanted = model(**batch).logits
        model.train()
        assert not torch.allclose(model(**batch).logits, wanted, atol=1e-3)
        remove_dropout(model)
        assert all(torch.allclose(model(**batch).logits, wanted, atol=1e-5) for _ in range(2))
    assert model.config.to_dict() == before
    loss = model(**batch).logits.sum()  # with gradients attention may be computed in another way
    loss.backward()
    assert torch.allclose(loss, wanted.sum(), atol=1e-4)


@pytest.mark.parametrize("dropout", [True, False])
def test_a_recipe_can_switch_the_dropout_of_its_student_off(recipe, dropout):
    job = assemble(load_recipe(recipe("unused", student={"dropout": dropout})))
    student = job.build_fresh_student()
    probabilities = {module.p for module in student.modules() if isinstance(module, nn.Dropout)}
    assert probabilities == ({0.1} if dropout else {0.0})
    assert student.config.hidden_dropout_prob == 0.1  # as it is saved
    assert job.teacher.config.hidden_dropout_prob == 0.1
