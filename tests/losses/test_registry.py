"""Contract of LOSSES: every entry gives one finite value per example, and 0 for equal models."""

import pytest
import torch
from drawn_attention import random_attention

from innerdistill.losses.loss import LossInputs, measure
from innerdistill.losses.paper import attention_kl
from innerdistill.losses.registry import LOSSES
from innerdistill.models.capture import Internals, LayerInternals

MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


@pytest.mark.parametrize("name", LOSSES)
def test_contract(name):
    loss = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    attention, hidden = random_attention(generator, 2, 3, 5, MASK), torch.randn(2, 5, 8, generator=generator)
    layers = dict.fromkeys((0, 1), LayerInternals(attention, hidden[:, 0], hidden, attention))
    internals = Internals(torch.randn(2, 3), layers)
    parts = torch.tensor([[0, 0, 1], [0, 1, 2]])  # a pair of texts
    inputs = LossInputs(MASK, torch.tensor([0, 2]), groups=torch.tensor([0, 0]), parts=parts)
    for values in measure({name: loss}, {1: 1}, internals, internals, inputs).values():
        assert values.shape == (2,) and values.isfinite().all()
        if loss.is_internal or "teacher_logits" in loss.needs:  # gold labels differ from any prediction
            assert torch.allclose(values, torch.zeros_like(values), atol=1e-6)


def test_the_documented_attention_loss_is_the_one_that_trains():
    assert LOSSES["attention_kl"].function is attention_kl and "Aguilar" in attention_kl.__doc__
