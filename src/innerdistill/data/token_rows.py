"""Examples that are token ids already, from a tokeniser of one's own: `data.text: input_ids`.

A table holds each as text, the JSON of its columns, so that all else treats it as any text: splits, hashes, overlap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from innerdistill.data.tasks import TOKEN_IDS
from innerdistill.support.messages import shorten_value

MASK, TYPES = "attention_mask", "token_type_ids"


def pack_tokens(block: Mapping[str, list[Any]], *, where: str, first: int) -> list[str]:
    """Write token ids as text, without padding.

    Args:
        block: columns of some rows: input_ids, and perhaps attention_mask and token_type_ids.
        where: source of the rows, for messages.
        first: number of the first row.

    Returns:
        One text per row. (N,)

    Raises:
        ValueError: ids that are not whole numbers, none at all, or columns of different lengths; names the row.
    """
    ids = block[TOKEN_IDS]
    packed = []
    for row, values in enumerate(
        zip(ids, *(block.get(name, [None] * len(ids)) for name in (MASK, TYPES)), strict=True)
    ):
        tokens, mask, types = (None if value is None else list(value) for value in values)
        is_real = [True] * len(tokens or ()) if mask is None else [bool(value) for value in mask]
        if not tokens or any(type(token) is not int or token < 0 for token in tokens) or not any(is_real):
            raise ValueError(
                f"{where}: row {first + row}: {TOKEN_IDS!r} holds {shorten_value(tokens)}, expected token ids."
            )
        if len({len(tokens), len(is_real), len(types or tokens)}) > 1:
            raise ValueError(f"{where}: row {first + row}: {TOKEN_IDS!r}, {MASK!r} and {TYPES!r} differ in length.")
        columns = {TOKEN_IDS: tokens, **({} if types is None else {TYPES: types})}
        real = {
            name: [value for value, keep in zip(column, is_real, strict=True) if keep]
            for name, column in columns.items()
        }
        packed.append(json.dumps(real))
    return packed


def unpack_tokens(
    columns: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: Sequence[str],
    max_length: int,
    where: str,
) -> dict[str, list[Any]]:
    """Read token ids that were written as text, as `encode_texts` encodes texts.

    Args:
        columns: columns of some examples by name.
        tokenizer: tokenizer of the teacher, which says how many tokens there are and what the model reads.
        texts: name of the column.
        max_length: tokens of an example, at most.
        where: name of the split, for messages.

    Returns:
        By column what the tokenizer would make, `length` in tokens, and `truncated`, which is always false.

    Raises:
        ValueError: an id that the tokenizer does not have, or a longer example; names the row.
    """
    rows = [json.loads(text) for text in columns[texts[0]]]
    for number, row in zip(columns["row"], rows, strict=True):
        ids = row[TOKEN_IDS]
        if max(ids) >= len(tokenizer):
            raise ValueError(
                f"{where}: row {number}: token {max(ids)} is not one of the tokenizer's {len(tokenizer):,}."
            )
        if len(ids) > max_length:
            problem = f"{len(ids)} tokens, and at most {max_length} are allowed; truncate it before."
            raise ValueError(f"{where}: row {number}: {problem}")
    tokens = {TOKEN_IDS: [row[TOKEN_IDS] for row in rows], MASK: [[1] * len(row[TOKEN_IDS]) for row in rows]}
    if TYPES in tokenizer.model_input_names:
        tokens[TYPES] = [row.get(TYPES, [0] * len(row[TOKEN_IDS])) for row in rows]
    lengths = [len(row[TOKEN_IDS]) for row in rows]
    return {**tokens, "length": lengths, "truncated": [False] * len(rows)}


def decode_tokens(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Show token ids that were written as text in words.

    Args:
        text: from `pack_tokens`.
        tokenizer: tokenizer of the teacher.

    Returns:
        The words, without special tokens.
    """
    return str(tokenizer.decode(json.loads(text)[TOKEN_IDS], skip_special_tokens=True))
