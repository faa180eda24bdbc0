"""Pairs of texts: read from files and objects of all kinds, and as two rows of a tokenised split."""

import json

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from innerdistill.data.pair_columns import choose_paired
from innerdistill.data.pairs import encode_texts_apart
from innerdistill.data.sources import find_sources
from innerdistill.data.split_files import check_headers
from innerdistill.data.task_data import OVERLAP, load_task
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.data.tokens import tokenise
from innerdistill.data.windows import PART, join_rows, read_of_examples, select_examples_evenly
from innerdistill.problem_types.sentence_similarity import SENTENCE_SIMILARITY
from innerdistill.recipe.recipe import IN_MEMORY, DataRecipe

EXAMPLES = SENTENCE_SIMILARITY.examples
TEXTS = [{"sentence": f"text {number}", "label": "a class"} for number in range(40)]
PAIRS = [{"a": f"first {n}", "b": f"second {n}", "score": n / 4, "doc": n % 3} for n in range(12)]


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        pandas.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


def load(recipe, objects=None):
    sources = find_sources(recipe, objects).drop_labels_of_texts(resolve_task(recipe))
    return load_task(recipe, EXAMPLES, objects=objects, sources=sources)


def make_recipe(folder, suffix=".csv", **keys):
    files = {"train": write(folder / f"train{suffix}", TEXTS), "validation": write(folder / f"pairs{suffix}", PAIRS)}
    return DataRecipe(**{**files, "text": "sentence", "pairs": ("a", "b"), **keys})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_pairs_of_every_format_beside_texts(tmp_path, suffix):
    recipe = make_recipe(tmp_path, suffix)
    check_headers(recipe)
    data = load(recipe)
    validation = data.splits["validation"]
    assert (
        validation["text2"].to_pylist() == [row["b"] for row in PAIRS]
        and "text2" not in data.splits["train"].column_names
    )
    assert [float(label) for label in validation["label"].to_pylist()] == [row["score"] for row in PAIRS]
    assert (
        data.splits["train"]["label"].null_count == data.splits["train"].num_rows
    )  # texts have no label, whatever the file
    assert data.against_teacher == ("selection",)


@pytest.mark.parametrize("wrap", [list, Dataset.from_list, pandas.DataFrame])
def test_pairs_and_texts_in_memory(wrap):
    keys = dict.fromkeys(("train", "validation"), IN_MEMORY)
    recipe = DataRecipe(**keys, text="sentence", pairs=("a", "b"))
    data = load(recipe, {"train": wrap(TEXTS), "validation": wrap(PAIRS)})
    assert data.splits["validation"]["text1"].to_pylist() == [row["a"] for row in PAIRS]


def test_a_split_without_columns_of_pairs_is_texts(tmp_path):
    data = load(
        make_recipe(
            tmp_path, selection=write(tmp_path / "more.csv", TEXTS[:5]), test=write(tmp_path / "test.csv", PAIRS[:3])
        )
    )
    assert "text2" in data.splits["test"].column_names and "text2" not in data.splits["selection"].column_names


def test_a_pair_overlaps_train_if_one_of_its_texts_does(tmp_path):
    pairs = [
        *PAIRS,
        {"a": "text 3", "b": "new", "score": 1, "doc": 1},
        {"a": "new", "b": "text 4", "score": 1, "doc": 1},
    ]
    file = write(tmp_path / "overlap.csv", pairs)
    recipe = make_recipe(tmp_path, validation=file, selection=write(tmp_path / "more.csv", [{"sentence": "other"}]))
    assert load(recipe).notes[OVERLAP] == 2
    data = load(recipe.model_copy(update={"drop_overlap": True}))
    assert data.splits["validation"].num_rows == len(PAIRS)


def test_groups_of_pairs_and_more_texts(tmp_path):
    texts = [{**row, "doc": number} for number, row in enumerate(TEXTS)]
    recipe = make_recipe(
        tmp_path,
        train=write(tmp_path / "grouped.csv", texts),
        group="doc",
        unlabelled=write(tmp_path / "more.jsonl", [{"sentence": "one more"}]),
    )
    data = load(recipe)
    assert data.notes["groups"]["validation"] == 3 and data.splits["unlabelled"].num_rows == 1


def test_two_text_columns_make_every_split_pairs(tmp_path):
    recipe = DataRecipe(train=write(tmp_path / "pairs.csv", PAIRS * 3), text=("a", "b"), label="score")
    data = load(recipe)
    assert all("text2" in table.column_names for table in data.splits.values())
    assert data.has_labels("validation") and not data.against_teacher
    sides = [set(data.splits[name]["text1"].to_pylist()) for name in ("train", "validation", "selection")]
    assert not (sides[0] & sides[1] or sides[0] & sides[2])  # equal pairs stay together


@pytest.mark.parametrize("checks", [check_headers, load])
def test_a_missing_column_of_pairs_is_named(tmp_path, checks):
    with pytest.raises(ValueError, match=r"data.validation: .*'c'"):
        checks(make_recipe(tmp_path, pairs=("a", "c")))
    with pytest.raises(ValueError, match="data.pairs: no split that is scored has the columns 'a', 'b'"):
        checks(make_recipe(tmp_path, validation=None))


def test_a_split_that_lacks_both_is_told_of_its_pairs():
    task = Task(("sentence",), pairs=("a", "b"))
    paired = choose_paired(task, {"train": True, "validation": False}, {"train": True, "validation": False})
    assert paired == {"train": False, "validation": True}


def test_a_pair_is_two_rows_next_to_each_other(tokenizer):
    columns = {"text1": ["one", "three"], "text2": ["two words", "four"], "row": [4, 7], "labels": [0.5, 1.0]}
    rows = encode_texts_apart(columns, tokenizer, texts=["text1", "text2"], max_length=12)
    assert rows["row"] == [4, 4, 7, 7] and rows["labels"] == [0.5, 0.5, 1.0, 1.0] and rows[PART] == [0, 1, 0, 1]
    assert rows["input_ids"] == tokenizer(["one", "two words", "three", "four"])["input_ids"]
    prompted = encode_texts_apart(columns, tokenizer, texts=["text1"], max_length=12, prompt="two ")
    assert prompted["input_ids"] == tokenizer(["two one", "two three"])["input_ids"] and prompted[PART] == [0, 0]


@pytest.mark.parametrize("width", [1, 2])
def test_rows_are_put_together_by_example(tokenizer, width, tmp_path):
    names = ["a", "b"][:width]
    task = Task(tuple(names), label="score")
    table = pa.table(
        {
            "row": range(1, 13),
            **{f"text{i + 1}": [row[n] for row in PAIRS] for i, n in enumerate(names)},
            "label": pa.chunked_array([[str(row["score"]) for row in PAIRS]]),
        }
    )
    options = {"examples": EXAMPLES, "names": None, "max_length": 12, "folder": tmp_path}
    dataset, _ = tokenise(table, task, tokenizer, **options)
    assert len(dataset) == 12 * width and read_of_examples(dataset, "row").tolist() == list(range(1, 13))
    assert read_of_examples(dataset, "labels").tolist() == [row["score"] for row in PAIRS]
    values = np.arange(len(dataset) * 3.0).reshape(-1, 3)
    joined = join_rows(dataset, values)
    assert joined.shape == (12, width, 3) and np.array_equal(joined.reshape(-1, 3), values)
    some = select_examples_evenly(dataset, 5)
    assert len(some) == 5 * width and join_rows(some, np.zeros((len(some), 3))).shape == (5, width, 3)
    with_prompt, _ = tokenise(table, task, tokenizer, **options, prompt="one ")
    assert with_prompt["length"][0] > dataset["length"][0]  # the cache knows the prompt
