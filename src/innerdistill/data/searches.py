"""Queries and the documents that answer them, in the files of BEIR: a split that is scored by how well it is searched.

corpus.jsonl      documents: _id, text and perhaps title
queries.jsonl     queries: _id, text
qrels/NAME.tsv    relevances: query-id, corpus-id, score

A table has a row for each document, in the order of the file, and then one for each query. `role` says which it is. The
label of a query is JSON: pairs of the position of a document and its relevance. That of a document is null.

As in BEIR, queries without a line in the qrels are left out, and a query does not find the document of its own id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.arrow import BLOCK, select_rows, write_to_disk
from innerdistill.data.ragged import make_ragged
from innerdistill.data.search_files import CORPUS_ID, HEADER, QUERY_ID, SearchFiles
from innerdistill.data.text_files import find_broken_text, read_lines, read_text_file
from innerdistill.support.messages import shorten_value

ROLE, QUERY, DOCUMENT = "role", "query", "document"  # column of a table, and its values
LEFT_OUT = -1  # in place of a relevance: the document is not searched, since it has the id of the query
LARGEST = 1_000_000  # relevance

SCHEMA = pa.schema([("row", pa.int64()), ("text1", pa.string()), ("label", pa.string()), (ROLE, pa.string())])


@dataclass(frozen=True)
class Search:
    """A split of queries and documents.

    Attributes:
        table: its rows: row, text1, label and role. It is on disk.
        counts: number of `documents` and `queries`; of queries `without_judgements`, which are left out; and of those
            `without_relevant_documents`, which count as 0.
    """

    table: pa.Table
    counts: dict[str, int]


def read_search(files: SearchFiles) -> Search:
    """Read the files of a search.

    Args:
        files: paths of the three files.

    Returns:
        The split.

    Raises:
        ValueError: a line that is not as it should be; an id that is there twice or is not known; no relevant document.
    """
    documents: dict[str, int] = {}
    queries: dict[str, str] = {}
    for line, name, text in _read_texts(files.queries, keys=("text",)):
        _refuse_second(files.queries, line, name, queries)
        queries[name] = text
    counts: dict[str, int] = {}

    def write_batches() -> Iterator[pa.RecordBatch]:
        texts: list[str] = []
        for line, name, text in _read_texts(files.corpus, keys=("title", "text")):
            _refuse_second(files.corpus, line, name, documents)
            documents[name] = len(documents)
            texts.append(text)
            if len(texts) == BLOCK:
                yield _make_batch(texts, [None] * len(texts), DOCUMENT, first=len(documents) - len(texts) + 1)
                texts = []
        yield _make_batch(texts, [None] * len(texts), DOCUMENT, first=len(documents) - len(texts) + 1)
        judged = _read_judgements(files.relevances, queries, documents)
        counts.update(_count(queries, judged, documents))
        if counts["queries"] == counts["without_relevant_documents"]:
            raise ValueError(f"{files.relevances}: no query has a relevant document, so nothing can be scored.")
        labels = [_write_label(name, judged[name], documents) for name in queries if name in judged]
        kept = [text for name, text in queries.items() if name in judged]
        yield _make_batch(kept, labels, QUERY, first=len(documents) + 1)

    return Search(write_to_disk(write_batches(), SCHEMA), counts)


def decode_searches(labels: pa.ChunkedArray) -> NDArray[Any]:
    """Decode the labels of a table of queries and documents.

    Args:
        labels: labels as text, null for documents. (N,)

    Returns:
        Of a query with R judged documents, position and relevance in turn (2R,); of a document nothing. (N,)
    """
    parsed = (json.loads(label or "[]") for label in labels.to_pylist())
    return make_ragged(np.array(label, dtype=np.float64).ravel() for label in parsed)


def select_queries(table: pa.Table) -> pa.Table:
    """Select the queries of a split.

    Args:
        table: table of any split.

    Returns:
        Its queries; the table itself where it has no documents.
    """
    if ROLE not in table.column_names:
        return table
    return select_rows(table, table["label"].is_valid().to_numpy())


def _make_batch(texts: list[str], labels: Sequence[str | None], role: str, *, first: int) -> pa.RecordBatch:
    rows = pa.array(range(first, first + len(texts)), pa.int64())
    columns = (pa.array(values, pa.string()) for values in (texts, labels, [role] * len(texts)))
    return pa.record_batch([rows, *columns], SCHEMA)


def _write_label(name: str, judged: Mapping[int, int], documents: Mapping[str, int]) -> str:
    left_out = [[documents[name], LEFT_OUT]] if name in documents else []
    return json.dumps([*([position, relevance] for position, relevance in judged.items()), *left_out])


def _count(
    queries: Mapping[str, str], judged: Mapping[str, Mapping[int, int]], documents: Mapping[str, int]
) -> dict[str, int]:
    return {
        "documents": len(documents),
        "queries": len(judged),
        "without_judgements": len(queries) - len(judged),
        "without_relevant_documents": sum(max(of_query.values()) <= 0 for of_query in judged.values()),
    }


def _read_texts(path: Path, *, keys: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Line, id and text of each document or query: the values of some keys, one after the other."""
    for line, text in enumerate(read_text_file(path, partial(read_lines, path)), start=1):
        if not text.strip():
            continue
        place = f"{path}: line {line}"
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ValueError(f"{place}: expected a JSON object with _id and text, got {shorten_value(text.strip())}.")
        name = content.get("_id")
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
            raise ValueError(f"{place}: expected text as _id, got {shorten_value(name)}.")
        parts = [content.get(key) for key in keys]
        for key, part in zip(keys, parts, strict=True):
            if not isinstance(part, str | None):
                raise ValueError(f"{place}: expected text as {key}, got {shorten_value(part)}.")
            if find_broken_text([part]) is not None:
                raise ValueError(f"{place}: {key} is not UTF-8 text ({shorten_value(part)}); save the file as UTF-8.")
        whole = " ".join(filter(None, parts)).strip()
        if not whole:
            raise ValueError(f"{place}: {shorten_value(name)} has no text.")
        yield line, str(name), whole


def _refuse_second(path: Path, line: int, name: str, known: Mapping[str, Any]) -> None:
    if name in known:
        raise ValueError(f"{path}: line {line}: the _id {shorten_value(name)} is there a second time.")


def _read_judgements(path: Path, queries: Mapping[str, str], documents: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Relevances by query and position of the document."""
    judged: dict[str, dict[int, int]] = {}
    is_first = True
    for line, text in enumerate(read_text_file(path, partial(read_lines, path)), start=1):
        cells, place = text.rstrip("\r\n").split("\t"), f"{path}: line {line}"
        if not text.strip() or (is_first and tuple(cells) == HEADER):
            is_first = is_first and not text.strip()
            continue
        is_first = False
        if len(cells) != len(HEADER):
            raise ValueError(
                f"{place}: expected {', '.join(HEADER)}, separated by tabs, got {shorten_value(text.strip())}."
            )
        query, document, relevance = cells
        for name, cell, known in ((QUERY_ID, query, queries), (CORPUS_ID, document, documents)):
            if cell not in known:
                where = "queries.jsonl" if name == QUERY_ID else "corpus.jsonl"
                raise ValueError(f"{place}: the {name} {shorten_value(cell)} is not in {where}.")
        position = documents[document]
        if position in judged.setdefault(query, {}):
            raise ValueError(f"{place}: {shorten_value(query)} and {shorten_value(document)} are there a second time.")
        judged[query][position] = _read_relevance(relevance, place)
    return judged


def _read_relevance(cell: str, place: str) -> int:
    """A relevance; those below 0, which some collections have, mean that a document is not relevant."""
    try:
        relevance = int(cell)
    except ValueError:
        relevance = LARGEST + 1
    if abs(relevance) > LARGEST:
        raise ValueError(f"{place}: expected a whole number as score, got {shorten_value(cell)}.")
    return max(0, relevance)
