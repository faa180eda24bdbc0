"""Splits that depend on the texts only: the same on every machine, for every method and for every seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import pyarrow as pa


def text_keys(table: pa.Table) -> list[str]:
    """The text of every row, pairs joined by a tab.

    Args:
        table: as made by `reading`.

    Returns:
        One text per row.
    """
    columns = [table[name].to_pylist() for name in table.column_names if name.startswith("text")]
    return ["\t".join(texts) for texts in zip(*columns, strict=True)]


def stratified_part(table: pa.Table, strata: Sequence[Hashable], *, size: float | int, salt: str) -> np.ndarray:
    """Choose the same share of every stratum by the hash of the text.

    Within a stratum texts are ordered by SHA-256(salt, text) and the first ones taken. Rows of equal text stay
    together, in the stratum of the first of them (so the share can be a little larger where texts repeat).

    Args:
        table: the rows.
        strata: one value per row, for example its label.
        size: share between 0 and 1, or a number of rows.
        salt: makes different splits of the same texts independent.

    Returns:
        Boolean array, True for the rows that were chosen. (num_rows,)
    """
    share = size if isinstance(size, float) else min(1.0, size / max(1, table.num_rows))
    digests = [hashlib.sha256(f"{salt}\t{text}".encode()).hexdigest() for text in text_keys(table)]
    stratum_of = dict(zip(reversed(digests), reversed(strata), strict=True))
    members = defaultdict(list)
    for digest in digests:
        members[stratum_of[digest]].append(digest)
    taken: set[str] = set()
    for group in members.values():
        # A class too rare to share stays where it is.
        taken.update(sorted(group)[: round(share * len(group))])
    if not taken and len(stratum_of) > 1:
        taken = {min(digests)}
    return np.array([digest in taken for digest in digests], dtype=bool)


def strata_of(labels: Sequence[str | None], *, regression: bool) -> list[Hashable]:
    """Strata for `stratified_part`: the label, or the fifth of the score's range by rank.

    Args:
        labels: labels as strings.
        regression: whether they are scores.

    Returns:
        One stratum per row.
    """
    if not regression:
        return list(labels)
    if not labels:
        return []
    values = np.array([float(label) if label is not None else np.nan for label in labels])
    return list(np.searchsorted(np.nanquantile(values, [0.2, 0.4, 0.6, 0.8]), values))


def shares_text(table: pa.Table, other: pa.Table) -> np.ndarray:
    """Which rows have a text (either one of a pair) that also occurs in another table.

    Args:
        table: rows to mark.
        other: rows to compare with.

    Returns:
        Boolean array. (num_rows,)
    """
    columns = [name for name in table.column_names if name.startswith("text")]
    seen = {text for name in columns for text in other[name].to_pylist()}
    return np.any([[text in seen for text in table[name].to_pylist()] for name in columns], axis=0)
