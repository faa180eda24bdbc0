"""Kappa of right and wrong answers: against scikit-learn, and its pseudo-values against the definition."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.evaluation.kappa import compute_kappa, compute_kappa_pseudo_values


def draw(examples=60):
    generator = np.random.default_rng(1)
    first = generator.random(examples) < 0.8
    return first, np.where(generator.random(examples) < 0.8, first, generator.random(examples) < 0.7)


def test_it_is_scikit_learns():
    assert compute_kappa(*draw()) == pytest.approx(cohen_kappa_score(*draw()))


def test_pseudo_values_are_what_leaving_one_out_gives():
    first, second = draw()
    kappa, count = cohen_kappa_score(first, second), len(first)
    slow = []
    for i in range(count):
        slow.append(count * kappa - (count - 1) * cohen_kappa_score(np.delete(first, i), np.delete(second, i)))
    values = compute_kappa_pseudo_values(first, second)
    assert values == pytest.approx(np.array(slow) - np.mean(slow) + kappa) and values.mean() == pytest.approx(kappa)


def test_models_that_never_err_have_none():
    right = np.ones(10, bool)
    assert compute_kappa(right, right) == 0 and compute_kappa_pseudo_values(right, right) == pytest.approx(0)


def test_fewer_shared_mistakes_may_be_a_higher_kappa():
    """The student errs on half the teacher's mistakes and nowhere else; a worse one shares more of them by chance."""
    teacher = np.arange(100) >= 20
    better, worse = np.arange(100) >= 10, ~np.isin(np.arange(100) % 5, [0, 1, 2])
    assert (~teacher & ~better).sum() < (~teacher & ~worse).sum()
    assert compute_kappa(teacher, better) > compute_kappa(teacher, worse)
