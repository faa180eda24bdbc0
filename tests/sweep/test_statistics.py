"""The tests that decide whether a method is better: error rates in simulation, agreement with SciPy, words."""

import numpy as np
import pytest
from scipy import stats

from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.sweep.statistics import (
    FEWEST_FOR_CLAIM,
    compare_pair,
    compute_interval,
    correct_comparisons,
    describe_reserve,
)

PAIRS = [("sid", "soft"), ("pid", "soft"), ("all", "soft")]

SCORING = SINGLE_LABEL_CLASSIFICATION.make_scoring("accuracy", ("a", "b"))


def compare_methods(scores, pairs, *, intervals=None, margin=None, untested=0):
    """The comparisons that were declared together."""
    return correct_comparisons(
        [
            compare_pair(
                one, other, scores[one], scores[other], interval=(intervals or {}).get((one, other)), margin=margin
            )
            for one, other in pairs
        ],
        untested=untested,
    )


def methods(generator, seeds, effect=0.0):
    return {name: generator.normal(effect if name == "sid" else 0, 1, seeds) for name in ("sid", "pid", "all", "soft")}


@pytest.mark.parametrize("seeds", [5, 8, 10])
def test_one_comparison_errs_as_often_as_it_says(seeds):
    generator = np.random.default_rng(2)
    wrong = [compare_methods(methods(generator, seeds), PAIRS[:1])[0].p < 0.05 for _ in range(6000)]
    assert 0.04 <= np.mean(wrong) <= 0.06


def test_three_comparisons_together_err_no_more_often():
    generator = np.random.default_rng(1)
    wrong = [any(found.p < 0.05 for found in compare_methods(methods(generator, 8), PAIRS)) for _ in range(1000)]
    assert np.mean(wrong) < 0.065


def test_a_difference_of_one_and_a_half_deviations_is_found_with_8_seeds():
    # Deviation of the paired differences: 1.
    generator = np.random.default_rng(2)
    found = []
    for _ in range(1000):
        base = generator.normal(0, 5, 8)
        scores = {"soft": base, "sid": base + generator.normal(1.5, 1, 8)}
        found.append(compare_methods(scores, PAIRS[:1])[0].p < 0.05)
    assert np.mean(found) >= 0.8


def test_p_is_scipys_times_the_rank_of_holm():
    generator = np.random.default_rng(3)
    scores = methods(generator, 8, effect=2)
    raw = [stats.ttest_rel(scores[a], scores[b]).pvalue for a, b in PAIRS]
    order = np.argsort(raw)
    wanted = np.empty(3)
    wanted[order] = np.minimum(1, np.maximum.accumulate(np.sort(raw) * [3, 2, 1]))
    assert [found.p for found in compare_methods(scores, PAIRS)] == pytest.approx(wanted.tolist())


def test_equal_models_differ_by_nothing():
    scores = {"sid": [0.5] * 8, "soft": [0.5] * 8}
    found = compare_methods(scores, PAIRS[:1], intervals={PAIRS[0]: (0.0, 0.0)}, margin=0.01)[0]
    assert (found.difference, found.p, found.equivalent) == (0, 1, True)
    assert found.describe("mcc").startswith("sid and soft are equivalent within 0.01 mcc")


@pytest.mark.parametrize("seeds", [1, 4])
def test_few_seeds_get_no_interval(seeds):
    found = compare_methods({"sid": [0.6] * seeds, "soft": [0.5] * seeds}, PAIRS[:1], intervals={PAIRS[0]: (0, 1)})[0]
    assert found.p is None and found.interval is None
    assert f"n = {seeds}" in found.describe("mcc") and "not tested" in found.describe("mcc")
    assert f"A test needs 5 seeds, a claim {FEWEST_FOR_CLAIM}." in describe_reserve([found])


def test_sentences():
    noise = np.linspace(-0.002, 0.002, 8)
    scores = {"sid": 0.52 + noise, "soft": np.full(8, 0.5), "pid": 0.5 + 10 * noise}
    intervals = dict.fromkeys(PAIRS, (0.01, 0.03))
    better, open_ = compare_methods(scores, PAIRS[:2], intervals=intervals)
    assert better.describe("mcc").startswith("sid beats soft by 0.020 mcc (95 % interval +0.010 ... +0.030")
    assert better.describe("mcc").endswith("8 seeds, one teacher).")
    assert open_.describe("mcc").startswith("No difference shown between pid and soft")


def test_a_comparison_with_seeds_missing_says_so():
    scores, others = 0.52 + np.linspace(-0.002, 0.002, 8), np.full(8, 0.5)
    (alone,), (of_ten,) = (
        correct_comparisons([compare_pair("sid", "soft", scores, others, declared=n)]) for n in (8, 10)
    )
    assert describe_reserve([alone]) == "" and of_ten.describe("mcc") == alone.describe("mcc")
    assert describe_reserve([alone, of_ten]) == "Preliminary: 8 of 10 seeds have run."


def test_methods_need_the_same_seeds():
    with pytest.raises(ValueError, match="sid has 2 seeds, soft 1"):
        compare_methods({"sid": [1, 2], "soft": [1]}, PAIRS[:1])


def test_an_interval_may_take_a_verdict_back():
    """The test is over seeds alone, the interval over examples too."""
    noise = np.linspace(-0.002, 0.002, 8)
    scores = {"sid": 0.52 + noise, "pid": 0.5 + noise, "soft": np.full(8, 0.5)}
    wide = dict.fromkeys(PAIRS[:2], (-0.03, 0.04))
    above, equal = compare_methods(scores, PAIRS[:2], intervals=wide, margin=0.01)
    assert above.p < 0.001
    assert above.describe("mcc").startswith("On these examples sid differs from soft by +0.020 mcc (")
    assert equal.margin_p < 0.001 and not equal.equivalent
    assert equal.describe("mcc").startswith("No difference shown between pid and soft")
    narrow = compare_methods(scores, PAIRS[:2], intervals=dict.fromkeys(PAIRS, (-0.005, 0.005)), margin=0.01)[1]
    assert "two one-sided tests" in narrow.describe("mcc")


@pytest.mark.parametrize("seeds", [5, 8])
def test_the_interval_of_few_seeds_is_wide_enough_and_no_wider(seeds):
    """The spread over seeds is what counts here: a plain bootstrap would hold the truth in 84 and 88 %.

    Examples are equally hard for both methods, so an interval by Student's t is the narrowest honest one.
    """
    generator, labels, inside, widths = np.random.default_rng(seeds), np.zeros(400, dtype=int), [], []
    for _ in range(100):
        rates = generator.normal([[0.6], [0.5]], 0.1, (2, seeds))
        wrong = np.arange(400) / 400 >= rates[..., None]
        logits = np.stack([~wrong, wrong], axis=-1).astype(float)
        low, high = compute_interval(labels, *logits, scoring=SCORING, draws=100)
        inside.append(low <= 0.1 <= high)
        of_t = stats.ttest_rel(*rates).confidence_interval(0.95)
        widths.append((high - low) / (of_t.high - of_t.low))
    assert np.mean(inside) >= 0.91
    assert 0.9 < np.mean(widths) < 1.15


def test_the_interval_covers_the_true_difference():
    """Two methods that are right on 75 and 70 % of the examples, with a spread over seeds."""
    generator = np.random.default_rng(4)
    inside = []
    for _ in range(20):
        labels = np.zeros(200, dtype=int)

        def method(mean):
            rates = generator.normal(mean, 0.03, 8)
            wrong = generator.random((8, 200)) > rates[:, None]
            return np.stack([1 - wrong, wrong], axis=-1).astype(float)

        low, high = compute_interval(labels, method(0.75), method(0.70), scoring=SCORING, draws=60)
        inside.append(low <= 0.05 <= high)
    assert np.mean(inside) >= 0.85


def test_a_declared_comparison_that_cannot_be_made_still_counts():
    """Three were declared, one method has not run: the two others are corrected for three."""
    draw = np.random.default_rng(0)
    scores = {"base": draw.normal(0, 1, 8), "one": draw.normal(2, 1, 8), "two": draw.normal(2, 1, 8)}
    pairs = [("one", "base"), ("two", "base")]
    alone, of_three = (compare_methods(scores, pairs, untested=number) for number in (0, 1))
    for pair, few, more in zip(pairs, alone, of_three, strict=True):
        raw = stats.ttest_rel(scores[pair[0]], scores[pair[1]]).pvalue
        assert raw - 1e-9 <= few.p < more.p <= 3 * raw + 1e-9
