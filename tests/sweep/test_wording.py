"""Comparisons in words."""

import numpy as np
from records import make_answers

from innerdistill.sweep.statistics import compare_pair, correct_comparisons
from innerdistill.sweep.wording import describe_comparison, describe_reserve, describe_scope, describe_stability

NOISE = np.array([-2, -1, -1, 0, 0, 1, 1, 2]) / 1000


def compare(first, second, *, metric="accuracy", **described):
    answers = ([make_answers(score) for score in scores] for scores in (first, second))
    return correct_comparisons([compare_pair("sid", "soft", *answers, metric=metric, **described)])[0]


def describe(*scores, **described):
    return describe_comparison(compare(*scores, **described), "accuracy")


def test_a_difference_is_said_with_its_interval():
    low, high = compare(0.52 + NOISE, [0.5] * 8).interval
    assert describe(0.52 + NOISE, [0.5] * 8) == (
        f"sid beats soft by 0.020 accuracy (95 % interval {low:+.3f} ... {high:+.3f}, p < 0.001 after Holm, 8 seeds, one "
        "teacher)."
    )
    assert describe([0.5] * 8, 0.52 + NOISE).startswith("sid is worse than soft by 0.020 accuracy (95 %")
    small = describe(0.52 + NOISE, [0.5] * 8, margin=0.1)
    assert small.endswith("The difference is below the margin of 0.1.")


def test_fewer_than_eight_seeds_beat_nothing():
    assert describe(0.52 + NOISE[:7], [0.5] * 7).startswith("sid scores 0.020 accuracy higher than soft (95 %")
    assert describe([0.5] * 7, 0.52 + NOISE[:7]).startswith("sid scores 0.020 accuracy lower than soft (95 %")
    assert describe(0.5 + NOISE[:5], [0.5] * 5, margin=0.1).startswith(
        "sid and soft differ by less than 0.1 accuracy (90 %"
    )
    assert describe(0.52 + NOISE[:4], [0.5] * 4) == "sid against soft: +0.019 ± 0.001 accuracy (n = 4, not tested)."
    assert describe([0.52], [0.5]) == "sid against soft: +0.020 accuracy (n = 1, not tested)."


def test_no_difference_and_equivalence():
    found = compare(0.5 + 5 * NOISE, 0.5 - 3 * NOISE)
    text = describe(0.5 + 5 * NOISE, 0.5 - 3 * NOISE)
    assert text.startswith("No difference shown between sid and soft: +0.000 accuracy (95 % interval")
    assert text.endswith(f"If it were {found.detectable:.3f}, 80 % of such sweeps would show it.")
    assert describe([0.5] * 8, [0.5] * 8).startswith(
        "sid and soft give the same answers in every run (95 % interval -0.003"
    )
    equivalent = describe(0.5 + NOISE, 0.5 - NOISE, margin=0.1)
    assert equivalent.startswith("sid and soft are equivalent within 0.1 accuracy (90 % interval -0.0")
    assert equivalent.endswith("p < 0.001 after Holm, 8 seeds, one teacher).")


def test_what_forbids_a_verdict_is_said():
    constant = 0.5  # of examples in turns: right on one class, so one answer to all
    assert describe([0.505] * 8, [0.5] * 8, metric="mcc") == (
        "No verdict on sid against soft: only 5 of 1,000 examples are answered differently, and a verdict needs 10 (+0.005 "
        "accuracy, 8 seeds, one teacher)."
    )
    answers = [make_answers(score) for score in 0.6 + NOISE]
    collapsed = make_answers(constant)
    collapsed.predictions[:] = 1
    found = compare_pair("sid", "soft", answers, [make_answers(0.55)] * 7 + [collapsed], metric="accuracy")
    assert describe_comparison(found, "accuracy") == (
        "No verdict on sid against soft: 1 of 8 runs of soft gives one answer to all examples. With all runs the difference "
        "is +0.056 accuracy. Given that training succeeds, it is +0.050 (7 pairs of runs)."
    )
    assert describe_stability([found]) == ""
    never = compare_pair("sid", "soft", answers, [collapsed] * 8, metric="accuracy")
    assert describe_comparison(never, "accuracy").endswith("With all runs the difference is +0.100 accuracy.")


def test_an_estimate_over_teachers_is_called_rough():
    first = [make_answers(0.6 + shift, 0.62 + shift) for shift in NOISE]
    found = compare_pair(
        "sid", "soft", first, [make_answers(0.5, 0.5)] * 8, metric="accuracy", over="teachers", are_seeds_shared=True,
        runs=(2, 2),
    )  # fmt: skip
    text = describe_comparison(found, "accuracy")
    assert text.startswith("sid against soft: roughly +0.110 accuracy (95 % interval")
    assert text.endswith(
        "8 teachers, 2 students of each). All teachers share 2 seeds of their students: an estimate, not a test."
    )
    assert describe_scope([found]) == (
        "Intervals and tests are about other teachers, other seeds and other examples. They do not cover other training "
        "examples or another tuned learning rate."
    )


def test_what_is_missing_is_said_once():
    of_eight = [compare(0.52 + NOISE, [0.5] * 8, declared=declared) for declared in (8, 10)]
    assert describe_reserve(of_eight[:1]) == "" and describe_reserve(of_eight) == "Preliminary: 8 of 10 seeds have run."
    few, one = compare(0.52 + NOISE[:5], [0.5] * 5), compare([0.52], [0.5])
    assert describe_reserve([few]) == "There are only 5 seeds. A claim needs 8 seeds."
    assert describe_reserve([few, one]) == "There is only 1 seed. A test needs 5 seeds, a claim 8."


def test_what_the_intervals_are_about_is_said_once():
    assert describe_scope([compare(0.52 + NOISE, [0.5] * 8)]) == (
        "Intervals and tests are about other seeds and other examples. They do not cover other teachers, other training "
        "examples or another tuned learning rate."
    )
    assert describe_scope([compare([0.52], [0.5])]) == ""


def test_stability_is_bounded():
    assert describe_stability([compare(0.52 + NOISE, [0.5] * 8)]) == (
        "No run gave one answer to all examples. With 8 seeds, this does not exclude that up to 31 % of all runs would."
    )
    assert describe_stability([compare([0.52], [0.5])]) == ""
