"""Texts whose neighbours differ most between teacher and student, and pairs whose similarity does, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.ragged import is_ragged
from innerdistill.data.score_labels import has_score
from innerdistill.data.splits import list_text_columns
from innerdistill.evaluation.neighbours import (
    NEIGHBOURS,
    choose_compared,
    iterate_neighbours,
    measure_shared_neighbours,
)
from innerdistill.evaluation.predicted_scores import show_score
from innerdistill.evaluation.searches import count_documents, find_first_documents
from innerdistill.evaluation.similarities import FLAT, compare_pairs, compute_cosines

Array = NDArray[Any]

MODELS = ("teacher", "student")


def find_changed_texts(texts: pa.Table, columns: Mapping[str, Array], *, count: int) -> list[dict[str, Any]]:
    """Find the examples that a student sees most differently from its teacher, the most different first.

    Args:
        texts: split as text, in the order of `columns`.
        columns: row and label (N,), embeddings of teacher and student (N, W, D).
        count: examples, at most.

    Returns:
        For each example its row, texts, label (None where there is none), and the answers of teacher and student. They
        are the nearest neighbour of a text, the similarity of a pair, or the first document of a query.
    """
    if is_ragged(columns["label"]):
        return _find_changed_queries(texts, columns, count=count)
    if columns["teacher"].shape[1] > 1:
        similarities = {model: compare_pairs(columns[model]) for model in MODELS}
        changes = np.abs(similarities["teacher"] - similarities["student"])
        furthest = np.argsort(-changes, kind="stable")[:count]
        chosen = furthest[changes[furthest] > FLAT]
        answers = {model: dict(enumerate(side.round(3).tolist())) for model, side in similarities.items()}
    else:
        shares = measure_shared_neighbours(columns["teacher"], columns["student"])
        distances = 1 - compute_cosines(columns["teacher"], columns["student"])[:, 0]
        order = np.lexsort((-distances, shares))  # NaN, of texts that are not compared, comes last
        chosen = order[:count][shares[order[:count]] < 1]
        answers = {model: _name_nearest(texts["text1"], columns[model], chosen) for model in MODELS}
    is_labelled = has_score(columns["label"])
    return [
        {
            "row": int(columns["row"][index]),
            "texts": [texts[name][index].as_py() for name in list_text_columns(texts)],
            "label": show_score(columns["label"][index]) if is_labelled[index] else None,
            "teacher": {"answer": answers["teacher"][index]},
            "student": {"answer": answers["student"][index]},
        }
        for index in chosen.tolist()
    ]


def _find_changed_queries(texts: pa.Table, columns: Mapping[str, Array], *, count: int) -> list[dict[str, Any]]:
    """Queries of which the two models find the most different ten documents; the label is the most relevant one."""
    labels = columns["label"]
    first = {model: find_first_documents(labels, columns[model], NEIGHBOURS) for model in MODELS}
    shared = (first["teacher"][:, :, None] == first["student"][:, None, :]).any(2).mean(1)
    order = np.argsort(shared, kind="stable")[:count]
    documents, examples = count_documents(labels), []
    for query in order[shared[order] < 1].tolist():
        index = documents + query
        positions, relevances = labels[index].reshape(-1, 2).T
        answers = {model: {"answer": texts["text1"][int(first[model][query, 0])].as_py()} for model in MODELS}
        best = int(positions[relevances.argmax()]) if relevances.max() > 0 else None
        label = None if best is None else texts["text1"][best].as_py()
        row, text = int(columns["row"][index]), texts["text1"][index].as_py()
        examples.append({"row": row, "texts": [text], "label": label, **answers})
    return examples


def _name_nearest(texts: pa.ChunkedArray, embeddings: Array, chosen: Array) -> dict[int, str]:
    """The most similar other text of some texts, by position."""
    compared = choose_compared(len(embeddings), 1)
    nearest: dict[int, str] = {}
    for rows, found in iterate_neighbours(embeddings[compared, 0], 1):
        for index, neighbour in zip(compared[rows].tolist(), compared[found[:, 0]].tolist(), strict=True):
            if index in chosen:
                nearest[index] = texts[neighbour].as_py()
    return nearest
