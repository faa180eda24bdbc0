"""Texts that are rows of their own, alone or in pairs: a pair is one example and two rows of the tokenised split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from innerdistill.data.arrow import read_numbers
from innerdistill.data.labels import read_label
from innerdistill.data.plain_rows import read_plain_rows
from innerdistill.data.searches import ROLE
from innerdistill.data.tasks import Task
from innerdistill.data.tokens import encode_texts
from innerdistill.data.windows import EXAMPLE, PART, TEXT_NUMBER

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def read_texts_apart(block: Mapping[str, list[Any]], task: Task, **options: Any) -> Any:
    """Read the texts and scores of some rows. Only pairs have scores.

    Args:
        block: columns of some rows.
        task: task that names the columns.
        **options: as those of `read_plain_rows`.

    Returns:
        As `read_plain_rows`.

    Raises:
        ValueError: as `read_plain_rows`; or token ids in place of texts.
    """
    if task.is_tokenised:
        raise ValueError(
            f"data.text: {task.text[0]!r} would hold token ids, but sentence similarity reads texts; name their column."
        )
    return read_plain_rows(block, task, read_label=read_label, **options)


def number_texts(dataset: Dataset) -> Dataset:
    """Number the examples and texts of a tokenised split, for losses that compare the texts of an example.

    Args:
        dataset: tokenised split, whose rows are texts.

    Returns:
        The same with the columns `example` and `text_number`.
    """
    numbers = np.empty(len(dataset), dtype=np.int64)
    for index, tokens in enumerate(read_numbers(dataset, "input_ids")):
        digest = hashlib.blake2b(tokens.tobytes(), digest_size=8).digest()
        numbers[index] = int.from_bytes(digest, "big") >> 1
    examples = np.cumsum(read_numbers(dataset, PART) == 0)
    return dataset.add_column(EXAMPLE, examples).add_column(TEXT_NUMBER, numbers)


def encode_texts_apart(
    columns: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: Sequence[str],
    max_length: int,
    prompt: str = "",
    prompts: Mapping[str, str] | None = None,
) -> dict[str, list[Any]]:
    """Encode texts, each as a row of its own. The two rows of a pair are next to each other.

    Args:
        columns: columns of some examples by name; those that hold no text are copied to all rows of an example.
        tokenizer: a fast or slow tokenizer of transformers.
        texts: names of the text columns, one to three.
        max_length: tokens of a text, at most; longer ones are truncated.
        prompt: what stands before every text.
        prompts: what stands before it instead, by the value of the column `role`; that column is not copied then.

    Returns:
        By column, a value for each row: what the tokenizer makes, `length` in tokens, `truncated`, and `part`, the
        number of a text in its example, from 0.
    """
    width = len(texts)
    in_turn = [prompt + text for example in zip(*(columns[name] for name in texts), strict=True) for text in example]
    if prompts is not None:
        in_turn = [prompts[role] + text for role, text in zip(columns[ROLE], in_turn, strict=True)]
    rows = encode_texts({"text": in_turn}, tokenizer, texts=["text"], max_length=max_length)
    for name, values in columns.items():
        if name not in (*texts, ROLE):
            rows[name] = [value for value in values for _ in range(width)]
    rows[PART] = list(range(width)) * (len(in_turn) // width)
    return rows
