import numpy as np
import pyarrow as pa
import pytest

from innerdistill.data.tasks import Task
from innerdistill.data.tokens import tokenise
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION

CLASSES = SINGLE_LABEL_CLASSIFICATION.examples
TASK = Task(("t",))
TABLE = pa.table({"row": [1, 2], "text1": ["word1 " * 30, "word1"], "label": ["a", "b"]})


def test_truncation_is_counted(tokenizer):
    dataset, truncated = tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12)
    assert truncated == 1 and dataset["length"] == [12, 3] and dataset[0]["input_ids"][-1] == tokenizer.sep_token_id


def test_pairs_lose_from_the_longer_text(tokenizer):
    table = pa.table({"row": [1], "text1": ["word1 " * 30], "text2": ["word2 word3"], "label": ["a"]})
    dataset, truncated = tokenise(table, Task(("t", "u")), tokenizer, examples=CLASSES, names=("a",), max_length=16)
    assert truncated == 1 and tokenizer.decode(dataset[0]["input_ids"]).endswith("word2 word3 [SEP]")


def test_token_ids_are_made_once_and_read_from_disk(tokenizer, tmp_path, monkeypatch):
    in_memory, _ = tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12)
    made, _ = tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path)
    (file,) = tmp_path.glob("*.arrow")
    written = file.stat().st_mtime_ns
    monkeypatch.setattr(type(tokenizer), "__call__", lambda *_, **__: pytest.fail("tokenised again"))
    read, truncated = tokenise(
        TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path
    )
    assert in_memory[:] == made[:] == read[:] and truncated == 1
    assert read.cache_files and file.stat().st_mtime_ns == written


def test_other_labels_lengths_and_texts_have_files_of_their_own(tokenizer, tmp_path):
    other = TABLE.set_column(1, "text1", [["word2", "word1"]])
    for table, names, max_length in ((TABLE, "ab", 12), (TABLE, "ba", 12), (TABLE, "ab", 8), (other, "ab", 12)):
        tokenise(table, TASK, tokenizer, examples=CLASSES, names=tuple(names), max_length=max_length, folder=tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 4


@pytest.mark.parametrize("keep", [0, 100, -20])
def test_a_damaged_file_is_made_again(tokenizer, tmp_path, keep):
    made, _ = tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path)
    expected = made[:]
    (file,) = tmp_path.glob("*.arrow")
    del made
    file.write_bytes(file.read_bytes()[:keep])
    again, _ = tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path)
    assert again[:] == expected


def test_a_changed_token_is_noticed_though_the_file_can_be_read(tokenizer, tmp_path):
    def tokenise_again():
        return tokenise(TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path)[0]

    made = tokenise_again()
    expected, ids = made[:], np.array(made[0]["input_ids"], dtype=made.features["input_ids"].feature.dtype)
    (file,) = tmp_path.glob("*.arrow")
    (checksum,) = tmp_path.glob("*.json")
    del made
    content, before = file.read_bytes(), ids.tobytes()
    assert content.count(before) == 1
    ids[1] += 1
    file.write_bytes(content.replace(before, ids.tobytes()))
    with pa.ipc.open_stream(file.read_bytes()) as stream:  # readable, with another token
        assert stream.read_all()["input_ids"][0].as_py() == ids.tolist()
    assert tokenise_again()[:] == expected and file.read_bytes() == content
    for damaged in ("", "[", '{"checksum": 1}'):
        checksum.write_text(damaged)
        assert tokenise_again()[:] == expected
    checksum.unlink()  # of an older version
    assert tokenise_again()[:] == expected and checksum.is_file()


def test_without_a_place_to_write_they_stay_in_memory(tokenizer, tmp_path):
    (tmp_path / "file").touch()
    dataset, _ = tokenise(
        TABLE, TASK, tokenizer, examples=CLASSES, names=("a", "b"), max_length=12, folder=tmp_path / "file"
    )
    assert not dataset.cache_files and dataset["length"] == [12, 3]
