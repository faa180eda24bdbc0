"""Splits that depend on the texts only: they are the same on every machine, for every method and every seed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.arrow import iterate_blocks


def hash_texts(table: pa.Table, *, salt: str = "", column: str | None = None) -> NDArray[np.uint64]:
    """Hash the text of every row: the first 8 bytes of SHA-256(salt, tab, text).

    Two of a million different texts have the same hash with a probability of 3e-8.

    Args:
        table: table from `read_file` or `read_split`.
        salt: text that makes the hashes of different purposes independent.
        column: name of a column of text; None means all texts of a row, joined by a tab.

    Returns:
        One number per row, in the order of the table. (num_rows,)
    """
    hashes = np.empty(table.num_rows, dtype=np.uint64)
    start = 0
    for block in iterate_blocks(table):
        names = [column] if column else list_text_columns(table)
        texts = zip(*(block[name].to_pylist() for name in names), strict=True)
        digests = b"".join(hashlib.sha256("\t".join((salt, *text)).encode()).digest()[:8] for text in texts)
        hashes[start : start + block.num_rows] = np.frombuffer(digests, dtype=">u8")
        start += block.num_rows
    return hashes


def list_text_columns(table: pa.Table) -> list[str]:
    """List the columns that hold text.

    Args:
        table: table from `read_file` or `read_split`.

    Returns:
        text1, and text2 for pairs.
    """
    return [name for name in table.column_names if name.startswith("text")]


def choose_stratified(
    table: pa.Table,
    strata: NDArray[np.int64],
    *,
    size: float | int,
    salt: str,
    from_each: bool = False,
    together: str | None = None,
) -> NDArray[np.bool_]:
    """Choose the same share of every stratum by the hash of the text.

    Within a stratum, texts are ordered by SHA-256(salt, text), and the first ones are chosen. Rows of equal text stay
    together, in the stratum of the first of them. So the share can be a little larger where texts repeat. With
    `together`, all this holds for the values of that column in place of the texts.

    Args:
        table: table from `read_file` or `read_split`.
        strata: number of the stratum of each row, for example of its label. (num_rows,)
        size: share between 0 and 1, or number of rows.
        salt: text that makes different splits of the same texts independent.
        from_each: choose at least one text of every stratum, and never all of them. So the only text of a stratum is
            not chosen. Strata of which some texts, but not all, are chosen anyway stay as they are.
        together: name of a column whose equal values stay together; None means the texts.

    Returns:
        True for the rows that were chosen. (num_rows,)
    """
    share = size if isinstance(size, float) else min(1.0, size / max(1, table.num_rows))
    hashes = hash_texts(table, salt=salt, column=together)
    chosen = np.zeros(table.num_rows, dtype=bool)
    for rows in _sort_by_stratum(hashes, strata):  # one after the other: arrays of all rows would be large
        in_order = hashes[rows]
        count = int(np.rint(share * len(rows)))
        if from_each:
            others = int(np.searchsorted(in_order, in_order[-1]))  # rows before the last text
            count = min(max(count, 1), others)
        if count > 0:
            chosen[rows[: np.searchsorted(in_order, in_order[count - 1], side="right")]] = True
    if len(hashes) and not chosen.any() and hashes.min() < hashes.max():
        chosen = hashes == hashes.min()
    return chosen


def _sort_by_stratum(hashes: NDArray[np.uint64], strata: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of each stratum, ordered by hash. Rows of equal hash are in the stratum of the first of them."""
    order = np.argsort(hashes, kind="stable")
    is_new = np.diff(hashes[order], prepend=hashes[order[:1]] + 1) != 0
    stratum = strata[order[is_new]].astype(np.int32)[np.cumsum(is_new, dtype=np.int32) - 1]
    by_stratum = np.argsort(stratum, kind="stable")
    bounds = np.flatnonzero(np.diff(stratum[by_stratum])) + 1
    return [rows for rows in np.split(order[by_stratum], bounds) if len(rows)]


def choose_number(table: pa.Table, strata: NDArray[np.int64], *, number: int, salt: str) -> NDArray[np.bool_]:
    """Choose a number of rows, from every stratum in proportion, by the hash of the text.

    Within a stratum, texts are ordered by SHA-256(salt, text), and the first ones are chosen. Rows of equal text stay
    together, in the stratum of the first of them. A text with more rows than are still wanted is passed over, so that
    there are never more than that number. There are fewer only where no other text is left.

    Args:
        table: table from `read_file` or `read_split`.
        strata: number of the stratum of each row, for example of its label. (num_rows,)
        number: number of rows.
        salt: text that makes different splits of the same texts independent.

    Returns:
        True for the rows that were chosen. (num_rows,)
    """
    hashes = hash_texts(table, salt=salt)
    _, first, text_of, sizes = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    stratum_of = strata[first]  # by text, in the order of the hashes
    chosen = np.zeros(len(first), dtype=bool)
    left = _share_out(number, np.bincount(stratum_of, weights=sizes))
    for stratum in range(len(left)):
        for text in np.flatnonzero(stratum_of == stratum):
            if left[stratum] == 0:
                break
            if sizes[text] <= left[stratum]:
                chosen[text] = True
                left[stratum] -= sizes[text]
    return chosen[text_of]


def _share_out(number: int, members: NDArray[Any]) -> NDArray[np.int64]:
    """Share a number out among strata in proportion to their members; a stratum that would get nothing comes first."""
    shares = min(1.0, number / members.sum()) * members
    counts = np.floor(shares + 1e-9).astype(np.int64)  # 1e-9: a whole number may have been rounded down
    rest = min(number, int(members.sum())) - int(counts.sum())
    order = np.lexsort((counts - shares, counts > 0, members == 0))  # the last key counts most
    counts[order[:rest]] += 1
    return counts


def mark_shared_texts(table: pa.Table, other: pa.Table) -> NDArray[np.bool_]:
    """Mark the rows with a text (either one of a pair) that also occurs in another table.

    Args:
        table: table whose rows are marked.
        other: table to compare with.

    Returns:
        True for rows that share a text. (num_rows,)
    """
    seen = np.concatenate([hash_texts(other, column=name) for name in list_text_columns(other)])
    return np.any([find_hashes(hash_texts(table, column=name), seen) for name in list_text_columns(table)], axis=0)


def find_hashes(hashes: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Find the hashes that are among others.

    Args:
        hashes: (N,)
        known: hashes to look among, in any order.

    Returns:
        True for those that are there. (N,)
    """
    return np.isin(hashes, known, kind="sort")  # its table for few values overflows in NumPy 2.0
