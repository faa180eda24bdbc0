"""The losses of multi-label classification against slow references, and the properties they must have."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses.label_sets import gold_label_sets, soft_label_sets


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def slow_soft_label_sets(teacher, student, temperature):
    values = []
    for of_teacher, of_student in zip(teacher.tolist(), student.tolist(), strict=True):
        total = 0.0
        for t, s in zip(of_teacher, of_student, strict=True):
            for sign in (1, -1):  # the label and its absence; 1 - p would lose the digits of a p near 1
                p, q = sigmoid(sign * t / temperature), sigmoid(sign * s / temperature)
                total += p * math.log(p / q)
        values.append(temperature**2 * total / len(of_teacher))
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.5, 8), st.integers(0, 2**20))
def test_soft_labels_equal_the_equation(examples, labels, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    teacher, student = 3 * torch.randn(2, examples, labels, generator=generator, dtype=torch.float64)
    values = soft_label_sets(teacher, student, temperature)
    assert torch.allclose(values, slow_soft_label_sets(teacher, student, temperature), rtol=0, atol=1e-10)
    assert (values >= -1e-12).all() and torch.allclose(
        soft_label_sets(teacher, teacher, temperature), torch.zeros(()).double()
    )


def test_gold_labels_are_those_of_torch_without_the_unlabelled():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = (torch.rand(4, 3, generator=generator) > 0.5).double()
    labels[2] = math.nan
    values = gold_label_sets(logits, labels)
    known = [0, 1, 3]
    mean = torch.nn.BCEWithLogitsLoss()(logits[known], labels[known])
    assert values[2] == 0 and values[known].mean().item() == pytest.approx(mean.item())
    values.sum().backward()
    assert logits.grad[2].abs().sum() == 0 and (logits.grad[known] != 0).all()


def test_gradients_in_float64_and_extreme_logits():
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: soft_label_sets(teacher, logits, 2.0), (student,))
    extreme = torch.tensor([[90.0, -90.0]], requires_grad=True)
    soft_label_sets(-extreme.detach(), extreme).sum().backward()
    assert extreme.grad.isfinite().all() and soft_label_sets(extreme, extreme).item() == 0
    assert gold_label_sets(extreme, torch.tensor([[0.0, 1.0]])).isfinite().all()
    half = torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16)
    assert soft_label_sets(half, half + 1).dtype == torch.float32
