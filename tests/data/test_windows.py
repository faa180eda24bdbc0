"""Windows of long texts: one row of a tokenised split each, one array of words for each example."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from piece_tokenizers import make_word_piece_tokenizer

from innerdistill.data.batches import WordCollator, make_collator
from innerdistill.data.labels import UNLABELLED
from innerdistill.data.ragged import make_ragged
from innerdistill.data.tags import encode_tags, find_tag_names
from innerdistill.data.tasks import Task
from innerdistill.data.tokens import tokenise
from innerdistill.data.windows import PIECES, join_rows, read_of_examples
from innerdistill.data.words import join_words, pack_words
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION

WORD_PIECE = make_word_piece_tokenizer()
NAMES = ("O", "B-x", "I-x")
TASK = Task(("words",))
TYPES = {"labels": pa.list_(pa.int64()), PIECES: pa.list_(pa.int64())}

sentences = st.lists(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=4), st.sampled_from(NAMES)), min_size=1, max_size=20),
    min_size=1,
    max_size=5,
)


def make_table(examples, *, labelled=True, rows=None, **columns):
    """A split of sentences, each a list of words and tags."""
    texts = [pack_words(join_words([word for word, _ in example])) for example in examples]
    tags = [json.dumps([tag for _, tag in example]) if labelled else None for example in examples]
    rows = list(range(1, len(examples) + 1)) if rows is None else rows
    label = pa.array(tags, pa.string())
    return pa.table({"row": rows, "text1": texts, "label": pa.chunked_array([label]), **columns})


def tokenise_table(table, max_length=12, **options):
    return tokenise(
        table, TASK, WORD_PIECE, examples=TOKEN_CLASSIFICATION.examples, names=NAMES, max_length=max_length, **options
    )


def as_lists(array):
    return [value.tolist() for value in array]


@settings(max_examples=60, deadline=None)
@given(sentences, st.integers(4, 20))
def test_the_tags_of_every_example_are_read_again(examples, max_length):
    dataset, _ = tokenise_table(make_table(examples), max_length)
    expected = [[NAMES.index(tag) for _, tag in example] for example in examples]
    assert as_lists(read_of_examples(dataset, "labels")) == expected
    assert read_of_examples(dataset, "row").tolist() == list(range(1, len(examples) + 1))
    assert max(dataset["length"]) <= max_length
    # What a model would answer to each word of each window, here the letters of its first token.
    answers = make_ragged(
        np.array(ids)[pieces] for ids, pieces in zip(dataset["input_ids"], dataset[PIECES], strict=True)
    )
    joined = join_rows(dataset, answers)
    first = [[WORD_PIECE(word)["input_ids"][1] for word, _ in example] for example in examples]
    assert as_lists(joined) == first


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_types_do_not_depend_on_what_the_columns_hold(labelled, count, tmp_path):
    """No labels at all, or lists of the same length: always lists of numbers, in memory and on disk."""
    table = make_table([[("ab", "O"), ("c", "B-x")]] * count, labelled=labelled)
    for options in ({}, {"folder": tmp_path}):
        dataset, _ = tokenise_table(table, **options)
        schema = dataset.data.schema
        assert {name: schema.field(name).type for name in TYPES} == TYPES
        labels = read_of_examples(dataset, "labels")
        assert as_lists(labels) == [[0, 1] if labelled else []] * count and labels.shape == (count,)


def test_labelled_and_unlabelled_rows_are_one_training_set():
    """As train and unlabelled are, with a group in one of them or not."""
    labelled, _ = tokenise_table(make_table([[("ab", "B-x")]]))
    unlabelled, _ = tokenise_table(make_table([[("ab", "O")] * 20], labelled=False))
    both = concatenate_datasets([labelled, unlabelled])
    assert both["labels"][0] == [1] and set(map(tuple, both["labels"][1:])) == {()} and len(both) > 2
    batch = make_collator(WORD_PIECE, kind=WordCollator)([both[0], both[1]])
    assert (batch["labels"][1] == UNLABELLED).all() and batch["word_mask"][1].any()


def test_windows_keep_row_and_group_of_their_example():
    table = make_table([[("ab", "O")] * 9, [("c", "O")]], rows=[4, 9], group=[5, 6])
    dataset, _ = tokenise_table(table, 8)
    assert set(zip(dataset["row"], dataset["group"], strict=True)) == {(4, 5), (9, 6)} and len(dataset) == 3
    assert read_of_examples(dataset, "group").tolist() == [5, 6]


def test_cut_words_are_counted():
    _, truncated = tokenise_table(make_table([[("a" * 30, "O"), ("b", "O")], [("c", "O")]]), 8)
    assert truncated == 1


def collate_slowly(rows, length):
    labels = [[UNLABELLED] * length for _ in rows]
    mask = [[False] * length for _ in rows]
    for number, row in enumerate(rows):
        seen = set()
        for position, piece in enumerate(row[PIECES]):
            mask[number][piece] = True
            if row["labels"] and piece not in seen:
                labels[number][piece] = row["labels"][position]
            seen.add(piece)
    return labels, mask


@settings(max_examples=60, deadline=None)
@given(sentences, st.integers(4, 20), st.booleans(), st.sampled_from([None, 24]))
def test_batches_hold_labels_where_words_begin(examples, max_length, labelled, pad_to):
    # A control character is a word of which nothing is left: it shares the token of the word before.
    examples = [[*example, ("\u0007", "I-x")] for example in examples]
    dataset, _ = tokenise_table(make_table(examples, labelled=labelled), max_length)
    rows = [dataset[number] for number in range(len(dataset))]
    inputs = [{name: value for name, value in row.items() if name not in ("row", "length")} for row in rows]
    batch = make_collator(WORD_PIECE, pad_to=pad_to, kind=WordCollator)(inputs)
    length = pad_to or max(dataset["length"])
    labels, mask = collate_slowly(rows, length)
    assert batch["input_ids"].shape == (len(rows), length)
    assert batch["labels"].tolist() == labels and batch["word_mask"].tolist() == mask
    assert batch["word_mask"].dtype == torch.bool and not (batch["word_mask"] & (batch["attention_mask"] == 0)).any()


def test_names_and_ids_of_tags_agree_through_a_split():
    table = make_table([[("a", "B-x"), ("b", "O")]])
    names = find_tag_names(table["label"].to_pylist(), TASK)
    assert names == ("B-x", "I-x", "O")
    ids = encode_tags(table["label"], TASK, names=names, where="train", rows=table["row"])
    assert as_lists(ids) == [[0, 2]]
