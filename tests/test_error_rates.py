"""The simulation of error rates, with few draws: intervals hold the truth about as often as they say, refusals come."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from error_rates import NOISES, SHARES, Case, list_grouped, list_special, simulate_case


def make_case(metric, **changes):
    means = (1.03, 1.0) if metric == "spearman" else (1.1, 1.0)
    return replace(Case(metric, 5, 200, NOISES[0], means, SHARES[metric]), **changes)


@pytest.mark.parametrize("metric", SHARES)
def test_the_true_difference_is_that_of_many_seeds_and_examples(metric):
    case = make_case(metric, seeds=40, examples=3000)
    generator, differences = np.random.default_rng(0), []
    for _ in range(10):
        labels, predictions = case.draw(generator)
        scores = [[case.scoring.score(case.scoring.primary, labels, run) for run in runs] for runs in predictions]
        differences.append(np.mean(scores[0]) - np.mean(scores[1]))
    error = np.std(differences, ddof=1) / np.sqrt(10)
    assert case.compute_truth() > 0 and abs(np.mean(differences) - case.compute_truth()) < 4 * error


@pytest.mark.parametrize(("metric", "draws"), [("accuracy", 600), ("mcc", 300), ("spearman", 100)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(metric, draws):
    rates = simulate_case(make_case(metric), draws=draws)
    assert 0.9 <= np.mean(rates.inside) <= 0.995 and not any(rates.refused)
    assert "coverage 0.9" in str(rates)


def test_refusals_come_where_intervals_would_not_hold():
    special = {name: simulate_case(case, draws=60, collapse=collapse) for name, case, collapse in list_special()}
    collapsed = special.pop("one run in eight collapses")
    assert 0.4 < np.mean(collapsed.refused) < 0.9 and np.mean(collapsed.inside) < 0.85
    assert not any(special.pop("neither seeds nor examples matter").refused)
    for name, rates in special.items():
        assert np.mean(rates.refused) > 0.9 and not any(rates.found), name


def test_groups_of_examples_that_count_as_one_bring_the_coverage_back():
    """Ignored, they make the intervals hold the truth clearly less often."""
    cases = [replace(case, examples=300) for name, case in list_grouped() if name.startswith("accuracy, examples")]
    together, ignored = (np.mean(simulate_case(case, draws=400).inside) for case in cases)
    assert 0.92 <= together <= 0.98 and ignored < 0.91
