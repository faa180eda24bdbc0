"""Similarities of texts: against slow references over all pairs, and with one text left out after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from innerdistill.evaluation import neighbours
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.neighbours import choose_compared, iterate_neighbours, measure_shared_neighbours
from innerdistill.evaluation.predicted_embeddings import (
    compare_embeddings,
    describe_embeddings,
    identify_embeddings,
    make_constant_embeddings,
    make_embedding_columns,
)
from innerdistill.evaluation.similarities import (
    compare_pairs,
    compute_similarity_pseudo_values,
    correlate_similarities,
)


def draw(examples, width=1, size=5, seed=0):
    return np.random.default_rng(seed).standard_normal((examples, width, size)).astype(np.float32)


def slow_cosines(embeddings):
    rows = embeddings.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def slow_correlation(teacher, student):
    upper = np.triu_indices(len(teacher), 1)
    return pearsonr(slow_cosines(teacher[:, 0])[upper], slow_cosines(student[:, 0])[upper]).statistic


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(0, 1000))
def test_the_correlation_is_that_over_all_pairs_of_texts(count, seed):
    teacher, student = draw(count, seed=seed), draw(count, size=7, seed=seed + 1)
    assert correlate_similarities(teacher, student) == pytest.approx(slow_correlation(teacher, student), abs=1e-9)


def test_pseudo_values_are_those_of_the_jackknife():
    teacher, count = draw(9), 9
    student = teacher + 0.5 * draw(9, seed=1)
    whole = slow_correlation(teacher, student)
    without = [slow_correlation(np.delete(teacher, i, 0), np.delete(student, i, 0)) for i in range(count)]
    slow = count * whole - (count - 1) * np.array(without)
    np.testing.assert_allclose(
        compute_similarity_pseudo_values(teacher, student), slow - slow.mean() + whole, atol=1e-9
    )


def test_texts_are_read_in_blocks(monkeypatch):
    teacher, student = draw(50), draw(50, seed=1)
    whole = compute_similarity_pseudo_values(teacher, student)
    monkeypatch.setattr("innerdistill.evaluation.similarities.BLOCK", 7)
    np.testing.assert_allclose(compute_similarity_pseudo_values(teacher, student), whole, atol=1e-12)


@pytest.mark.parametrize(("name", "function"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_pairs_are_scored_by_the_cosine_of_their_embeddings(name, function):
    pairs, metric = draw(30, 2), METRICS[name].find("embeddings")
    cosines = np.array([slow_cosines(pair)[0, 1] for pair in pairs])
    np.testing.assert_allclose(compare_pairs(pairs), cosines)
    labels = cosines + np.random.default_rng(1).normal(size=30)
    assert metric.score(labels, pairs) == pytest.approx(function(labels, cosines).statistic)
    values = metric.pseudo_values(labels, pairs)
    assert values.mean() == pytest.approx(metric.score(labels, pairs)) and values.std() > 0


def slow_neighbours(embeddings, count):
    similarities = slow_cosines(embeddings)
    np.fill_diagonal(similarities, -2)
    return [set(np.argsort(-row)[:count].tolist()) for row in similarities]


@pytest.mark.parametrize("count", [1, 2, 8, 40])
def test_neighbours_are_the_most_similar_other_texts(count, monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", 7)
    teacher, student = draw(count), draw(count, seed=1)
    size = min(10, count - 1)
    theirs, ours = slow_neighbours(teacher[:, 0], size), slow_neighbours(student[:, 0], size)
    expected = [len(t & s) / size if size else 1 for t, s in zip(theirs, ours, strict=True)]
    np.testing.assert_allclose(measure_shared_neighbours(teacher, student), expected)
    for rows, found in iterate_neighbours(teacher[:, 0]):
        assert [set(row) for row in found.tolist()] == theirs[rows]


def test_of_many_texts_some_are_compared_chosen_by_a_hash(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_TEXTS", 20)
    chosen = choose_compared(100, 2)
    assert len(chosen) == 10 and (np.diff(chosen) > 0).all() and chosen.tolist() == choose_compared(100, 2).tolist()
    teacher, student = draw(100, 2), draw(100, 2, seed=1)
    shares = measure_shared_neighbours(teacher, student)
    assert np.flatnonzero(~np.isnan(shares)).tolist() == chosen.tolist()
    np.testing.assert_allclose(shares[chosen], measure_shared_neighbours(teacher[chosen], student[chosen]))


@pytest.mark.parametrize("width", [1, 2])
def test_a_model_that_gives_all_texts_one_embedding_has_collapsed_and_no_nan(width):
    teacher = draw(20, width)
    flat = np.tile(draw(1)[0, 0], (20, width, 1)) * (1 + 1e-7 * draw(20, width))  # equal but for rounding
    assert describe_embeddings(None, flat)["collapsed"] and not describe_embeddings(None, teacher)["collapsed"]
    assert np.ptp(identify_embeddings(flat)) == 0 and np.ptp(identify_embeddings(teacher)) > 0
    numbers = compare_embeddings(None, teacher, flat.astype(np.float32))
    assert numbers["similarity_correlation"] == 0 and np.isfinite(list(numbers.values())).all()
    zeros = compare_embeddings(None, teacher, np.zeros_like(teacher))
    assert np.isfinite(list(zeros.values())).all()


@pytest.mark.parametrize("labels", [np.arange(4.0), draw(4), draw(4, 2)])
def test_the_constant_answer_finds_all_texts_equally_similar(labels):
    (constant,) = make_constant_embeddings(labels)
    teacher = labels if labels.ndim > 1 else draw(4, 2)
    assert correlate_similarities(teacher, constant) == 0


def test_equal_embeddings_have_equal_numbers():
    teacher = draw(6, 2)
    other = teacher.copy()
    other[3] += 1
    assert np.flatnonzero(identify_embeddings(teacher) != identify_embeddings(other)).tolist() == [3]


def test_columns_of_predictions():
    pairs = draw(3, 2)
    columns = make_embedding_columns(pairs)
    assert list(columns) == ["embedding", "embedding2", "similarity"]
    np.testing.assert_array_equal(columns["embedding2"].to_pylist(), pairs[:, 1].tolist())
    assert list(make_embedding_columns(pairs[:, :1])) == ["embedding"]
