"""Labels that are sets: every form in which they are written, how they are encoded, and how splits share them out."""

import numpy as np
import pyarrow as pa
import pytest

from innerdistill.data.label_sets import (
    encode_label_sets,
    find_label_names,
    group_label_sets,
    has_label_set,
    read_label_set,
    warn_of_label_spellings,
    warn_of_missing_labels,
)
from innerdistill.data.tasks import Task


def column(*values):
    return pa.chunked_array([[read_label_set(value) for value in values]], pa.string())


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (["joy", "anger", "joy"], {}, '["anger", "joy"]'),
        ("joy, anger", {}, '["anger", "joy"]'),
        ("joy | anger|", {"separator": "|"}, '["anger", "joy"]'),
        ({"joy": 1, "anger": False, "fear": "true", "fun": "0"}, {}, '["fear", "joy"]'),
        ([3, 12], {}, '["12", "3"]'),
        (7, {}, '["7"]'),
        ([], {}, "[]"),
        ("", {}, "[]"),
        (None, {}, None),
        (float("nan"), {}, None),
        (["é"], {}, '["é"]'),
        ([1.0, 0.0, 0.0], {}, "[true, false, false]"),
        ([0, 0, 1], {}, "[false, false, true]"),  # an id is never there twice
        ([True, False], {}, "[true, false]"),
        ([0, 1], {}, '["0", "1"]'),
        ([3.0, 12.0], {}, '["12", "3"]'),
    ],
)
def test_labels_are_read_in_every_form(value, options, expected):
    assert read_label_set(value, **options) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"joy": 2}, "holds 2 for 'joy', expected 0 or 1"),
        ({"joy": None}, "holds None for 'joy', expected 0 or 1"),
        (["joy", ""], "a list with an empty label"),
        (b"joy", "expected a name or a number"),
        ([["joy"]], "expected a name or a number"),
        ([0.2, 0.8], "expected the labels that apply, or 0 or 1 for every label"),
    ],
)
def test_other_values_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        read_label_set(value)


def encode(values, names=("a", "b", "c")):
    rows = pa.chunked_array([list(range(1, len(values) + 1))])
    task = Task(("text",), labels=("c", "b", "a"))  # another order than the model's
    return encode_label_sets(column(*values), task, names=names, where="train", rows=rows)


def test_marks_are_as_names():
    marks = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [], None]
    assert np.array_equal(encode(marks), encode([["c"], ["b", "a"], [], None]), equal_nan=True)
    assert find_label_names(column([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).to_pylist(), Task(("text",))) == ("0", "1", "2")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 0.0, 0.0], [1.0, 0.0]], "train: row 2: a list of 2 marks .0 or 1., but there are 3 labels"),
        ([["a"], [0, 0, 1]], "train: row 2 has 0 or 1 for every label, but row 1 lists labels; write the marks as 0.0"),
    ],
)
def test_wrong_marks_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        encode(values)


def test_marks_that_were_read_as_ids_are_refused():
    texts = column([0, 1], [1, 0]).to_pylist()
    with pytest.raises(ValueError, match="every training example has the labels 0 and 1. If they say whether"):
        find_label_names(list(dict.fromkeys(texts)), Task(("text",)))


def test_names_come_from_the_task_its_columns_or_the_labels():
    texts = column(["b"], ["a", "c"], []).to_pylist()
    assert find_label_names(texts, Task(("text",))) == ("a", "b", "c")
    assert find_label_names(texts, Task(("text",), label_columns=("c", "a", "b"))) == ("c", "a", "b")
    assert find_label_names(texts, Task(("text",), labels=("c", "b", "a"))) == ("c", "b", "a")
    with pytest.raises(ValueError, match="at least 2"):
        find_label_names(column(["a"], []).to_pylist(), Task(("text",)))


def test_encoded_labels_are_ones_and_zeros_and_nan_without_an_answer():
    rows, options = pa.chunked_array([[1, 2, 3]]), {"names": ("a", "b"), "where": "train"}
    encoded = encode_label_sets(column(["b"], [], None), Task(("text",)), rows=rows, **options)
    assert encoded.dtype == np.float32 and encoded[:2].tolist() == [[0, 1], [0, 0]] and np.isnan(encoded[2]).all()
    assert has_label_set(encoded).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="train: row 2: unknown label 'bb'. Did you mean 'b'"):
        encode_label_sets(column(["a"], ["bb"], []), Task(("text",)), rows=rows, **options)
    by_position = encode_label_sets(column([1], [0, 1], []), Task(("text",), labels=("b", "a")), rows=rows, **options)
    assert by_position.tolist() == [[1, 0], [1, 1], [0, 0]]  # the model's order is another one than that of data.labels


def test_the_group_of_an_example_is_its_rarest_label():
    groups = group_label_sets(column(["a"], ["a", "b"], ["a", "c"], ["b"], ["b"], [], [], ["a"])).tolist()
    assert groups[1] == groups[3] == groups[4] != groups[0] and groups[5] == groups[6]
    assert len(set(groups)) == 4


def test_labels_without_an_example_are_named():
    train, validation = np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 1]])
    (first, second) = warn_of_missing_labels(train, validation, ("a", "b", "c"))
    assert (
        first == "No example of 'b', 'c' is in train, so labels teach nothing about them. Give train examples of them."
    )
    assert second.startswith("The class 'a' has no example in validation, so the scores say nothing about it.")
    assert warn_of_missing_labels(np.full((2, 1), np.nan), train[:, :1], ("a",)) == []
    (spellings,) = warn_of_label_spellings(column(["Joy", "x"], ["joy"], ["joy"]))
    assert "'Joy' (1 of 4 examples)" in spellings and "'joy' (2 of 4 examples)" in spellings
