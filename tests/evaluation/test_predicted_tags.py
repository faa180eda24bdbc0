"""Predicted tags: swapped names, and what is shown of an example."""

import numpy as np
import pytest

from innerdistill.data.ragged import make_ragged
from innerdistill.data.words import join_words, pack_words
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.predicted_tags import find_swapped_tags, show_tags

NAMES = ("O", "B-x", "B-y", "I-x", "I-y")


def answer(gold, predicted):
    """Labels and logits of sentences of ten words."""
    labels = make_ragged(np.array(gold).reshape(-1, 10))
    return LabelledExamples(labels), make_ragged(np.eye(len(NAMES))[np.array(predicted)].reshape(-1, 10, len(NAMES)))


@pytest.fixture
def gold():
    """Nine of ten words are O."""
    generator = np.random.default_rng(0)
    return np.where(generator.random(3_000) < 0.9, 0, generator.integers(1, 5, 3_000))


def test_swapped_types_are_found_though_most_words_are_o(gold):
    renamed = np.array([0, 2, 1, 4, 3])
    examples, logits = answer(gold, renamed[gold])
    found = find_swapped_tags(examples, logits, NAMES)
    assert found is not None and list(found.meant) == renamed.tolist()
    assert "its accuracy over words of entities is 0.000, and would be 1.000 if 'B-x' meant 'B-y'" in found.sentence


def test_o_that_is_another_output_is_found(gold):
    renamed = np.array([1, 0, 2, 3, 4])
    found = find_swapped_tags(*answer(gold, renamed[gold]), NAMES)
    assert found is not None and list(found.meant) == renamed.tolist()


@pytest.mark.parametrize("missed", [(), (1,), (1, 3), (1, 2, 3, 4)])
def test_a_model_that_overlooks_types_is_in_order(gold, missed):
    """It says O of them: that O means O is seen from all other words."""
    assert find_swapped_tags(*answer(gold, np.where(np.isin(gold, missed), 0, gold)), NAMES) is None


def test_parts_of_speech_are_judged_by_all_words():
    gold = np.arange(300) % 5
    names = ("ADJ", "NOUN", "VERB", "DET", "X")
    examples, logits = answer(gold, (gold + 1) % 5)
    found = find_swapped_tags(examples, logits, names)
    assert found is not None and "its accuracy over words is 0.000" in found.sentence


def test_entities_without_a_type_are_shown_alone():
    packed = pack_words(join_words(["In", "New", "York"]))
    assert show_tags(np.array([2, 0, 1]), ["B", "I", "O"], packed) == "New York"
    assert show_tags(np.array([2, 0, 1]), ["B", "I", "O"]) == "words 2 to 3"
    assert show_tags(np.array([2, 0, 1]), ["B-x", "I-x", "O"], packed) == "New York (x)"
    assert show_tags(np.array([2, 2]), ["B", "I", "O"]) == "no entity"


def test_examples_without_tags_do_not_count():
    empty = make_ragged([np.array([], dtype=np.int64)] * 3)
    assert find_swapped_tags(LabelledExamples(empty), make_ragged([np.zeros((2, 5))] * 3), NAMES) is None
