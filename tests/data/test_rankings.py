"""Queries with their documents: two layouts of files, rows gathered on disk, and what is refused."""

import json

import numpy as np
import pytest
import torch

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import LengthGroupedSampler
from innerdistill.data.tables import read_file, read_rows
from innerdistill.data.tasks import Task
from innerdistill.data.tokens import tokenise
from innerdistill.data.windows import PART, QUERY, read_of_examples, select_examples_evenly
from innerdistill.problem_types.text_ranking import TEXT_RANKING

EXAMPLES = TEXT_RANKING.examples
TASK = Task(("query", "document"), label="relevance")


def read(rows, *, task=TASK, **options):
    return read_rows(rows, task, examples=EXAMPLES, where="train", **{"labelled": None, **options})


def make_pairs(*pairs):
    return [dict(zip(("query", "document", "relevance"), pair, strict=True)) for pair in pairs]


def test_rows_of_a_query_are_gathered_wherever_they_stand():
    rows = make_pairs(("a", "one", 1), ("b", "two", 0), ("a", "three", 0.5), ("b", "four", 2), ("c", "five", 0))
    table = read(rows).to_pydict()
    assert table["row"] == [1, 2, 5] and [json.loads(query) for query in table["text1"]] == ["a", "b", "c"]
    assert [json.loads(cell) for cell in table["text2"]] == [["one", "three"], ["two", "four"], ["five"]]
    assert [json.loads(label) for label in table["label"]] == [[1, 0.5], [0, 2], [0]]


def test_both_layouts_give_the_same_table(tmp_path):
    pairs = make_pairs(("a", "one", 1), ("a", "two", 0), ("b", "three", 0), ("b", "four", 2))
    lists = [
        {"query": "a", "document": ["one", "two"], "relevance": [1, 0]},
        {"query": "b", "document": ["three", "four"], "relevance": [0, 2]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in lists))
    of_pairs = read(pairs).drop_columns("row")
    of_file = read_file(tmp_path / "rows.jsonl", TASK, examples=EXAMPLES, split="train", labelled=True)
    assert read(lists).drop_columns("row") == of_pairs == of_file.drop_columns("row")
    by_row = read(pairs, by_row=True)
    assert by_row.num_rows == 4 and by_row["text2"].to_pylist()[0] == '"one"'


def test_many_rows_are_gathered_in_blocks(monkeypatch):
    monkeypatch.setattr("innerdistill.data.rankings.BLOCK", 7)
    order = np.random.default_rng(0).permutation(300)
    rows = make_pairs(*((f"query {number % 41}", f"document {number}", number % 2) for number in order.tolist()))
    table = read(rows).to_pydict()
    assert table["row"] == sorted(table["row"]) and len(set(table["text1"])) == 41
    for query, cell, label in zip(table["text1"], table["text2"], table["label"], strict=True):
        expected = [number for number in order.tolist() if f"query {number % 41}" == json.loads(query)]
        assert json.loads(cell) == [f"document {number}" for number in expected]
        assert json.loads(label) == [number % 2 for number in expected]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "one", 1), ("a", "", 0)], "row 2: the text in 'document' is empty"),
        ([("a", "one", 1), (" ", "two", 0)], "row 2: the text in 'query' is empty"),
        ([("a", "one", 1), ("a", "two", -1)], "row 2: 'relevance' holds '-1', expected a number from 0 to 100"),
        ([("a", "one", 1), ("a", "two", "good")], "row 2: 'relevance' holds 'good', expected a number from 0 to 100"),
        ([("a", "one", 1), ("a", "two", "nan")], "row 2: 'relevance' holds 'nan', expected"),
        ([("a", ["one", "two"], [1])], "row 1: 'document' and 'relevance' differ in length: 2 documents, 1 number"),
        ([("a", ["one", "two"], 1)], "row 1: 'relevance' holds 1, expected a list of numbers"),
        ([("a", ["one", 2], [1, 0])], "row 1: document 2: 'document' holds 2, expected text"),
        ([("a", ["one", "two"], [1, None])], "row 1: document 2 has no 'relevance'"),
        ([("a", ["one", "two"], [1, [0]])], r"row 1: document 2: 'relevance' holds \[0\], expected a number"),
        ([("a", [], [])], "row 1: 'document' holds no documents"),
        ([("a", "one", 1), ("b", "two", 0)], "no query has two documents, so there is nothing to rank"),
        ([("a", "one", 1), ("a", "two", None)], "row 2 has no 'relevance', but other rows of its query have one"),
    ],
)
def test_what_is_no_ranking_is_refused_with_its_row(rows, message):
    with pytest.raises(ValueError, match=f"train: {message}"):
        read(make_pairs(*rows))


def test_a_ranker_reads_two_columns():
    with pytest.raises(ValueError, match=r"data.text: a ranker reads a query and a document, .* got query"):
        read(make_pairs(("a", "one", 1)), task=Task(("query",), label="relevance"))


def test_rows_of_a_query_are_of_one_group():
    rows = [{**row, "user": user} for row, user in zip(make_pairs(("a", "one", 1), ("a", "two", 0)), "xy", strict=True)]
    task = Task(TASK.text, label="relevance", group="user")
    with pytest.raises(ValueError, match="train: rows 1 and 2 are of one query, and differ in 'user'"):
        read(rows, task=task, grouped=True)


def test_labels_that_score_no_query_are_refused(tokenizer):
    table = read(make_pairs(("a", "one", 0), ("a", "two", 0), ("b", "three", 1)))
    with pytest.raises(ValueError, match="selection: no query has both a relevant document .* and another document"):
        EXAMPLES.encode_labels(table["label"], TASK, names=None, where="selection", rows=table["row"])
    train = EXAMPLES.encode_labels(
        read(make_pairs(("a", "x", 1), ("a", "y", 0), ("b", "z", 1)))["label"], TASK, where="train"
    )
    (warning,) = EXAMPLES.warn_of_missing(train, train[:1], None)
    assert warning.startswith("1 of 2 queries of train lack a relevant document or a second one")


@pytest.fixture
def dataset(tokenizer):
    rows = make_pairs(*((f"word{i % 9}", " ".join(["good1"] * (1 + i * 7 % 5)), i % 3) for i in range(60)))
    return tokenise(read(rows), TASK, tokenizer, examples=EXAMPLES, names=None, max_length=20)[0]


def test_a_query_is_a_row_for_each_document(dataset, tokenizer):
    parts, queries = read_numbers(dataset, PART), read_numbers(dataset, QUERY)
    labels = read_of_examples(dataset, "labels")
    assert len(labels) == 9 and [len(of_query) for of_query in labels] == [7] * 6 + [6] * 3
    assert read_of_examples(dataset, "row").tolist() == list(range(1, 10))
    assert parts[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0] and len(np.unique(queries)) == 9
    first = tokenizer("word0", "good1")["input_ids"]
    assert dataset[0]["input_ids"] == first and len(select_examples_evenly(dataset, 2)) == 13
    rows = [dataset[number] for number in range(8)]
    batch = EXAMPLES.make_collator(tokenizer)(rows)
    assert batch["labels"].tolist() == [row["labels"][0] for row in rows] and batch["labels"].dtype == torch.float32
    assert batch["groups"].tolist() == queries[:8].tolist()


@pytest.mark.parametrize("group", [True, False])
def test_batches_keep_the_documents_of_a_query_together(dataset, group):
    lengths, queries = read_numbers(dataset, "length"), read_numbers(dataset, QUERY)
    sampler = LengthGroupedSampler(lengths, batch_size=8, seed=1, group=group, queries=queries)
    order = list(sampler)
    assert len(order) == len(sampler) == 64 and sorted(set(order)) == list(range(60))
    batches = [order[start : start + 8] for start in range(0, 64, 8)]
    assert batches == [sampler.rows_of(step) for step in range(1, 9)]
    for query in np.unique(queries):
        assert sum(any(queries[row] == query for row in batch) for batch in batches) <= 3  # cut, and to fill the last
    for batch in batches:
        changes = np.count_nonzero(np.diff(queries[batch]))
        assert changes <= 2  # one query ends, at most one is whole in between, one begins
    again = LengthGroupedSampler(lengths, batch_size=8, seed=1, group=group, queries=queries, first_step=3)
    assert list(again)[:40] == order[24:]
    sampler.set_epoch(1)
    assert list(sampler) != order
