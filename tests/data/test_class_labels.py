import pyarrow as pa
import pytest

from innerdistill.data.class_labels import encode_classes, match_class_names
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
