"""Intervals over units and examples: against statsmodels and SciPy, identities, and how often they hold the truth."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from innerdistill.evaluation.crossed import estimate_crossed
from innerdistill.evaluation.crossed_teachers import estimate_over_teachers
from innerdistill.evaluation.labelled_examples import mark_groups, sum_groups


def estimate(values, *, is_accuracy=False, groups=None, different=None):
    different = np.any(values != 0, axis=0) if different is None else different
    values, different = sum_groups(values, groups), mark_groups(different, groups)
    return estimate_crossed(values, different=different, is_accuracy=is_accuracy)


def draw(seed, units=6, examples=40, *, of_units=0.5, of_examples=0.5):
    """Differences with a part of the unit, a part of the example and a part of both."""
    generator = np.random.default_rng(seed)
    parts = generator.normal(0, of_units, (units, 1)) + generator.normal(0, of_examples, (1, examples))
    return parts + generator.normal(0, 1, (units, examples))


def compute_mean_squares(values, names):
    """Mean squares of all effects and interactions by statsmodels; the last interaction is the residual."""
    frame = pd.DataFrame({"y": values.ravel()})
    for name, levels in zip(names, np.indices(values.shape), strict=True):
        frame[name] = levels.ravel()
    effects = "+".join(f"C({name})" for name in names)
    table = anova_lm(ols(f"y ~ ({effects})**{len(names) - 1}", frame).fit())
    return table["sum_sq"] / table["df"], table["df"]


def test_variances_and_degrees_follow_from_the_mean_squares_of_statsmodels():
    values = draw(0, 5, 12)
    squares, degrees = compute_mean_squares(values, "ui")
    a, b, c = squares["C(u)"] / 60, squares["C(i)"] / 60, squares["Residual"] / 60
    found = estimate(values)
    assert (found.unit_variance, found.example_variance) == (pytest.approx(a), pytest.approx(b))
    assert found.interaction_variance == pytest.approx(c)
    variance = max(a, c) + max(b, c) - c
    assert found.variance == pytest.approx(variance) and found.mean == pytest.approx(values.mean())
    parts = a**2 / degrees["C(u)"] + b**2 / degrees["C(i)"] + c**2 / degrees["Residual"]
    assert found.df == pytest.approx(max(4, variance**2 / parts))


def test_components_over_teachers_follow_from_the_mean_squares_of_statsmodels():
    generator = np.random.default_rng(3)
    values = generator.normal(0, 1, (4, 3, 5)) + generator.normal(0, 2, (4, 1, 1)) + generator.normal(0, 1, (1, 3, 1))
    squares, degrees = compute_mean_squares(values, "tsn")
    q = squares / values.size
    e = q["Residual"]
    ts, tn, sn = (max(0, q[name] - e) for name in ("C(t):C(s)", "C(t):C(n)", "C(s):C(n)"))
    alone = max(0, q["C(t)"] - e - ts - tn) + max(0, q["C(s)"] - e - ts - sn) + max(0, q["C(n)"] - e - tn - sn)
    found = estimate_over_teachers(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx(alone + ts + tn + sn + e)
    assert found.df == pytest.approx(max(2, found.variance**2 / (q**2 / degrees).sum()))


def test_over_teachers_a_seed_that_all_share_is_not_averaged_away():
    """With a difference of the seeds alone, 8 teachers are no more than the 2 seeds."""
    of_seeds = np.array([0.1, 0.3])
    found = estimate_over_teachers(np.broadcast_to(of_seeds[:, None], (8, 2, 50)))
    assert found.variance == pytest.approx(of_seeds.var(ddof=1) / 2) and found.df == pytest.approx(1)


@given(st.integers(0, 10**6), st.integers(5, 9), st.floats(0, 2), st.floats(0, 2), st.floats(-1, 1))
def test_p_is_below_5_percent_exactly_where_the_interval_leaves_0_out(seed, units, of_units, of_examples, shift):
    values = shift + draw(seed, units, 15, of_units=of_units, of_examples=of_examples)
    found = estimate(values)
    low, high = found.interval
    assert (found.p < 0.05) == (low > 0 or high < 0)


@given(st.integers(0, 10**6), st.integers(5, 9), st.floats(0, 2), st.floats(0, 2))
def test_the_interval_is_never_narrower_than_t_over_units(seed, units, of_units, of_examples):
    values = draw(seed, units, 15, of_units=of_units, of_examples=of_examples)
    test = stats.ttest_1samp(values.mean(1), 0)
    ends = test.confidence_interval(0.95)
    assert estimate(values).compute_half_width() >= (ends.high - ends.low) / 2 * (1 - 1e-9)
    assert estimate(values).p >= test.pvalue * (1 - 1e-9)


def test_where_only_units_differ_it_is_the_t_test_over_units():
    of_units = np.array([0.1, 0.2, 0.15, 0.3, 0.25])
    found = estimate(np.repeat(of_units[:, None], 50, axis=1))
    ends = stats.ttest_1samp(of_units, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((ends.low, ends.high))


def test_one_unit_has_the_paired_standard_error_over_examples_and_no_interval():
    values = draw(1, 1, 30)
    found = estimate(values)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(30)) and not found.has_interval
    assert not estimate(draw(1, 4)).has_interval and estimate(draw(1, 5)).has_interval


def test_the_same_answers_differ_by_less_than_three_examples():
    """About 2.8 of N for accuracy, where that few different answers were added; nothing is known for other metrics."""
    same = np.zeros((5, 1000))
    found = estimate(same, is_accuracy=True)
    assert found.interval == pytest.approx((-0.00278, 0.00278), abs=1e-5) and found.p == 1 and found.has_interval
    assert not estimate(same).has_interval


def test_few_different_answers_widen_the_interval_of_accuracy_only():
    values = np.zeros((5, 200))
    values[:, :9] = 1.0
    plain, widened = estimate(values), estimate(values, is_accuracy=True)
    assert widened.example_variance == pytest.approx(plain.example_variance + 2 / 200**2)
    values[2, 9] = 1.0  # of any run: the tenth example
    assert estimate(values, is_accuracy=True).variance == estimate(values).variance


def test_differences_that_are_all_the_same_have_no_interval():
    found = estimate(np.full((8, 20), 0.5), is_accuracy=True)
    assert found.is_constant and not found.has_interval and found.mean == 0.5


@pytest.mark.parametrize("is_accuracy", [False, True])
def test_groups_of_one_example_change_nothing(is_accuracy):
    values, groups = draw(3, 5, 30), np.random.default_rng(0).permutation(30)
    plain, found = (estimate(values, is_accuracy=is_accuracy, groups=each) for each in (None, groups))
    assert found.interval == pytest.approx(plain.interval, rel=1e-12) and found.p == pytest.approx(plain.p, rel=1e-12)
    assert (found.examples, found.different) == (plain.examples, plain.different)


def test_groups_of_one_size_count_as_their_means():
    values, groups = draw(2, 5, 30), np.tile(np.arange(10), 3)
    wanted = estimate(values.reshape(5, 3, 10).mean(1))
    found = estimate(values, groups=groups)
    assert found.examples == 10 and found.mean == pytest.approx(values.mean())
    assert found.interval == pytest.approx(wanted.interval) and found.df == pytest.approx(wanted.df)


def test_groups_of_other_sizes_do_not_move_the_mean():
    values, groups = draw(2, 5, 30), np.array(["a"] * 12 + ["b"] * 3 + list("cdefghijklmnopq"))
    found = estimate(values, groups=groups, different=np.arange(30) < 15)
    means = values.mean(1)
    wanted = [means + 17 / 30 * (values[:, groups == name] - means[:, None]).sum(1) for name in np.unique(groups)]
    assert found.mean == pytest.approx(values.mean()) and (found.examples, found.different) == (17, 2)
    assert found.variance == pytest.approx(estimate(np.stack(wanted, axis=1)).variance)


def test_copies_of_the_same_examples_make_no_interval_narrower():
    values = draw(4, 5, 100, of_units=0, of_examples=2)
    five_times = np.tile(values, 5)
    together = estimate(five_times, groups=np.tile(np.arange(100), 5))
    assert together.compute_half_width() == pytest.approx(estimate(values).compute_half_width())
    assert estimate(five_times).compute_half_width() < 0.8 * together.compute_half_width()


def test_the_smallest_difference_that_is_found_is_found_in_80_percent():
    generator, found = np.random.default_rng(0), []
    sizes = [estimate(draw(seed, 8, 200, of_units=0.1)).find_detectable() for seed in range(200)]
    for _ in range(400):
        values = draw(generator.integers(10**9), 8, 200, of_units=0.1) + np.mean(sizes)
        found.append(estimate(values).p < 0.05)
    assert 0.72 < np.mean(found) < 0.88
    assert estimate(draw(1)).find_detectable(3) > estimate(draw(1)).find_detectable()


@pytest.mark.parametrize(("units", "of_units"), [(5, 0.0), (5, 0.1), (8, 0.1)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(units, of_units):
    generator, inside = np.random.default_rng(units), []
    for _ in range(1000):
        values = draw(generator.integers(10**9), units, 100, of_units=of_units, of_examples=0.5)
        low, high = estimate(values).interval
        inside.append(low <= 0 <= high)
    assert 0.93 <= np.mean(inside) <= 0.985


def test_one_example_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate(np.array([[0.1], [0.2], [0.3], [0.4], [0.5]]))
    assert found.example_variance == 0 and np.isfinite(found.compute_half_width())
