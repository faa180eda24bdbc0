"""Tags as labels: read from rows of every form, named, encoded, grouped and warned of."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innerdistill.data.in_memory import choose_label, wrap_rows
from innerdistill.data.ragged import make_ragged
from innerdistill.data.tags import (
    encode_tags,
    find_tag_names,
    group_tags,
    has_tags,
    match_tag_names,
    read_tagged_texts,
    warn_of_tag_spellings,
    warn_of_tags,
)
from innerdistill.data.tasks import Task
from innerdistill.data.words import join_words, pack_words, unpack_words

TASK = Task(("text",))


def column(tags):
    return pa.chunked_array([[None if each is None else json.dumps(each) for each in tags]], pa.string())


def encode(tags, names, task=TASK, rows=None):
    rows = pa.chunked_array([rows or list(range(1, len(tags) + 1))])
    return [ids.tolist() for ids in encode_tags(column(tags), task, names=names, where="train", rows=rows)]


def read(block, task=TASK, **options):
    return read_tagged_texts(block, task, **{"where": "f.jsonl", "first": 5, "labelled": True, **options})


def test_lists_and_spans_of_the_same_words_are_read_alike():
    lists = read({"text": [["In", "Rome", "."]], "label": [["O", "B-place", "O"]]})
    spans = read({"text": ["In Rome ."], "label": [[{"start": 3, "end": 7, "label": "place"}]]})
    assert lists == spans == ([[pack_words(join_words(["In", "Rome", "."]))]], ['["O", "B-place", "O"]'])


def test_raw_text_keeps_its_spaces_and_offsets():
    ((packed,),), (tags,) = read({"text": ["In  Rome."], "label": [[]]})
    assert unpack_words(packed) == ("In  Rome.", [(0, 2), (4, 8), (8, 9)]) and json.loads(tags) == ["O"] * 3


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"text": [["a"], "b"], "label": [["O"], ["O"]]}, "row 6: 'text' holds 'b'; expected a list of words, as in the rows before"),
        ({"text": ["a", ["b"]], "label": [[], ["O"]]}, r"row 6: 'text' holds \['b'\]; expected text, as in the rows before"),
        ({"text": [["a"], ["b", "c"]], "label": [["O"], ["O"]]}, "row 6: 'text' and 'label' differ in length: 2 words, 1 tag"),
        ({"text": [["a"], []], "label": [["O"], []]}, "row 6: 'text' holds no words"),
        ({"text": [["a"], None], "label": [["O"], ["O"]]}, "row 6 has no text in 'text'"),
        ({"text": ["a b", "c"], "label": [["O", "O"], ["O"]]}, "row 5: span 1 of 'label' is 'O', expected start, end and label"),
        ({"text": [["a", 1]], "label": [["O", "O"]]}, "row 5: word 2 of 'text' is 1, expected text"),
        ({"text": [[1, 2]], "label": [["O", "O"]]}, "row 5: word 1 of 'text' is 1, expected text"),
        ({"text": [["a", "b"]], "label": ["O O"]}, "row 5: 'label' holds 'O O', expected a list of tags"),
        ({"text": [["a", "b"]], "label": [["O", None]]}, "row 5: tag 2 of 'label' is missing"),
        ({"text": ["ab"], "label": [[{"start": 0, "end": 1, "label": "x"}]]}, "the span from 0 to 1 .'a'. splits the word 'ab'"),
        ({"text": ["  "], "label": [[]]}, "row 5: 'text' holds '  ', expected words"),
        ({"text": [""], "label": [[]]}, "row 5: 'text' holds '', expected words"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_their_number(block, message):
    with pytest.raises(ValueError, match=f"^f.jsonl: .*{message}"):
        read(block)


def test_two_text_columns_are_refused():
    with pytest.raises(
        ValueError, match="data.text: token classification reads one column of words or of texts, got text, b"
    ):
        read({"text": ["a"], "b": ["a"], "label": [[]]}, Task(("text", "b")))


def test_texts_without_words_may_be_read():
    given = {"text": [["a"], None, [], [" "]], "label": [None] * 4}
    texts, labels = read(given, labelled=False, allow_null=True)
    empty = pack_words(join_words([]))
    assert texts == [[pack_words(join_words(["a"])), None, empty, empty]] and labels == [None] * 4


def test_names_are_completed_by_their_scheme():
    assert find_tag_names(['["B-x", "O"]', None], TASK) == ("B-x", "I-x", "O")
    assert find_tag_names(['["S-x", "O", "B-y", "E-y"]'], TASK) == (
        "B-x", "B-y", "E-x", "E-y", "I-x", "I-y", "O", "S-x", "S-y",
    )  # fmt: skip
    assert find_tag_names(['["NOUN", "VERB"]'], TASK) == ("NOUN", "VERB")  # parts of speech have none
    assert find_tag_names(['["0", "10", "2"]'], TASK) == ("0", "2", "10")
    assert find_tag_names(['["B-x"]'], Task(("text",), labels=("O", "B-x"))) == ("O", "B-x")
    assert find_tag_names(['["B", "O"]'], TASK) == ("B", "I", "O")


def test_a_model_need_not_have_tags_that_only_complete_the_scheme():
    names = ("B-x", "B-y", "I-x", "I-y", "O")
    assert match_tag_names(names, ("O", "B-y", "B-x"), declared=False) == ("O", "B-y", "B-x")
    for outputs in (("O", "I-x", "I-y"), ("O", "B-x", "I-x")):  # another scheme, and a type that it lacks
        with pytest.raises(ValueError, match="the data has .* labels .*, the teacher 3"):
            match_tag_names(names, outputs, declared=False)


def test_tags_are_encoded_by_name_or_by_position():
    assert encode([["O", "B-x"], None, ["O"]], ("B-x", "O")) == [[1, 0], [], [1]]
    task = Task(("text",), labels=("O", "B-x"))
    assert encode([["0", "1"], ["1"]], ("B-x", "O"), task) == [[1, 0], [0]]
    with pytest.raises(ValueError, match="^train: row 9: unknown tag 'B-y'. Did you mean 'B-x'"):
        encode([["O"], ["O", "B-y"]], ("B-x", "O"), rows=[8, 9])


def test_examples_without_tags_are_known():
    assert has_tags(make_ragged([np.array([0]), np.array([], dtype=int)])).tolist() == [True, False]


def test_an_example_belongs_to_its_rarest_type():
    tags = [["B-a", "O"], ["B-a", "I-a"], ["B-a", "B-b"], ["O"], ["O", "O"], ["B-a"]]
    groups = group_tags(column(tags)).tolist()
    assert groups[0] == groups[1] == groups[5] and groups[3] == groups[4]
    assert len({groups[0], groups[2], groups[3]}) == 3


def ids(names, *tags):
    return make_ragged(np.array([names.index(tag) for tag in each], dtype=np.int64) for each in tags)


def test_missing_types_and_broken_schemes_are_warned_of():
    names = ("O", "B-a", "I-a", "B-b", "I-b")
    train, validation = ids(names, ["B-a", "I-a", "O"], ["O", "I-a", "I-a"]), ids(names, ["B-b", "I-a"], ["B-a"])
    first, second, third = warn_of_tags(train, validation, names)
    assert "'b'" in first and "in train" in first and "teach nothing about it" in first
    assert second == (
        "1 tag of train breaks the scheme BIO, as I after O does. Such tags are read as in seqeval: an entity begins there."
    )
    assert third.startswith("1 tag of validation breaks the scheme BIO")
    assert warn_of_tags(ids(names, []), ids(names, []), names) == []


def test_spellings_are_compared_by_word():
    (warning,) = warn_of_tag_spellings(column([["B-X", "O", "O"], None, ["B-x"]]))
    assert "'B-X'" in warning and "'B-x'" in warning and "words" in warning
    assert warn_of_tag_spellings(column([["B-X", "O"]])) == []


tags = st.lists(st.lists(st.sampled_from(["O", "B-é", "I-é", '"', "a,b"]), min_size=1), min_size=1)


@given(tags)
def test_any_name_survives(listed):
    given = {"text": [["w"] * len(each) for each in listed], "label": listed}
    _, labels = read(given)
    assert [json.loads(each) for each in labels] == listed
    names = sorted({tag for each in listed for tag in each})
    assert [[names[tag] for tag in each] for each in encode(listed, names)] == listed


def test_a_column_of_tags_is_looked_for_beside_words_only():
    assert choose_label(wrap_rows([{"tokens": ["Rome"], "ner_tags": ["B-place"]}])) == "ner_tags"
    assert choose_label(wrap_rows([{"text": "Rome", "tags": "travel"}])) is None
