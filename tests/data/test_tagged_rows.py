"""Lists of words and tags from every source are the same rows; what is wrong is named with its row."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, IterableDataset, List, Value

from innerdistill.data.formats import read_blocks
from innerdistill.data.in_memory import wrap_rows
from innerdistill.data.tagged_rows import read_tagged_rows

WORDS = [["EU", "rejects", "it"], ["Zoë"], ["Peter", ""]]
TAGS = [["B-org", "O", "O"], ["B-per"], ["B-per", "I-per"]]
NAMES = ["O", "B-per", "I-per", "B-org"]
IDS = [[NAMES.index(tag) for tag in tags] for tags in TAGS]
ROWS = list(zip(WORDS, TAGS, strict=True))


def check(blocks, **options):
    rows = []
    for block in blocks:
        options = {"tokens": "tokens", "tags": "tags", "where": "made", **options}
        rows += read_tagged_rows(block, first=len(rows) + 1, **options)
    return rows


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "conll"])
def test_files_give_the_same_rows(ending, tmp_path):
    path, rows = tmp_path / f"made.{ending}", ROWS[:2]
    if ending == "parquet":
        pa.parquet.write_table(pa.table({"tokens": WORDS[:2], "tags": TAGS[:2]}), path)
    elif ending == "jsonl":
        lines = [json.dumps({"tokens": words, "tags": tags}) for words, tags in rows]
        path.write_text("\n".join(lines))
    else:
        sentences = ["\n".join(f"{word}\t{tag}" for word, tag in zip(*row, strict=True)) for row in rows]
        path.write_text("\n\n".join(sentences))
    assert check(read_blocks(path)) == check(read_blocks(path, columns=["tokens"], optional=["tags"])) == rows


FEATURES = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=NAMES))})


@pytest.mark.parametrize(
    "given",
    [
        Dataset.from_dict({"tokens": WORDS, "tags": IDS}, features=FEATURES),
        Dataset.from_dict({"tokens": WORDS, "tags": TAGS}),
        IterableDataset.from_generator(
            lambda: ({"tokens": words, "tags": ids} for words, ids in zip(WORDS, IDS, strict=True)), features=FEATURES
        ),
        pd.DataFrame({"tokens": WORDS, "tags": TAGS}),
        pd.DataFrame({"tokens": [np.array(words, dtype=object) for words in WORDS], "tags": map(np.array, TAGS)}),
        pl.DataFrame({"tokens": WORDS, "tags": TAGS}),
        {"tokens": WORDS, "tags": TAGS},
        [{"tokens": tuple(words), "tags": tags} for words, tags in ROWS],
    ],
    ids=["class ids", "names", "iterable", "pandas", "arrays", "polars", "columns", "tuples"],
)
def test_objects_give_the_same_rows(given):
    assert check(wrap_rows(given).read_blocks(["tokens", "tags"])) == ROWS


def test_hidden_and_missing_tags():
    hidden = Dataset.from_dict({"tokens": [["a", "b"]], "tags": [[1, -1]]}, features=FEATURES)
    with pytest.raises(ValueError, match="made: row 1: tag 2 of 'tags' is missing"):
        check(wrap_rows(hidden).read_blocks(["tokens", "tags"]))
    block = {"tokens": [["a"], ["b"]], "tags": [["O"], None]}
    assert check([block], labelled=None) == [(["a"], ["O"]), (["b"], None)]
    assert check([block], labelled=False) == check([{"tokens": [["a"], ["b"]]}], labelled=None)
    with pytest.raises(ValueError, match="made: row 2 has no 'tags'; give rows without tags as data.unlabelled"):
        check([block])


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ("EU rejects", ["O"], "'tokens' holds 'EU rejects', expected a list of words"),
        (None, ["O"], "'tokens' holds None, expected a list of words"),
        ([], [], "'tokens' holds no words"),
        (["a", 7], ["O", "O"], "word 2 of 'tokens' is 7, expected text"),
        (["a", None], ["O", "O"], "word 2 of 'tokens' is None, expected text"),
        (["a", "b"], "O O", "'tags' holds 'O O', expected a list of tags"),
        (["a", "b"], ["O"], "'tokens' and 'tags' differ in length: 2 words, 1 tag"),
        (["a"], ["O", ["O"]], r"tag 2 of 'tags' holds \['O'\], expected a name or a number"),
        (["a"], [""], "tag 1 of 'tags' is missing"),
        (["a", "\udce9"], ["O", "O"], r"'tokens' is not UTF-8 text \('\\udce9'\); save the file as UTF-8"),
        (["a"], ["\udce9"], "'tags' is not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(words, tags, message):
    block = {"tokens": [["fine"], words], "tags": [["O"], tags]}
    with pytest.raises(ValueError, match=rf"train\.jsonl: row 12: {message}.*\.$"):
        read_tagged_rows(block, tokens="tokens", tags="tags", where="train.jsonl", first=11)
