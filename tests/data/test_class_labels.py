import numpy as np
import pyarrow as pa
import pytest

from innerdistill.data.class_labels import (
    encode_classes,
    match_class_names,
    warn_of_missing_classes,
    warn_of_spellings,
)
from innerdistill.data.labels import UNLABELLED
from innerdistill.data.tasks import Task


@pytest.mark.parametrize(
    ("names", "model", "declared", "wanted"),
    [
        (("neg", "pos"), ("pos", "neg"), False, ("pos", "neg")),  # by name, whatever the order
        (("negative", "positive"), ("NEGATIVE", "POSITIVE"), False, ("negative", "positive")),
        (("0", "1"), ("LABEL_0", "LABEL_1"), False, ("0", "1")),
        (("0", "1"), ("neg", "pos"), False, ("0", "1")),  # numbers are ids
        (("no", "yes"), ("LABEL_0", "LABEL_1"), True, ("no", "yes")),  # declared order
        (("no", "yes"), ("no", "perhaps", "yes"), False, ("no", "perhaps", "yes")),
    ],
)
def test_labels_are_matched_to_the_models(names, model, declared, wanted):
    assert match_class_names(names, model, declared=declared) == wanted


def test_labels_that_cannot_be_matched():
    with pytest.raises(ValueError, match="label '1' is not one of the teacher's labels"):  # ids would start at 0
        match_class_names(("1", "2"), ("no", "perhaps", "yes"), declared=False)
    with pytest.raises(ValueError, match="name all 2 with data.labels"):
        match_class_names(("no", "yes"), ("LABEL_0", "LABEL_1"), declared=False)
    with pytest.raises(ValueError, match=r"'maybe' is not one of the teacher's labels \(no, yes\)"):
        match_class_names(("no", "maybe"), ("no", "yes"), declared=False)


def test_numbers_in_a_glue_file_follow_names_not_positions():
    task = Task(("t",), labels=("unacceptable", "acceptable"))
    labels, rows = pa.chunked_array([["0", "1"], [None]], pa.string()), pa.chunked_array([[1, 2, 3]])
    ids = encode_classes(labels, task, names=("acceptable", "unacceptable"), where="x", rows=rows)
    assert ids.tolist() == [1, 0, UNLABELLED]


def test_classes_without_an_example_in_validation_are_named():
    every, names = np.arange(4), ("a", "b", "c", "x")
    assert warn_of_missing_classes(every, every, names) == []
    assert warn_of_missing_classes(every, np.full(4, UNLABELLED), names) == []  # nothing is scored at all
    (one,) = warn_of_missing_classes(every, np.array([0, 1, 2, UNLABELLED]), names)
    assert one.startswith(
        "The class 'x' has no example in validation, so its score is unknown: macro F1 is over 3 of 4 classes."
    )
    assert one.endswith("Give a validation file that has it (data.validation), or more examples of it.")
    (two,) = warn_of_missing_classes(every, np.array([0, 1]), names)
    assert two.startswith("No example of 'c', 'x' is in validation, so their scores are unknown: macro F1 is over 2 of")
    (many,) = warn_of_missing_classes(np.arange(150), np.array([0, 1]), [f"class {n}" for n in range(150)])
    assert "'class 31', 118 more is in validation" in many


def test_classes_without_an_example_in_train_are_named():
    found = warn_of_missing_classes(np.array([0, 0]), np.array([0, 0, 1]), ("a", " x"))
    assert found == [
        "The class ' x' has no example in train, so labels teach nothing about it. Give training examples of it."
    ]


def test_labels_that_differ_by_case_or_spaces_are_shown_in_quotes():
    labels = pa.chunked_array([["Pos", "pos ", "neg"], ["pos ", None, "neg"]], pa.string())
    (sentence,) = warn_of_spellings(labels)
    assert (
        "are different classes: 'Pos' (1 of 5 examples), 'pos ' (2 of 5 examples). If they mean the same, write"
        in sentence
    )
    assert warn_of_spellings(pa.chunked_array([["pos", "neg", "pos1", None]], pa.string())) == []
    with pytest.raises(ValueError, match=r"the teacher 2\. These differ only by case or spaces: 'Pos', 'pos '; write"):
        match_class_names(("Pos", "neg", "pos "), ("neg", "pos"), declared=False)
