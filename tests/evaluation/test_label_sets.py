"""Scores, thresholds and answers of multi-label classification, against scikit-learn and slow references."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, f1_score

from innerdistill.evaluation.answers import collect_answers, count_rarest
from innerdistill.evaluation.label_set_metrics import find_sets
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.predicted_label_sets import choose_thresholds, find_swapped_sets, identify_sets
from innerdistill.problem_types.multi_label_classification import MULTI_LABEL_CLASSIFICATION

NAMES = ("a", "b", "c", "d")


def draw(examples, seed, *, share=0.4, decimals=8):
    """Labels and margins that fit them to some extent; with few decimals, margins are often equal."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((examples, len(NAMES))) < share).astype(np.float32)
    margins = (labels - 0.5 + generator.normal(size=labels.shape)).round(decimals)
    return labels, margins.astype(np.float32)


def score(metric, labels, margins):
    scoring = MULTI_LABEL_CLASSIFICATION.make_scoring(metric, NAMES)
    return scoring.score(scoring.primary, labels, margins)


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_those_of_scikit_learn(seed):
    labels, margins = draw(50, seed, share=0.15)
    labels[:, 3] = 0  # a label without an example
    sets = find_sets(margins)
    assert score("micro_f1", labels, margins) == pytest.approx(f1_score(labels, sets, average="micro"))
    expected = f1_score(labels, sets, average="macro", zero_division=np.nan)
    assert score("macro_f1", labels, margins) == pytest.approx(expected)
    with_examples = average_precision_score(labels[:, :3], margins[:, :3], average="macro")
    assert score("mean_average_precision", labels, margins) == pytest.approx(with_examples)


def test_a_threshold_is_the_one_with_the_highest_f1():
    labels, logits = draw(300, 1, share=0.2)
    logits -= 1
    (shared,) = set(choose_thresholds(labels, logits, kind="shared").tolist())
    levels = np.arange(1, 100) / 100
    f1 = [f1_score(labels, expit(logits.astype(float)) > level, average="micro") for level in levels]
    assert f1[round(shared * 100) - 1] == pytest.approx(max(f1))
    each = choose_thresholds(labels, logits, kind="per label")
    for label, level in enumerate(each):
        of_label = [f1_score(labels[:, label], expit(logits[:, label].astype(float)) > level) for level in levels]
        assert of_label[round(level * 100) - 1] == pytest.approx(max(of_label))
    labels[:, 2] = 0
    assert choose_thresholds(labels, logits, kind="per label")[2] == choose_thresholds(labels, logits, kind="shared")[2]
    assert choose_thresholds(labels, logits, kind="half").tolist() == [0.5] * 4
    assert choose_thresholds(np.full((2, 4), np.nan), logits[:2], kind="shared") is None


def test_margins_are_relative_to_the_thresholds():
    labels, logits = draw(100, 2)
    thresholds = choose_thresholds(labels, logits, kind="per label")
    margins = logits - logit(thresholds).astype(np.float32)
    assert (find_sets(margins) == (expit(logits.astype(float)) > thresholds)).all()


def test_equal_sets_have_equal_numbers_in_every_model():
    labels, margins = draw(60, 4)
    assert (identify_sets(find_sets(margins)) == identify_sets(margins)).all()
    numbers, rows = identify_sets(labels), [tuple(row) for row in labels]
    assert len(set(numbers.tolist())) == len(set(rows))
    wide = np.eye(70)  # more labels than a number has bits
    assert len(np.unique(identify_sets(wide))) == 70


def test_answers_know_collapsed_runs_and_the_rarest_label():
    labels, margins = draw(60, 5)
    labels[:, 1] = 0
    labels[:3, 1] = 1
    scoring, examples = MULTI_LABEL_CLASSIFICATION.make_scoring("micro_f1", NAMES), LabelledExamples(labels)
    assert not collect_answers(examples, margins, scoring=scoring).collapsed.any()
    assert collect_answers(examples, np.ones_like(margins), scoring=scoring).collapsed.all()
    assert count_rarest(examples, scoring=scoring) == 3


def test_label_names_in_another_order_are_found():
    generator = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2, 0.1])
    labels = (generator.random((200, 4)) < shares).astype(np.float32)
    right = 2 * labels - 1
    assert find_swapped_sets(LabelledExamples(labels), right, NAMES) is None
    found = find_swapped_sets(LabelledExamples(labels), right[:, [1, 0, 2, 3]], NAMES)
    assert found.meant == (1, 0, 2, 3) and "(a, b)" in found.sentence
    assert find_swapped_sets(LabelledExamples(labels[:20]), right[:20, [1, 0, 2, 3]], NAMES) is None
    assert find_swapped_sets(LabelledExamples(labels), np.ones_like(right), NAMES) is None
