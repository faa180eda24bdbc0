"""Loss and measure: a loss gets exactly the fields it names."""

import pytest
import torch
from drawn_attention import random_attention

from innerdistill.losses.loss import Loss, LossInputs, collect_needs, measure
from innerdistill.losses.registry import LOSSES
from innerdistill.models.capture import Internals, LayerInternals

MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
INPUTS = LossInputs(MASK, torch.tensor([0, 1]), temperature=2.0)


def internals(seed):
    generator = torch.Generator().manual_seed(seed)
    attention, hidden = random_attention(generator, 2, 3, 5, MASK), torch.randn(2, 5, 8, generator=generator)
    layers = {k: LayerInternals(attention, hidden[:, 0] + k, hidden + k, attention) for k in range(4)}
    return Internals(torch.randn(2, 3, generator=generator), layers)


TEACHER, STUDENT = internals(0), internals(1)


def fields_of(needs, **options):
    """What a loss with these needs is called with, by name of the value."""
    calls = {}

    def remember(*arguments):
        calls[len(calls)] = arguments
        return torch.zeros(2)

    names = measure({"mine": Loss(remember, needs=needs, **options)}, {1: 2, 2: 3}, TEACHER, STUDENT, INPUTS)
    return dict(zip(names, calls.values(), strict=True))


def test_an_internal_loss_gets_the_teachers_and_the_students_then_what_it_names():
    calls = fields_of(("hidden", "token_mask", "cls"))
    assert list(calls) == ["mine/1", "mine/2"]
    for k, m in {1: 2, 2: 3}.items():
        t, s = TEACHER.layers[m], STUDENT.layers[k]
        for argument, wanted in zip(calls[f"mine/{k}"], (t.hidden, s.hidden, MASK, t.cls, s.cls), strict=True):
            assert argument is wanted


def test_an_output_loss_gets_the_logits_it_names():
    calls = fields_of(("teacher_logits", "student_logits", "temperature"))
    assert calls["mine"][0] is TEACHER.logits and calls["mine"][1] is STUDENT.logits and calls["mine"][2] == 2.0
    assert fields_of(("student_logits", "labels"))["mine"][1] is INPUTS.labels


def test_a_loss_of_the_embeddings_is_measured_there_too():
    calls = fields_of(("cls",), embeddings=True)
    assert list(calls) == ["mine/0", "mine/1", "mine/2"] and calls["mine/0"][0] is TEACHER.layers[0].cls


@pytest.mark.parametrize(
    "needs",
    [(), ("logits",), ("attention", "student_logits"), ("hiden",), ("labels",), ("teacher_logits",), ("token_mask",)],
)
def test_needs_that_nothing_serves_are_refused(needs):
    with pytest.raises(ValueError, match="expected some of attention, cls, hidden"):
        Loss(lambda *fields: fields[0], needs=needs)


@pytest.mark.parametrize("needs", [("attention",), ("qkv", "token_mask"), ("student_logits",)])
def test_embeddings_have_no_attention(needs):
    with pytest.raises(ValueError, match="expected cls, hidden or both"):
        Loss(lambda *fields: fields[0], needs=needs, embeddings=True)


def test_a_loss_of_another_shape_is_refused():
    mean = Loss(lambda logits: logits.mean(), needs=("student_logits",))
    with pytest.raises(ValueError, match=r"losses.mean: it returned shape \(\); expected one value .* \(2,\)"):
        measure({"mean": mean}, {}, TEACHER, STUDENT, INPUTS)


def test_capture_brings_exactly_what_the_losses_read():
    needs = collect_needs(["attention_kl", "hidden_mse"], {1: 2, 2: 4}, LOSSES)
    kinds = ("attention", "hidden")
    assert needs.student_layers == {0: ("hidden",), 1: kinds, 2: kinds}
    assert needs.teacher_layers == {0: ("hidden",), 2: kinds, 4: kinds}
    assert needs.teacher and not needs.student_logits and not needs.teacher_logits
    needs = collect_needs(["gold_labels"], {}, LOSSES)
    assert needs.student_logits and not needs.teacher and not needs.student_layers
    assert collect_needs(["soft_labels"], {}, LOSSES).teacher_logits
