"""Entities are those that seqeval reads by default; broken tags are those that a scheme's own rules refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB2, IOBES
from seqeval.scheme import Entities as StrictEntities

from innerdistill.data.tag_schemes import (
    LETTERS,
    find_broken_tags,
    find_entities,
    find_scheme,
    locate_entities,
    read_tag_set,
)

TYPES = ("person", "creative-work", "x")
NAMES = {scheme: ["O", *(f"{letter}-{kind}" for letter in letters for kind in TYPES)] for scheme, letters in LETTERS.items()}  # fmt: skip
AS_BIOES = str.maketrans("LU", "ES")


def sequences(scheme):
    """Tags at random, of which most break their scheme; half of them are the letters alone, as there is one type."""
    return st.one_of(st.lists(st.sampled_from(NAMES[scheme])), st.lists(st.sampled_from(["O", *LETTERS[scheme]])))


def valid(scheme, generator, words=12):
    """Tags that keep to their scheme."""
    single, last = {"BIO": "BI", "BIOES": "SE", "BILOU": "UL"}[scheme]
    tags = []
    while len(tags) < words:
        kind, length = generator.choice(TYPES), int(generator.integers(0, 4))
        letters = ["O", single, f"B{last}", f"BI{last}"][length]
        tags += [letter if letter == "O" else f"{letter}-{kind}" for letter in letters]
    return tags


def translate(tag):
    """A tag of BILOU in the letters of BIOES, which seqeval reads by default."""
    return tag[0].translate(AS_BIOES) + tag[1:]


def read_with_seqeval(tags):
    return [(kind, first, last + 1) for kind, first, last in get_entities([translate(tag) for tag in tags])]


@pytest.mark.parametrize("scheme", LETTERS)
def test_entities_are_those_of_seqeval(scheme):
    @settings(max_examples=1_000, deadline=None)
    @given(sequences(scheme))
    def check(tags):
        assert find_entities(tags) == read_with_seqeval(tags)

    check()


@pytest.mark.parametrize("scheme", LETTERS)
def test_many_sentences_at_once_are_read_one_by_one(scheme):
    tag_set = read_tag_set(NAMES[scheme])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.lists(st.integers(0, len(NAMES[scheme]) - 1), max_size=8)))
    def check(sentences):
        lengths = np.array([len(ids) for ids in sentences], dtype=int)
        words = np.array([word for ids in sentences for word in ids], dtype=int)
        found = locate_entities(words, lengths, tag_set)
        offsets = np.cumsum(lengths) - lengths
        columns = (found.sentences, found.types, found.firsts, found.ends)
        by_sentence = [[] for _ in sentences]
        for sentence, kind, first, end in zip(*map(np.ndarray.tolist, columns), strict=True):
            begin = offsets[sentence]
            by_sentence[sentence].append((tag_set.type_names[kind], first - begin, end - begin))
        assert by_sentence == [read_with_seqeval([NAMES[scheme][word] for word in ids]) for ids in sentences]

    check()


@pytest.mark.parametrize(("scheme", "strict"), [("BIO", IOB2), ("BIOES", IOBES), ("BILOU", BILOU)])
def test_tags_that_keep_to_their_scheme_are_read_as_strictly(scheme, strict):
    generator = np.random.default_rng(0)
    for _ in range(100):
        tags = valid(scheme, generator)
        wanted = [(entity.tag, entity.start, entity.end) for entity in StrictEntities([tags], strict).entities[0]]
        assert find_entities(tags) == wanted
        assert not mark_broken([tags], scheme).any()


def mark_broken(sentences, scheme):
    words = np.array([NAMES[scheme].index(tag) for tags in sentences for tag in tags], dtype=int)
    lengths = np.array([len(tags) for tags in sentences], dtype=int)
    return find_broken_tags(words, lengths, read_tag_set(NAMES[scheme]), scheme)


def slow_broken(tags, scheme):
    """The rules, word by word."""
    if scheme == "IO":
        return [False] * len(tags)
    marks = []
    ends_open = scheme == "BIO"  # whether an entity may end after B or I
    for before, tag, after in zip(["O", *tags], tags, [*tags[1:], "O"], strict=False):
        same_before, same_after = before[1:] == tag[1:], after[1:] == tag[1:]
        is_broken = tag[0] in "IEL" and not (before[0] in "BI" and same_before)
        is_broken |= tag[0] in "BI" and not ends_open and not (after[0] in "IEL" and same_after)
        marks.append(is_broken)
    return marks


@pytest.mark.parametrize("scheme", LETTERS)
def test_broken_tags_are_found_in_every_sentence(scheme):
    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(NAMES[scheme]), max_size=8)))
    def check(sentences):
        wanted = [mark for tags in sentences for mark in slow_broken(tags, scheme)]
        assert mark_broken(sentences, scheme).tolist() == wanted

    check()


@pytest.mark.parametrize("scheme", LETTERS)
def test_a_label_set_tells_its_scheme(scheme):
    assert find_scheme(NAMES[scheme]) == scheme == find_scheme([*LETTERS[scheme]])


@pytest.mark.parametrize(
    "names", [[], ["O"], ["NOUN", "VERB", "ADP"], ["B-a", "I-a", "X"], ["B-a", "S-a", "U-a"], ["O", "LABEL_1"], ["b-a"]]
)
def test_tags_without_entities_have_no_scheme(names):
    assert find_scheme(names) is None


def test_a_tag_of_another_kind_is_named():
    with pytest.raises(ValueError, match="'NOUN' is no tag of an entity; expected O, or B"):
        read_tag_set(["O", "NOUN"])
