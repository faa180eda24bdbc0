"""Queries with their documents: a query is one example, and a row of the tokenised split for each of its documents.

A table holds each cell as JSON: text1 is the query, text2 a document or the list of all of them. So splits, hashes and
overlap treat them as any text. The label is the JSON of the relevances, in the order of the documents.

A file has a row for each pair of query and document, or a row for each query, whose cells of documents and relevances
are lists. Rows of one query are gathered, wherever they stand: `row` is then the number of the first of them.

Shapes: N queries, K_i documents of query i.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.arrow import BLOCK, write_to_disk
from innerdistill.data.formats import dump_json
from innerdistill.data.labels import number_labels, read_label
from innerdistill.data.plain_rows import take_labels
from innerdistill.data.ragged import make_ragged
from innerdistill.data.splits import hash_texts
from innerdistill.data.tasks import Task
from innerdistill.data.text_files import find_broken_text
from innerdistill.data.tokens import encode_texts
from innerdistill.data.windows import PART, QUERY
from innerdistill.support.messages import format_count, join_names, shorten_value

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LARGEST_RELEVANCE = 100  # its gain, 2^100 - 1, is still a number that can be added up

Array = NDArray[Any]


def unpack_documents(packed: str) -> list[str]:
    """Read the documents of a query.

    Args:
        packed: JSON of a document or of a list of them; empty for none.

    Returns:
        The documents.

    >>> unpack_documents('"one"'), unpack_documents('["one", "two"]')
    (['one'], ['one', 'two'])
    """
    documents = json.loads(packed or '""')
    return [documents] if isinstance(documents, str) else documents


def is_list(packed: str) -> bool:
    """Tell whether a cell held a list of documents.

    Args:
        packed: cell of a table.

    Returns:
        False for a document alone.
    """
    return packed.startswith("[")


def show_cell(packed: str) -> str:
    """Show a query, or its documents.

    Args:
        packed: cell of a table.

    Returns:
        The text; of several documents all of them, numbered.

    >>> show_cell('"how high"'), show_cell('["one", "two"]')
    ('how high', '1. one 2. two')
    """
    documents = unpack_documents(packed)
    if len(documents) == 1:
        return documents[0]
    return " ".join(f"{number}. {document}" for number, document in enumerate(documents, start=1))


def read_rankings(
    block: Mapping[str, list[Any]],
    task: Task,
    *,
    where: str,
    first: int,
    labelled: bool | None,
    allow_null: bool = False,
) -> tuple[list[list[str | None]], list[str | None]]:
    """Read the queries, documents and relevances of some rows.

    Args:
        block: columns of some rows.
        task: task that names the columns: first that of the query, then that of the document.
        where: source of the rows, for messages.
        first: number of the first row.
        labelled: True: every row needs a relevance. None: it may be missing. False: relevances are not read.
        allow_null: whether a text may be null or empty, as in a file that is only predicted.

    Returns:
        Queries, documents and relevances as JSON; None where there is none. (N,)

    Raises:
        ValueError: not two columns of text. Or a text or a relevance that is missing, empty or of another kind, or
            lists of different lengths; names the row.
    """
    if task.is_tokenised or len(task.text) != 2:
        raise ValueError(
            f"data.text: a ranker reads a query and a document, so name both columns, such as [query, document]; "
            f"got {join_names(task.text)}."
        )
    count = len(block[task.text[0]])
    given = [None] * count if labelled is False else take_labels(block, task, count)
    cells = zip(*(block[name] for name in task.text), given, strict=True)
    queries: list[str | None] = []
    documents: list[str | None] = []
    relevances: list[str | None] = []
    for row, (query, of_query, relevance) in enumerate(cells, start=first):
        place = f"{where}: row {row}"
        queries.append(_pack_text(query, task.text[0], place, allow_null=allow_null))
        documents.append(_pack_documents(of_query, task.text[1], place, allow_null=allow_null))
        relevances.append(_read_relevances(relevance, of_query, task, place))
        if labelled and relevances[-1] is None:
            raise ValueError(
                f"{place} has no {shorten_value(task.label)}; give rows without a label as data.unlabelled, or leave "
                "them out."
            )
    return [queries, documents], relevances


def _pack_text(value: Any, name: str, place: str, *, allow_null: bool) -> str | None:
    if value is None and allow_null:
        return None
    _check_text(value, name, place, allow_empty=allow_null)
    return dump_json(value)


def _pack_documents(value: Any, name: str, place: str, *, allow_null: bool) -> str | None:
    if not isinstance(value, list | tuple):
        return _pack_text(value, name, place, allow_null=allow_null)
    if not value:
        raise ValueError(f"{place}: {shorten_value(name)} holds no documents.")
    for number, document in enumerate(value, start=1):
        _check_text(document, name, f"{place}: document {number}", allow_empty=allow_null)
    return dump_json(list(value))


def _check_text(value: Any, name: str, place: str, *, allow_empty: bool) -> None:
    if value is None:
        raise ValueError(f"{place} has no text in {shorten_value(name)}.")
    if not isinstance(value, str):
        raise ValueError(f"{place}: {shorten_value(name)} holds {shorten_value(value)}, expected text.")
    if not allow_empty and not value.strip():
        raise ValueError(f"{place}: the text in {shorten_value(name)} is empty.")
    if find_broken_text([value]) is not None:
        raise ValueError(
            f"{place}: {shorten_value(name)} is not UTF-8 text ({shorten_value(value)}); save the file as UTF-8."
        )


def _read_relevances(value: Any, documents: Any, task: Task, place: str) -> str | None:
    """The relevances of a row as JSON; None where it has none."""
    name = shorten_value(task.label)
    if not isinstance(documents, list | tuple):
        number = _read_relevance(value, f"{place}: {name}")
        return None if number is None else json.dumps([number])
    if value is None or value == "":
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(f"{place}: {name} holds {shorten_value(value)}, expected a list of numbers, one per document.")
    if len(value) != len(documents):
        raise ValueError(
            f"{place}: {shorten_value(task.text[1])} and {name} differ in length: "
            f"{format_count(len(documents), 'document')}, {format_count(len(value), 'number')}."
        )
    numbers = []
    for number, relevance in enumerate(value, start=1):
        numbers.append(_read_relevance(relevance, f"{place}: document {number}: {name}"))
        if numbers[-1] is None:
            raise ValueError(f"{place}: document {number} has no {name}.")
    return json.dumps(numbers)


def _read_relevance(value: Any, place: str) -> float | int | None:
    expected = f"expected a number from 0 to {LARGEST_RELEVANCE} as relevance"
    try:
        label = read_label(value)
    except ValueError:
        raise ValueError(f"{place} holds {shorten_value(value)}, {expected}.") from None
    if label is None:
        return None
    try:
        number = float(label)
    except ValueError:
        number = -1.0
    if not 0 <= number <= LARGEST_RELEVANCE:
        raise ValueError(f"{place} holds {shorten_value(label)}, {expected}.")
    return int(number) if number.is_integer() else number


def gather_queries(table: pa.Table, task: Task, *, where: str) -> pa.Table:
    """Put the rows of each query together, which may stand anywhere in a file.

    Args:
        table: rows with the columns row, text1, text2, label and perhaps group, from `read_rankings`.
        task: task that names the columns, for messages.
        where: source of the rows, for messages.

    Returns:
        One row for each query, in the order in which they occur. It is on disk.

    Raises:
        ValueError: no query has two documents, or a query has relevances for some documents or several groups.
    """
    _, first, query_of = np.unique(hash_texts(table, column="text1"), return_index=True, return_inverse=True)
    place = first[query_of]
    order = np.argsort(place, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(place[order])) + 1, len(order))
    has_choice = False

    def gather_blocks() -> Iterator[pa.RecordBatch]:
        nonlocal has_choice
        begin = number = 0
        while number < len(ends):
            last = max(number + 1, int(np.searchsorted(ends, begin + BLOCK, side="right")))
            rows = table.take(pa.array(order[begin : ends[last - 1]])).to_pydict()
            bounds = [0, *(ends[number:last] - begin).tolist()]
            queries = [
                _join_query({name: rows[name][start:end] for name in rows}, task, where)
                for start, end in pairwise(bounds)
            ]
            has_choice = has_choice or any(len(unpack_documents(query["text2"])) > 1 for query in queries)
            yield pa.RecordBatch.from_pylist(queries, schema=table.schema)
            begin, number = int(ends[last - 1]), last

    gathered = write_to_disk(gather_blocks(), table.schema)
    if not has_choice:
        raise ValueError(
            f"{where}: no query has two documents, so there is nothing to rank; rows of one query have the same text "
            f"in {shorten_value(task.text[0])}. If pairs have scores of their own, set data.problem_type=regression."
        )
    return gathered


def _join_query(rows: Mapping[str, list[Any]], task: Task, where: str) -> dict[str, Any]:
    """One row of all rows of a query."""
    documents = [document for packed in rows["text2"] for document in unpack_documents(packed)]
    labels = rows["label"]
    if None in labels and any(label is not None for label in labels):
        row = rows["row"][labels.index(None)]
        raise ValueError(
            f"{where}: row {row} has no {shorten_value(task.label)}, but other rows of its query have one; give all "
            "documents of a query one, or none."
        )
    joined = {name: values[0] for name, values in rows.items()}
    joined["text2"] = dump_json(documents)
    if labels[0] is not None:
        joined["label"] = json.dumps([relevance for label in labels for relevance in json.loads(label)])
    for row, group in zip(rows["row"], rows.get("group", ()), strict=False):
        if group != joined["group"]:
            raise ValueError(
                f"{where}: rows {joined['row']} and {row} are of one query, and differ in {shorten_value(task.group)}, "
                "the column that data.group names."
            )
    return joined


def encode_relevances(labels: pa.ChunkedArray, *_: Any, where: str, **__: Any) -> Array:
    """Labels of one split as relevances.

    Args:
        labels: labels as text, null where missing. (N,)
        where: source of the labels, for messages.

    Returns:
        Relevances of the documents of each query (K_i,); empty where there is no label. (N,)

    Raises:
        ValueError: there are labels, and no query can be scored by them.
    """
    codes, values = number_labels(labels)
    arrays = [np.array(json.loads(label or "[]"), dtype=np.float64) for label in values]
    if any(map(len, arrays)) and not can_be_scored(make_ragged(arrays)).any():
        raise ValueError(
            f"{where}: no query has both a relevant document (a relevance above 0) and another document, so nothing "
            "can be scored; give more queries."
        )
    return make_ragged(arrays[code] for code in codes)


def can_be_scored(relevances: Array) -> NDArray[np.bool_]:
    """Which queries have a label that an order of their documents can be scored by.

    Args:
        relevances: relevances of each query's documents; empty where there is no label. (N,)

    Returns:
        True for queries with a relevant document and another one. (N,)
    """
    return np.array([len(of_query) > 1 and bool((of_query > 0).any()) for of_query in relevances], dtype=np.bool_)


def group_no_labels(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """Relevances make no groups for stratified splits: queries are held out by their hash alone.

    Args:
        labels: labels as text, none missing. (N,)

    Returns:
        0 for every query. (N,)
    """
    return np.zeros(len(labels), dtype=np.int64)


def warn_of_unscored_queries(train: Array, validation: Array, *_: Any) -> list[str]:
    """Warn of queries with relevances that no order of their documents can be scored by.

    Args:
        train: relevances of train. (N,)
        validation: relevances of validation. (N,)

    Returns:
        A sentence at most.
    """
    parts = []
    for name, relevances in (("train", train), ("validation", validation)):
        is_labelled = np.array([len(of_query) > 0 for of_query in relevances], dtype=np.bool_)
        count = int((is_labelled & ~can_be_scored(relevances)).sum())
        parts += [f"{count:,} of {int(is_labelled.sum()):,} queries of {name}"] if count else []
    if not parts:
        return []
    return [f"{' and '.join(parts)} lack a relevant document or a second one; they are not scored."]


def encode_documents(
    columns: Mapping[str, list[Any]], tokenizer: PreTrainedTokenizerBase, *, texts: Sequence[str], max_length: int
) -> dict[str, list[Any]]:
    """Encode queries with each of their documents, as a row of its own. Rows of a query are next to each other.

    Args:
        columns: columns of some queries by name: cells of a table, and `labels`, the relevances or nothing. The others
            are copied to all rows of a query.
        tokenizer: a fast or slow tokenizer of transformers.
        texts: names of the columns of queries and documents.
        max_length: tokens of a query with a document, at most; the longer one is truncated first.

    Returns:
        By column, a value for each row: what the tokenizer makes, `length` in tokens, and `truncated`. `part` is the
        number of the document, `query` one of the query. `labels` is the relevance as a list of one, or of none.
    """
    documents = [unpack_documents(packed) for packed in columns[texts[1]]]
    counts = [len(of_query) for of_query in documents]
    queries = [unpack_documents(packed)[0] for packed in columns[texts[0]]]
    pairs = {
        texts[0]: _repeat(queries, counts),
        texts[1]: [document for of_query in documents for document in of_query],
    }
    rows = encode_texts(pairs, tokenizer, texts=texts, max_length=max_length)
    for name, values in columns.items():
        if name not in (*texts, "labels"):
            rows[name] = _repeat(values, counts)
    rows["labels"] = []
    for labels, count in zip(columns["labels"], counts, strict=True):
        # As arrays, of which `datasets` knows the type even if all are empty.
        relevances = np.array(labels, dtype=np.float64)
        rows["labels"] += [relevances[part : part + 1] for part in range(count)]
    rows[PART] = [part for count in counts for part in range(count)]
    rows[QUERY] = _repeat([_number_query(query) for query in queries], counts)
    return rows


def _repeat(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _number_query(query: str) -> int:
    """A number of the query's text, so that those of two splits can stand in one data set."""
    return int.from_bytes(blake2b(query.encode(), digest_size=8).digest(), "big") >> 1
