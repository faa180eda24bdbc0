"""The tests that decide whether a method is better: error rates in simulation, agreement with SciPy, gates."""

from dataclasses import replace

import numpy as np
import pytest
from records import make_answers
from scipy import stats

from innerdistill.evaluation.answers import Answers, collect_answers, count_rarest, join_answers
from innerdistill.evaluation.crossed import estimate_crossed
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.sweep.gates import bound_collapse
from innerdistill.sweep.statistics import apply_holm, compare_pair, correct_comparisons

PAIRS = [("sid", "soft"), ("pid", "soft"), ("all", "soft")]
NOISE = np.array([-2, -1, -1, 0, 0, 1, 1, 2]) / 1000  # whole examples of 1,000


def compare(*pairs, untested=0, metric="accuracy", **described):
    """Comparisons of methods by their accuracies over seeds, declared together."""
    compared = []
    for first, second in pairs:
        answers = ([make_answers(score) for score in scores] for scores in (first, second))
        compared.append(compare_pair("one", "two", *answers, metric=metric, **described))
    return correct_comparisons(compared, untested=untested)


def draw_answers(generator, units, examples, *, shift=0.0, scale=0.5):
    """Answers of two methods with a part of the seed, of the example and of both."""
    hard = generator.normal(0, 1, examples)
    answers = []
    for of_method in (shift, 0.0):
        latent = of_method + generator.normal(0, 0.1, (units, 1)) + hard + generator.normal(0, scale, examples)
        right = latent + generator.normal(0, 1, (units, examples)) > -1
        answers.append([Answers(run[None].astype(int), run[None].astype(float)) for run in right])
    return answers


@pytest.mark.parametrize("seeds", [5, 8])
def test_one_comparison_errs_no_more_often_than_it_says(seeds):
    generator, wrong = np.random.default_rng(2), []
    for _ in range(1500):
        (found,) = correct_comparisons([compare_pair("a", "b", *draw_answers(generator, seeds, 80), metric="accuracy")])
        wrong.append(found.p < 0.05)
    assert 0.02 <= np.mean(wrong) <= 0.065


def test_three_comparisons_together_err_no_more_often():
    generator, wrong = np.random.default_rng(1), []
    for _ in range(500):
        drawn = [draw_answers(generator, 8, 80) for _ in PAIRS]
        found = correct_comparisons([compare_pair("a", "b", *answers, metric="accuracy") for answers in drawn])
        wrong.append(any(comparison.p < 0.05 for comparison in found))
    assert np.mean(wrong) < 0.065


def test_holm_is_the_rank_times_the_p_value():
    raw = np.array([0.02, 0.004, 0.3])
    order, wanted = np.argsort(raw), np.empty(3)
    wanted[order] = np.minimum(1, np.maximum.accumulate(np.sort(raw) * [3, 2, 1]))
    assert apply_holm(raw) == pytest.approx(wanted.tolist())


def test_the_difference_is_that_of_the_scores_and_p_that_of_its_interval():
    scores, others = 0.55 + NOISE, 0.5 - NOISE
    (found,) = compare((scores, others))
    assert found.difference == pytest.approx(np.mean(scores - others)) and found.verdict == "better"
    assert found.differences == pytest.approx(scores - others) and found.interval[0] > 0
    right = np.array([unit.pseudo_values[0] for unit in map(make_answers, scores)])
    right -= np.array([unit.pseudo_values[0] for unit in map(make_answers, others)])
    estimate = estimate_crossed(right, different=np.any(right != 0, axis=0), is_accuracy=True)
    assert found.estimate == estimate and found.p == pytest.approx(estimate.p)
    (worse,) = compare((others, scores))
    assert worse.verdict == "worse"


def test_students_of_a_teacher_count_once():
    """Their mean is the unit, so copies of a student change nothing."""
    first, second = [0.6, 0.61, 0.62, 0.63, 0.64], [0.58] * 5
    alone = [[make_answers(score) for score in scores] for scores in (first, second)]
    twice = [[make_answers(score, score) for score in scores] for scores in (first, second)]
    one, two = (compare_pair("a", "b", *answers, metric="accuracy", over="teachers") for answers in (alone, twice))
    assert one.estimate == two.estimate and one.units == two.units == 5
    apart = [make_answers(score - 0.01, score + 0.01) for score in first]
    moved = compare_pair("a", "b", apart, twice[1], metric="accuracy")
    assert moved.differences == pytest.approx(one.differences)


def test_seeds_that_teachers_share_give_an_estimate_and_no_test():
    first = [make_answers(0.6 + shift, 0.65 + shift) for shift in np.linspace(0, 0.02, 8)]
    second = [make_answers(0.5, 0.5)] * 8
    rough = compare_pair("a", "b", first, second, metric="accuracy", over="teachers", are_seeds_shared=True)
    assert rough.verdict == "rough" and rough.p is None and rough.interval is not None
    assert rough.difference == pytest.approx(0.135)
    nested = compare_pair("a", "b", first, second, metric="accuracy", over="teachers")
    width = rough.interval[1] - rough.interval[0]
    assert width > 3 * (nested.interval[1] - nested.interval[0])  # two draws of the seed, not sixteen
    one_seed = [[make_answers(score) for score in scores] for scores in (0.6 + NOISE, 0.5 - NOISE)]
    assert compare_pair("a", "b", *one_seed, metric="accuracy", are_seeds_shared=True).verdict == "rough"


@pytest.mark.parametrize(
    ("seeds", "verdict"), [(1, "untested"), (4, "untested"), (5, "few"), (7, "few"), (8, "better")]
)
def test_few_seeds_get_no_interval_and_no_claim(seeds, verdict):
    (found,) = compare((0.6 + NOISE[:seeds], 0.5 - NOISE[:seeds]))
    assert found.verdict == verdict and (found.interval is None) == (seeds < 5) == (found.p is None)
    assert (found.deviation is None) == (seeds == 1)


def test_the_same_answers_are_equivalent():
    (found,) = compare(([0.5] * 8, [0.5] * 8), margin=0.01)
    assert (found.difference, found.p, found.verdict) == (0, 1, "equivalent")
    assert found.interval == pytest.approx((-0.0028, 0.0028), abs=1e-4)


def test_equivalent_means_that_the_90_percent_interval_is_inside_the_margin():
    scores = 0.5 + 3 * NOISE, 0.5 - NOISE
    half = compare(scores)[0].estimate.compute_half_width(0.9)
    inside, outside = (compare(scores, margin=half * factor)[0] for factor in (1.001, 0.999))
    assert (inside.verdict, outside.verdict) == ("equivalent", "open") and inside.margin_p < 0.05 < outside.margin_p


def test_a_difference_below_the_margin_is_still_a_difference():
    (found,) = compare((0.52 + NOISE, 0.5 - NOISE), margin=0.1)
    assert found.verdict == "better" and found.is_within_margin


def test_no_difference_gives_the_smallest_one_that_would_be_found():
    """From the formula: quantiles of Student's t for m declared comparisons and for a power of 0.8."""
    (one,), (of_three,) = (compare((0.5 + 5 * NOISE, 0.5 - 3 * NOISE), untested=number) for number in (0, 2))
    assert one.verdict == of_three.verdict == "open"
    for found, family in ((one, 1), (of_three, 3)):
        df, error = found.estimate.df, found.estimate.variance**0.5
        wanted = (stats.t.ppf(1 - 0.05 / (2 * family), df) + stats.t.ppf(0.8, df)) * error
        assert found.detectable == pytest.approx(wanted)


def test_a_collapsed_run_forbids_a_verdict():
    """One of eight runs of the second method gives one answer: it decides the mean, and the t-test cannot know it."""
    first = [make_answers(0.8 + noise) for noise in NOISE]
    second = [make_answers(0.75 - noise) for noise in NOISE]
    one_class = np.zeros((1, 1000), int)
    second[3] = Answers(one_class, 1.0 - np.arange(1000)[None] % 2)
    found = compare_pair("a", "b", first, second, metric="accuracy")
    assert found.verdict == "none" and found.p is None and found.interval is None
    assert (found.collapse.first, found.collapse.second, found.collapse.runs, found.collapse.pairs) == (0, 1, 8, 7)
    others = [index for index in range(8) if index != 3]
    assert found.collapse.difference == pytest.approx(np.mean(0.05 + 2 * NOISE[others]))
    assert found.difference == pytest.approx((7 * found.collapse.difference + 0.8 + NOISE[3] - 0.5) / 8)
    both = compare_pair("a", "b", [second[3]] * 8, first, metric="accuracy")
    assert both.collapse.pairs == 0 and both.collapse.difference is None


def test_a_collapsed_student_leaves_the_others_of_its_teacher():
    constant = Answers(np.zeros((1, 1000), int), 1.0 - np.arange(1000)[None] % 2)
    first = [join_answers([make_answers(0.8), constant]), *[make_answers(0.8, 0.8)] * 4]
    found = compare_pair("a", "b", first, [make_answers(0.7, 0.7)] * 5, metric="accuracy", over="teachers")
    assert (found.collapse.first, found.collapse.runs, found.collapse.pairs) == (1, 10, 9)
    assert found.collapse.difference == pytest.approx(0.1)


def test_few_examples_that_differ_allow_no_verdict_but_for_accuracy():
    scores = [0.505] * 8, [0.5] * 8  # 5 examples
    assert compare(scores)[0].verdict == "open"
    (found,) = compare(scores, metric="mcc")
    assert found.verdict == "none" and found.obstacle.startswith("only 5 of 1,000 examples")
    assert compare(([0.51] * 8, [0.5] * 8), metric="mcc")[0].verdict != "none"


def test_a_rare_class_allows_no_verdict():
    scores = 0.6 + NOISE, 0.5 - NOISE
    assert compare(scores, rarest=10)[0].verdict == "better"
    (found,) = compare(scores, rarest=9)
    assert found.verdict == "none" and found.obstacle.startswith("the rarest class has 9 examples")


def test_differences_that_are_all_the_same_allow_no_verdict():
    """Every example answered right by one and wrong by the other: nothing is known of the spread."""
    (found,) = compare(([1.0] * 8, [0.0] * 8))
    assert found.verdict == "none" and "the same for every run" in found.obstacle and found.difference == 1


def test_what_was_not_tested_still_counts():
    """Three were declared, one method has not run: the two others are corrected for three."""
    pairs = [(0.53 + NOISE, 0.5 - NOISE), (0.51 + NOISE, 0.5 - NOISE)]
    raw = [compare(pair)[0].p for pair in pairs]
    assert [found.p for found in compare(*pairs)] == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])
    assert compare(*pairs, untested=1)[0].p == pytest.approx(3 * raw[0])
    gated = compare_pair("a", "b", *([make_answers(0.5)] * 8,) * 2, metric="mcc")
    ungated = replace(compare(pairs[0])[0], p=raw[0])
    assert correct_comparisons([ungated, gated])[0].p == pytest.approx(2 * raw[0])


def test_methods_need_the_same_seeds_and_examples():
    with pytest.raises(ValueError, match="a has 2 seeds, b 1"):
        compare_pair("a", "b", [make_answers(0.5)] * 2, [make_answers(0.5)], metric="accuracy")
    with pytest.raises(ValueError, match="scored on 90 and on 100 examples"):
        join_answers([make_answers(0.5, examples=100), make_answers(0.5, examples=90)])


def test_answers_leave_out_examples_without_a_label():
    labels, logits = np.array([0, 1, -100, 1]), np.eye(2)[[0, 1, 1, 0]]
    scoring = SINGLE_LABEL_CLASSIFICATION.make_scoring("accuracy", ("a", "b"))
    examples = LabelledExamples(labels)
    answers = collect_answers(examples, logits, scoring=scoring)
    assert answers.predictions.tolist() == [[0, 1, 0]] and answers.pseudo_values[0] == pytest.approx([1, 1, 0])
    assert answers.scores == pytest.approx([2 / 3]) and count_rarest(examples, scoring=scoring) == 1
    assert (
        count_rarest(LabelledExamples(np.array([0.5, 0.7])), scoring=REGRESSION.make_scoring("spearman", None)) is None
    )


def test_collapse_that_was_not_seen_is_not_excluded():
    share = bound_collapse(8)
    assert (1 - share) ** 8 == pytest.approx(0.05) and round(share, 2) == 0.31
