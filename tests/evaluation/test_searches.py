"""Searches: scores against slow references and scikit-learn, equal similarities, blocks, and what is not searched."""

import math
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from innerdistill.data.ragged import make_ragged
from innerdistill.data.searches import LEFT_OUT
from innerdistill.evaluation import searches
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.differences import compare_logits
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.searches import find_first_documents, find_places, list_relevances
from innerdistill.problem_types.sentence_similarity import SENTENCE_SIMILARITY

NAMES = ("ndcg_at_10", "mrr_at_10", "recall_at_10", "recall_at_100")


def make_labels(judged, documents):
    """Labels of all texts from the relevances of each query by position."""
    of_queries = [np.array([*of_query.items()], dtype=float).ravel() for of_query in judged]
    return make_ragged([*[np.zeros(0)] * documents, *of_queries])


def draw_search(generator, *, documents, queries, size=6, ties=False):
    embeddings = generator.standard_normal((documents + queries, 1, size)).astype(np.float32)
    if ties:
        embeddings = np.sign(embeddings)  # cosines of few values
    judged = []
    for _ in range(queries):
        chosen = generator.choice(documents, size=generator.integers(1, min(8, documents) + 1), replace=False)
        judged.append({int(position): int(generator.integers(0, 4)) for position in chosen})
    return make_labels(judged, documents), embeddings, judged


def measure_all(labels, embeddings):
    relevances, places = list_relevances(labels), find_places(labels, embeddings)
    metrics = {name: METRICS[name].find("searches") for name in NAMES}
    return {name: metric.pseudo_values(relevances, places) for name, metric in metrics.items()}


def slow_cosines(embeddings, documents):
    rows = embeddings[:, 0].astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.round(rows[documents:] @ rows[:documents].T, 6)


def score_order(order, judged):
    """Scores of one order of documents, from the definitions."""
    gains = [judged.get(position, 0) for position in order]
    ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(sorted(judged.values(), reverse=True)[:10]))
    relevant = sum(gain > 0 for gain in judged.values())
    if not relevant:
        return [0.0] * 4
    ranks = [i + 1 for i, gain in enumerate(gains) if gain > 0]
    return [
        sum(gain / math.log2(i + 2) for i, gain in enumerate(gains[:10])) / ideal,
        1 / ranks[0] if ranks and ranks[0] <= 10 else 0.0,
        sum(rank <= 10 for rank in ranks) / relevant,
        sum(rank <= 100 for rank in ranks) / relevant,
    ]


def test_scores_equal_slow_ones_and_those_of_scikit_learn():
    generator, compared = np.random.default_rng(0), 0
    for _ in range(1_000):
        documents = int(generator.integers(2, 140))
        labels, embeddings, judged = draw_search(generator, documents=documents, queries=2)
        found, cosines = measure_all(labels, embeddings), slow_cosines(embeddings, documents)
        for query, of_query in enumerate(judged):
            expected = score_order(np.argsort(-cosines[query], kind="stable").tolist(), of_query)
            np.testing.assert_allclose([found[name][query] for name in NAMES], expected, atol=1e-12)
            gains = np.zeros((1, documents))
            gains[0, list(of_query)] = list(of_query.values())
            if gains.any():
                compared += 1
                assert found["ndcg_at_10"][query] == pytest.approx(ndcg_score(gains, cosines[query : query + 1], k=10))
    assert compared > 1_500


def test_documents_that_are_equally_similar_count_as_all_their_orders_on_average():
    generator = np.random.default_rng(1)
    for _ in range(25):
        labels, embeddings, judged = draw_search(generator, documents=6, queries=1, size=2, ties=True)
        found, (cosines,) = measure_all(labels, embeddings), slow_cosines(embeddings, 6)
        orders = [o for o in permutations(range(6)) if all(np.diff(cosines[list(o)]) <= 0)]
        expected = np.mean([score_order(order, judged[0]) for order in orders], axis=0)
        np.testing.assert_allclose([found[name][0] for name in NAMES], expected, atol=1e-12)


def test_many_equally_similar_documents_count_as_scikit_learn_counts_them():
    generator = np.random.default_rng(2)
    labels, embeddings, judged = draw_search(generator, documents=300, queries=40, size=4, ties=True)
    found, cosines = measure_all(labels, embeddings), slow_cosines(embeddings, 300)
    for query, of_query in enumerate(judged):
        gains = np.zeros((1, 300))
        gains[0, list(of_query)] = list(of_query.values())
        expected = ndcg_score(gains, cosines[query : query + 1], k=10) if gains.any() else 0
        assert found["ndcg_at_10"][query] == pytest.approx(expected, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    labels, embeddings, _ = draw_search(np.random.default_rng(3), documents=97, queries=23)
    whole, first = find_places(labels, embeddings), find_first_documents(labels, embeddings, 10)
    monkeypatch.setattr(searches, "QUERIES", 5)
    monkeypatch.setattr(searches, "DOCUMENTS", 7)
    for one, other in zip(whole, find_places(labels, embeddings), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first, find_first_documents(labels, embeddings, 10))
    np.testing.assert_array_equal(first, np.argsort(-slow_cosines(embeddings, 97), kind="stable")[:, :10])


def test_a_document_with_the_id_of_the_query_is_not_found():
    embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])[:, None]
    labels = make_labels([{1: 1, 0: LEFT_OUT}], 3)
    assert measure_all(labels, embeddings)["mrr_at_10"].tolist() == [1.0]
    assert find_first_documents(labels, embeddings, 2).tolist() == [[1, 2]]
    assert list_relevances(labels)[0].tolist() == [[1, 2]]
    both = make_labels([{}], 3)
    both[3] = np.array([0, 1, 1, 1, 0, LEFT_OUT], dtype=float)  # judged relevant, and not searched
    assert measure_all(both, embeddings)["recall_at_10"].tolist() == [0.5]
    both[3] = np.array([0, 1, 0, LEFT_OUT], dtype=float)
    assert [float(values[0]) for values in measure_all(both, embeddings).values()] == [0.0] * 4


def test_intervals_are_over_queries():
    labels, embeddings, judged = draw_search(np.random.default_rng(4), documents=60, queries=30)
    other = embeddings + 0.3 * np.random.default_rng(5).standard_normal(embeddings.shape)
    scoring, examples = SENTENCE_SIMILARITY.make_scoring("ndcg_at_10", None), LabelledExamples(labels)
    values, others = (measure_all(labels, side)["ndcg_at_10"] for side in (embeddings, other))
    scores = score_with_errors(examples, embeddings, scoring=scoring)
    assert scores["rows"] == len(judged) and scores["ndcg_at_10"] == pytest.approx(values.mean())
    assert scores["standard_error"] == pytest.approx(values.std(ddof=1) / math.sqrt(30))
    assert {*NAMES} == {*scores} & {*NAMES, "spearman", "pearson"}
    difference = compare_logits(examples, embeddings, other, scoring=scoring)
    assert difference.difference == pytest.approx((values - others).mean())
    assert difference.standard_error == pytest.approx((values - others).std(ddof=1) / math.sqrt(30))


def test_the_constant_answer_is_a_random_order():
    labels, _, judged = draw_search(np.random.default_rng(6), documents=12, queries=5)
    scoring = SENTENCE_SIMILARITY.make_scoring("recall_at_10", None)
    relevances = list_relevances(labels)
    expected = np.mean([10 / 12 if any(of_query.values()) else 0 for of_query in judged])
    assert scoring.score_constants(relevances) == [pytest.approx(expected)]
    np.testing.assert_array_equal(
        scoring.predictions.identify(find_places(labels, np.ones((17, 1, 3)))),
        scoring.predictions.identify(scoring.answer_constant(relevances)),
    )
