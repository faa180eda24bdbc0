"""Queries and documents in the files of BEIR: what is read, and what is refused in one sentence."""

import json
import re

import numpy as np
import pytest

from innerdistill.data.search_files import find_search_files
from innerdistill.data.searches import LEFT_OUT, decode_searches, read_search, select_queries
from innerdistill.data.sources import find_sources
from innerdistill.data.split_files import check_headers
from innerdistill.data.task_data import OVERLAP, load_task
from innerdistill.problem_types.sentence_similarity import SENTENCE_SIMILARITY
from innerdistill.recipe.recipe import DataRecipe

CORPUS = [
    {"_id": "d1", "title": "Apples", "text": "They are red."},
    {"_id": "d2", "text": "Pears are green."},
    {"_id": 3, "title": "", "text": "Snow is white.", "metadata": {}},
]
QUERIES = [
    {"_id": "q1", "text": "which fruit"},
    {"_id": "d2", "text": "what is green"},
    {"_id": "q3", "text": "unjudged"},
]
QRELS = [("q1", "d1", 2), ("q1", "d2", 1), ("q1", "3", 0), ("d2", "3", -1)]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_search(folder, *, corpus=CORPUS, queries=QUERIES, qrels=QRELS, name="test", header=True):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    rows = [("query-id", "corpus-id", "score"), *qrels] if header else qrels
    (folder / "qrels" / f"{name}.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("header", [True, False])
def test_documents_come_first_and_then_the_queries_that_are_judged(tmp_path, header):
    search = read_search(find_search_files(write_search(tmp_path, header=header)))
    table = search.table
    assert table["text1"].to_pylist() == [
        "Apples They are red.",
        "Pears are green.",
        "Snow is white.",
        "which fruit",
        "what is green",
    ]
    assert table["role"].to_pylist() == ["document"] * 3 + ["query"] * 2 and table["row"].to_pylist() == [1, 2, 3, 4, 5]
    labels = [label.tolist() for label in decode_searches(table["label"])]
    assert labels == [[], [], [], [0, 2, 1, 1, 2, 0], [2, 0, 1, LEFT_OUT]]  # d2 does not find itself
    assert search.counts == {
        "documents": 3,
        "queries": 2,
        "without_judgements": 1,
        "without_relevant_documents": 1,
    }
    assert select_queries(table)["text1"].to_pylist() == ["which fruit", "what is green"]


def test_blank_lines_and_a_byte_order_mark_are_nothing(tmp_path):
    write_search(tmp_path)
    for path in (tmp_path / "corpus.jsonl", tmp_path / "qrels" / "test.tsv"):
        path.write_text("\ufeff\n" + path.read_text() + "\n\n", encoding="utf-8")
    assert read_search(find_search_files(tmp_path)).counts["queries"] == 2


def test_the_file_of_relevances_is_test_or_the_only_one_or_the_one_that_is_named(tmp_path):
    write_search(tmp_path, name="dev")
    dev = tmp_path / "qrels" / "dev.tsv"
    assert find_search_files(tmp_path).relevances == dev == find_search_files(dev).relevances
    write_search(tmp_path, name="train")
    with pytest.raises(ValueError, match=r"there is no test\.tsv, but dev\.tsv, train\.tsv; name one of them, such as"):
        find_search_files(tmp_path)
    write_search(tmp_path)
    assert find_search_files(tmp_path).relevances.name == "test.tsv"
    assert find_search_files(tmp_path / "corpus.jsonl") is None


def replace_line(path, number, line):
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [line]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("file", "number", "line", "message"),
    [
        ("corpus.jsonl", 2, '{"_id": "d2", ', r"corpus\.jsonl: line 2: expected a JSON object with _id and text, got"),
        ("corpus.jsonl", 2, "[1]", r"corpus\.jsonl: line 2: expected a JSON object with _id and text, got '\[1\]'"),
        ("corpus.jsonl", 2, '{"text": "no id"}', r"corpus\.jsonl: line 2: expected text as _id, got None"),
        ("corpus.jsonl", 2, '{"_id": "d2", "text": 5}', r"corpus\.jsonl: line 2: expected text as text, got 5"),
        ("corpus.jsonl", 2, '{"_id": "d2", "title": " ", "text": ""}', r"corpus\.jsonl: line 2: 'd2' has no text"),
        (
            "corpus.jsonl",
            2,
            '{"_id": "d1", "text": "x"}',
            r"corpus\.jsonl: line 2: the _id 'd1' is there a second time",
        ),
        ("corpus.jsonl", 2, r'{"_id": "d2", "text": "\ud800"}', r"corpus\.jsonl: line 2: text is not UTF-8 text"),
        ("queries.jsonl", 3, '{"_id": "q1", "text": "x"}', r"queries\.jsonl: line 3: the _id 'q1' is there a second"),
        ("queries.jsonl", 1, '{"_id": "q1"}', r"queries\.jsonl: line 1: 'q1' has no text"),
        ("qrels/test.tsv", 3, "q1\td9\t1", r"test\.tsv: line 3: the corpus-id 'd9' is not in corpus\.jsonl"),
        ("qrels/test.tsv", 3, "q9\td1\t1", r"test\.tsv: line 3: the query-id 'q9' is not in queries\.jsonl"),
        ("qrels/test.tsv", 3, "q1\td1\t1", r"test\.tsv: line 3: 'q1' and 'd1' are there a second time"),
        ("qrels/test.tsv", 3, "q1\td2\tgood", r"test\.tsv: line 3: expected a whole number as score, got 'good'"),
        ("qrels/test.tsv", 3, "q1\t0\td2\t1", r"test\.tsv: line 3: expected query-id, corpus-id, score, separated by"),
        ("qrels/test.tsv", 3, "q1 d2 1", r"test\.tsv: line 3: expected query-id, corpus-id, score, separated by tabs"),
        ("qrels/test.tsv", 1, "query\tdocument\tscore", r"test\.tsv: line 1: the query-id 'query' is not in queries"),
    ],
)
def test_a_wrong_line_is_named_with_its_file(tmp_path, file, number, line, message):
    write_search(tmp_path)
    replace_line(tmp_path / file, number, line)
    with pytest.raises(ValueError, match=message) as refusal:
        read_search(find_search_files(tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_search_that_nothing_can_be_scored_on_is_refused(tmp_path):
    write_search(tmp_path, qrels=[("q1", "d1", 0)])
    with pytest.raises(ValueError, match=r"test\.tsv: no query has a relevant document"):
        read_search(find_search_files(tmp_path))
    write_search(tmp_path, qrels=[])
    with pytest.raises(ValueError, match=r"test\.tsv: no query has a relevant document"):
        read_search(find_search_files(tmp_path))


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(tmp_path, missing):
    (write_search(tmp_path / "search") / missing).unlink()
    (tmp_path / "train.csv").write_text("text\none\ntwo\n")
    recipe = DataRecipe(train=str(tmp_path / "train.csv"), validation=str(tmp_path / "search"), text="text")
    for check in (check_headers, find_sources):
        with pytest.raises(ValueError, match=re.escape(f"data.validation: {tmp_path / 'search' / missing} is missing")):
            check(recipe)


@pytest.fixture
def make_recipe(tmp_path):
    def make(**keys):
        texts = [f"text {number}" for number in range(40)]
        (tmp_path / "train.csv").write_text(
            "sentence,label\n" + "".join(f"{text},x\n" for text in [*texts, "which fruit"])
        )
        search = str(write_search(tmp_path / "search"))
        return DataRecipe(**{"train": str(tmp_path / "train.csv"), "validation": search, "text": "sentence", **keys})

    return make


def test_a_search_beside_texts(make_recipe):
    recipe = make_recipe()
    assert check_headers(recipe)["train"] is False
    sources = find_sources(recipe)
    assert sources.labelled["validation"] is None and sources.labelled["train"] is False
    data = load_task(recipe, SENTENCE_SIMILARITY.examples, sources=sources, metric="ndcg_at_10")
    assert data.has_labels("validation") and data.against_teacher == ("selection",)
    assert data.notes["searches"] == {
        "validation": {**data.notes["searches"]["validation"], "documents": 3, "queries": 2}
    }
    assert data.notes[OVERLAP] == 1  # a query; documents do not count
    assert np.sum(data.splits["validation"]["label"].is_valid().to_numpy()) == 2


@pytest.mark.parametrize(
    "keys",
    [{"label": "label"}, {"pairs": ("a", "b")}, {"group": "doc"}, {"drop_overlap": True}, {"task": "cola"}],
    ids=lambda keys: next(iter(keys)),
)
def test_keys_that_say_how_examples_are_scored_are_refused(make_recipe, keys):
    recipe = make_recipe(**keys)
    for check in (check_headers, find_sources):
        with pytest.raises(ValueError, match=f"data.{next(iter(keys))}: it is not read where a split is a folder"):
            check(recipe)
