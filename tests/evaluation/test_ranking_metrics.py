"""Metrics of rankings: nDCG against scikit-learn's, reciprocal ranks against all orders of equal scores."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from innerdistill.data.ragged import make_ragged
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.predicted_rankings import (
    decide_relevances,
    describe_rankings,
    measure_ranking_agreement,
    measure_ranking_distances,
)
from innerdistill.evaluation.pseudo_values import compute_pseudo_values
from innerdistill.evaluation.ranking_metrics import correlate_ranks, measure_ndcg, measure_reciprocal_rank
from innerdistill.evaluation.scoring import score_outputs
from innerdistill.problem_types.text_ranking import TEXT_RANKING


@st.composite
def rankings(draw, most):
    """Relevances of a query, one above 0, and scores of which some are equal."""
    count = draw(st.integers(2, most))
    relevances = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any))
    scores = draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    return np.array(relevances, dtype=float), np.array(scores, dtype=float)


@settings(max_examples=200, deadline=None)
@given(rankings(25))
def test_ndcg_is_that_of_scikit_learn_with_equal_scores(ranking):
    relevances, scores = ranking
    expected = ndcg_score([2**relevances - 1], [scores], k=10)
    assert measure_ndcg(relevances, scores) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(rankings(6))
def test_a_reciprocal_rank_is_the_mean_over_all_orders_of_equal_scores(ranking):
    relevances, scores = ranking
    values = []
    for order in permutations(range(len(scores))):
        by_score = sorted(order, key=lambda number: -scores[number])
        values.append(1 / (1 + [relevances[number] > 0 for number in by_score].index(True)))
    assert measure_reciprocal_rank(relevances, scores) == pytest.approx(np.mean(values))


def test_only_the_first_ten_documents_count():
    relevances, scores = np.eye(12)[10], -np.arange(12.0)
    assert measure_reciprocal_rank(relevances, scores) == measure_ndcg(relevances, scores) == 0
    assert measure_reciprocal_rank(relevances, np.zeros(12)) == pytest.approx(sum(1 / r for r in range(1, 11)) / 12)


@settings(max_examples=50, deadline=None)
@given(rankings(8))
def test_correlations_of_ranks_are_those_of_scipy(ranking):
    relevances, scores = ranking
    if np.ptp(relevances) and np.ptp(scores):
        assert correlate_ranks(relevances, scores) == pytest.approx(spearmanr(relevances, scores).statistic)
    else:
        assert correlate_ranks(relevances, scores) == float(not np.ptp(relevances) and not np.ptp(scores))


def test_pseudo_values_are_the_queries_own_and_their_mean_is_the_score():
    generator = np.random.default_rng(0)
    labels = make_ragged(generator.permutation(np.arange(count) == 0).astype(float) for count in range(2, 40))
    logits = make_ragged(generator.normal(size=(len(of_query), 1)) for of_query in labels)
    predictions = TEXT_RANKING.predictions.predict(logits)
    for name, measure in (("ndcg_at_10", measure_ndcg), ("mrr_at_10", measure_reciprocal_rank)):
        scoring = TEXT_RANKING.make_scoring(name, None)
        values = [measure(*query) for query in zip(labels, predictions, strict=True)]
        np.testing.assert_allclose(compute_pseudo_values(labels, predictions, scoring=scoring), values)
        assert METRICS[name].score(labels, predictions) == pytest.approx(np.mean(values))


def test_queries_that_cannot_be_scored_are_left_out():
    labels = make_ragged(np.array(of_query) for of_query in ([1.0, 0.0], [0.0, 0.0], [1.0], []))
    logits = make_ragged(np.arange(max(1, len(of_query)))[:, None].astype(float) for of_query in labels)
    scores = score_outputs(labels, logits, scoring=TEXT_RANKING.make_scoring("ndcg_at_10", None))
    assert scores["rows"] == 1 and scores["mrr_at_10"] == 0.5 and scores["constant"] == pytest.approx((1 + 0.6309) / 2, abs=1e-4)  # fmt: skip
    assert not scores["collapsed"]
    assert describe_rankings(labels, make_ragged(np.zeros_like(of_query) for of_query in logits))["collapsed"]


def test_rankings_of_two_models_agree_or_differ_by_query():
    teacher = make_ragged(np.array(scores)[:, None] for scores in ([3.0, 2.0, 1.0], [1.0, 2.0], [5.0]))
    student = make_ragged(np.array(scores)[:, None] for scores in ([3.0, 1.0, 2.0], [2.0, 1.0], [0.0]))
    values = measure_ranking_agreement(teacher, student)
    np.testing.assert_allclose(values["rank_correlation"], [0.5, -1, np.nan])
    np.testing.assert_allclose(values["same_first"], [1, 0, np.nan])
    differs, distances = measure_ranking_distances(teacher, student)
    assert differs.tolist() == [False, True, False] and distances.tolist() == pytest.approx([0.5, 2, 0])
    assert [of_query.tolist() for of_query in decide_relevances(teacher)] == [[2, 1, 0], [0, 1], [0]]
