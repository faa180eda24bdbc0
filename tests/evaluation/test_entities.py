"""Counts, scores and pseudo-values of entities against seqeval, sentence by sentence."""

import warnings

import numpy as np
import pytest
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from innerdistill.data.tag_schemes import LETTERS, read_tag_set
from innerdistill.evaluation.entities import (
    compute_ratio_pseudo_values,
    count_entities,
    score_entities,
    score_entity_types,
)
from innerdistill.evaluation.pseudo_values import estimate_standard_error

TYPES = ("creative-work", "person", "place")
AS_BIOES = str.maketrans("LU", "ES")


class Drawn:
    """Random gold and predicted tags, most of which break their scheme; two thirds of the words are tagged alike."""

    def __init__(self, scheme, sentences, seed=0):
        generator = np.random.default_rng(seed)
        self.names = ["O", *(f"{letter}-{kind}" for letter in LETTERS[scheme] for kind in TYPES)]
        self.lengths = generator.integers(0, 12, sentences)
        words = int(self.lengths.sum())
        self.gold = generator.integers(0, len(self.names), words) * (generator.random(words) < 0.7)
        other = generator.integers(0, len(self.names), words)
        self.predicted = np.where(generator.random(words) < 0.67, self.gold, other)

    def count(self):
        return count_entities(self.gold, self.predicted, self.lengths, read_tag_set(self.names))

    def list_tags(self, ids):
        """Tags by sentence, in the letters that seqeval reads by default."""
        tags = [self.names[number][0].translate(AS_BIOES) + self.names[number][1:] for number in ids]
        ends = np.cumsum(self.lengths)
        return [tags[end - length : end] for end, length in zip(ends, self.lengths, strict=True)]


def run_seqeval(gold, predicted, average="micro"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that are never predicted
        return precision_recall_fscore_support(gold, predicted, average=average)


@pytest.mark.parametrize("scheme", LETTERS)
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_seqeval(scheme, seed):
    drawn = Drawn(scheme, 1_000, seed)
    gold, predicted = drawn.list_tags(drawn.gold), drawn.list_tags(drawn.predicted)
    counts = drawn.count()
    precision, recall, f1, support = run_seqeval(gold, predicted)
    assert score_entities(counts) == pytest.approx({"precision": precision, "recall": recall, "f1": f1})
    assert 0.2 < f1 < 0.9 and counts.gold.sum() == support
    by_type = score_entity_types(counts)
    assert tuple(by_type) == TYPES
    for scores, *wanted in zip(by_type.values(), *run_seqeval(gold, predicted, average=None), strict=True):
        assert [scores[name] for name in ("precision", "recall", "f1", "gold")] == pytest.approx(wanted)


def test_counts_are_those_of_each_sentence():
    drawn = Drawn("BIO", 300)
    counts = drawn.count()
    sentences = zip(drawn.list_tags(drawn.gold), drawn.list_tags(drawn.predicted), strict=True)
    for number, (gold, predicted) in enumerate(sentences):
        _, _, f1, support = run_seqeval([gold], [predicted])
        right, guessed, known = (part[number].sum() for part in (counts.right, counts.predicted, counts.gold))
        assert known == support and (2 * right / (guessed + known) if right else 0) == pytest.approx(f1)


def compute_f1_pseudo_values(counts):
    return compute_ratio_pseudo_values(2 * counts.right.sum(1), (counts.predicted + counts.gold).sum(1))


@pytest.mark.parametrize("scheme", LETTERS)
def test_pseudo_values_leave_out_one_sentence_at_a_time(scheme):
    drawn = Drawn(scheme, 40)
    gold, predicted = drawn.list_tags(drawn.gold), drawn.list_tags(drawn.predicted)
    score = f1_score(gold, predicted)
    slow = np.array(
        [40 * score - 39 * f1_score(gold[:i] + gold[i + 1 :], predicted[:i] + predicted[i + 1 :]) for i in range(40)]
    )
    values = compute_f1_pseudo_values(drawn.count())
    assert values == pytest.approx(slow - slow.mean() + score)
    assert values.mean() == pytest.approx(score) and estimate_standard_error(values) > 0


def test_nothing_predicted_scores_zero():
    drawn = Drawn("BIOES", 30)
    drawn.predicted[:] = 0
    counts = drawn.count()
    assert score_entities(counts) == {"precision": 0, "recall": 0, "f1": 0}
    assert not compute_f1_pseudo_values(counts).any()


def test_a_score_that_hangs_on_one_sentence_is_defined_without_it():
    tag_set = read_tag_set(["O", "B-a", "I-a"])
    counts = count_entities(np.array([1, 2, 0]), np.array([1, 2, 0]), np.array([2, 1, 0]), tag_set)
    values = compute_f1_pseudo_values(counts)
    assert values.tolist() == pytest.approx([3 - 2 / 3, 1 - 2 / 3, 1 - 2 / 3])  # 3, 1 and 1, whose mean is 1 + 2/3
    alone = count_entities(np.array([1, 0]), np.array([1, 1]), np.array([2]), tag_set)
    assert compute_f1_pseudo_values(alone).tolist() == pytest.approx([2 / 3])
