"""Examples that belong together count as one: in standard errors, tests and gates, against numbers made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from innerdistill.evaluation.answers import collect_answers, count_rarest, find_shared_groups, join_answers
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.differences import compare_on_examples, compare_with_constant
from innerdistill.evaluation.labelled_examples import LabelledExamples, mark_groups, sum_groups
from innerdistill.evaluation.predicted_classes import find_swapped_labels
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION as CLASSES

ACCURACY = CLASSES.make_scoring("accuracy", ("no", "yes"))


def one_hot(predictions):
    return np.eye(2)[predictions]


def test_groups_of_other_sizes_by_hand():
    """Mean 0.6 of 5 examples in 2 groups: 0.6 + 2/5 (0.4 + 0.4 - 0.6) and 0.6 + 2/5 (-0.6 + 0.4)."""
    values, groups = np.array([1.0, 1.0, 0.0, 0.0, 1.0]), np.array([7, 7, 7, 3, 3])
    assert sum_groups(values, groups) == pytest.approx([0.52, 0.68])  # in the order of their numbers: 3, 7
    assert sum_groups(np.stack([values, 1 - values]), groups)[1] == pytest.approx([0.48, 0.32])
    assert sum_groups(values, None) is values and sum_groups(values, groups).mean() == pytest.approx(0.6)
    assert mark_groups(groups == 3, groups).tolist() == [True, False]


def test_the_standard_error_of_equal_groups_is_that_of_their_means():
    """Groups of two: right shares 1, 0.5, 0 and 1."""
    labels, groups = np.zeros(8, int), np.repeat([0, 1, 2, 3], 2)
    predictions = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    wanted = np.std([1, 0.5, 0, 1], ddof=1) / 2
    grouped = score_with_errors(LabelledExamples(labels, groups), one_hot(predictions), scoring=ACCURACY)
    plain = score_with_errors(LabelledExamples(labels), one_hot(predictions), scoring=ACCURACY)
    assert grouped["standard_error"] == pytest.approx(wanted) and plain["standard_error"] < wanted
    ignored = ("standard_error", "above_constant")
    assert {name: grouped[name] for name in grouped if name not in ignored} == {
        name: plain[name] for name in plain if name not in ignored
    }


def test_a_difference_of_groups_of_one_is_that_of_examples():
    generator = np.random.default_rng(0)
    labels, first, second = generator.integers(0, 2, (3, 60))
    for metric in ("accuracy", "mcc", "f1", "macro_f1"):
        scoring = CLASSES.make_scoring(metric, ("no", "yes"))
        plain, alone = (
            compare_on_examples(LabelledExamples(labels, groups), first, second, scoring=scoring)
            for groups in (None, generator.permutation(60))
        )
        assert alone == replace(plain, standard_error=pytest.approx(plain.standard_error, rel=1e-12))


def test_copies_of_the_same_examples_do_not_make_a_difference_clear():
    generator = np.random.default_rng(1)
    labels, first, second = generator.integers(0, 2, (3, 60))
    groups = np.tile(np.arange(60), 5)
    together, plain = (
        compare_on_examples(
            LabelledExamples(np.tile(labels, 5), each), np.tile(first, 5), np.tile(second, 5), scoring=ACCURACY
        )
        for each in (groups, None)
    )
    once = compare_on_examples(LabelledExamples(labels), first, second, scoring=ACCURACY)
    assert together.standard_error == pytest.approx(once.standard_error) and together.difference == plain.difference
    assert plain.standard_error < 0.5 * together.standard_error


def test_few_different_answers_are_counted_by_group():
    """20 examples are answered differently, but they are in 4 groups."""
    labels, groups = np.zeros(200, int), np.arange(200) // 5
    second = np.where(np.arange(200) < 20, 1, 0)
    found = compare_on_examples(LabelledExamples(labels, groups), labels, second, scoring=ACCURACY)
    of_groups = np.repeat([1.0, 0.0], [4, 36]).std(ddof=1) / np.sqrt(40)
    assert found.standard_error == pytest.approx(np.sqrt(of_groups**2 + 2 / 40**2)) and found.different == 20


def test_a_model_that_is_right_about_few_groups_does_not_beat_a_constant_answer():
    """It is right about 24 of 40 examples, all those of 3 of 5 groups."""
    labels, groups = np.tile([0, 1], 20), np.arange(40) // 8
    predictions = np.where(groups < 4, labels, 0)
    alone, together = (
        compare_with_constant(LabelledExamples(labels, each), one_hot(predictions), scoring=ACCURACY)
        for each in (None, groups % 2)
    )
    assert alone.is_clearly_positive and not together.is_clearly_positive
    assert alone.difference == together.difference


def test_answers_have_a_value_for_each_group_and_count_classes_by_group():
    labels, groups = np.array([0, 0, 1, -100, 1, 1]), np.array([0, 0, 1, 1, 1, 0])
    examples = LabelledExamples(labels, groups)
    answers = collect_answers(examples, one_hot([0, 1, 1, 0, 1, 1]), scoring=ACCURACY)
    assert answers.groups.tolist() == [0, 0, 1, 1, 0] and answers.predictions.shape == (1, 5)
    assert answers.pseudo_values[0] == pytest.approx([0.8 + 0.4 * -0.4, 0.8 + 0.4 * 0.4])
    assert answers.scores == pytest.approx([0.8])
    assert join_answers([answers, answers]).groups.tolist() == answers.groups.tolist()
    assert count_rarest(examples, scoring=ACCURACY) == 1  # `no` is in one group
    assert count_rarest(LabelledExamples(labels), scoring=ACCURACY) == 2


def test_runs_with_other_groups_cannot_be_compared():
    labels, logits = np.array([0, 1, 0, 1]), one_hot([0, 1, 1, 0])
    runs = [
        collect_answers(LabelledExamples(labels, groups), logits, scoring=ACCURACY)
        for groups in (None, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    ]
    assert find_shared_groups(runs[:1] * 2) is None
    for pair in ([runs[0], runs[1]], [runs[1], runs[0]], [runs[1], runs[2]]):
        with pytest.raises(ValueError, match="other values in the column of data.group"):
            join_answers(pair)


def test_few_groups_do_not_show_that_labels_are_swapped():
    labels, names = np.tile([0, 1], 20), ("no", "yes")
    predictions = np.where(np.arange(40) < 32, 1 - labels, labels)
    assert find_swapped_labels(LabelledExamples(labels), one_hot(predictions), names) is not None
    assert find_swapped_labels(LabelledExamples(labels, np.arange(40) // 32), one_hot(predictions), names) is None
