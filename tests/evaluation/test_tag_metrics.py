import numpy as np
import pytest
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

from innerdistill.data.ragged import make_ragged
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.pseudo_values import compute_pseudo_values
from innerdistill.evaluation.tag_metrics import TagScore
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION

NAMES = ("O", "B-person", "I-person", "B-place", "I-place")
SPEECH = ("DET", "NOUN", "VERB")
ORACLES = {
    "entity_f1": f1_score,
    "entity_precision": precision_score,
    "entity_recall": recall_score,
    "tag_accuracy": accuracy_score,
}


def draw(names, seed, count=30):
    """Gold tags of sentences of different lengths, and predictions of which every third tag is drawn anew."""
    generator = np.random.default_rng(seed)
    gold = [generator.integers(len(names), size=generator.integers(1, 9)) for _ in range(count)]
    predicted = [np.where(generator.random(len(tags)) < 1 / 3, generator.integers(len(names), size=len(tags)), tags) for tags in gold]  # fmt: skip
    return make_ragged(gold), make_ragged(predicted)


def name_tags(tags, names):
    return [[names[tag] for tag in of_example] for of_example in tags]


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_seqeval(name, seed):
    gold, predicted = draw(NAMES, seed)
    score = METRICS[name].score(gold, predicted, **METRICS[name].facts(names=NAMES))
    assert score == pytest.approx(ORACLES[name](name_tags(gold, NAMES), name_tags(predicted, NAMES)))


@pytest.mark.parametrize("name", ORACLES)
def test_pseudo_values_leave_out_one_example_at_a_time(name):
    gold, predicted = draw(NAMES, 7)
    values = compute_pseudo_values(gold, predicted, scoring=TOKEN_CLASSIFICATION.make_scoring(name, NAMES))
    facts = METRICS[name].facts(names=NAMES)
    score = METRICS[name].score(gold, predicted, **facts)
    without = [METRICS[name].score(np.delete(gold, i), np.delete(predicted, i), **facts) for i in range(len(gold))]
    slow = len(gold) * score - (len(gold) - 1) * np.array(without)
    assert values == pytest.approx(slow - slow.mean() + score)


@pytest.mark.parametrize("name", ["entity_f1", "entity_precision", "entity_recall"])
def test_of_tags_that_mark_no_entities_every_word_counts(name):
    gold, predicted = draw(SPEECH, 1)
    score = METRICS[name].score(gold, predicted, names=SPEECH)
    assert score == pytest.approx(METRICS["tag_accuracy"].score(gold, predicted))


def test_a_score_of_ones_own_gets_lists_of_names_as_seqeval_does():
    gold, predicted = draw(NAMES, 3)
    metric = METRICS["entity_f1"].__class__(TagScore(f1_score), "tags", reads=("names",))
    with METRICS.extend({"mine": metric}):
        scoring = TOKEN_CLASSIFICATION.make_scoring("mine", NAMES)
        assert scoring.score(metric, gold, predicted) == METRICS["entity_f1"].score(gold, predicted, names=NAMES)
        values = compute_pseudo_values(gold, predicted, scoring=scoring)  # without a function of its own
    exact = compute_pseudo_values(gold, predicted, scoring=TOKEN_CLASSIFICATION.make_scoring("entity_f1", NAMES))
    assert values == pytest.approx(exact)
