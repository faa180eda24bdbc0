"""tokenise: the texts of a split as token ids. They are computed once for the same texts and tokenizer, and cached."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from innerdistill.data.arrow import read_numbers
from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.given_rows import GIVEN
from innerdistill.data.ragged import is_ragged, list_bytes, write_lists
from innerdistill.data.searches import DOCUMENT, QUERY, ROLE, decode_searches
from innerdistill.data.splits import list_text_columns
from innerdistill.data.task_data import add_table
from innerdistill.data.tasks import Task
from innerdistill.data.token_rows import unpack_tokens
from innerdistill.models.capture import INPUT_NAMES
from innerdistill.support.files import compute_checksum, read_json, write_json
from innerdistill.support.in_use import hold_until_exit

FORMAT = 2  # format of the cached files; files of another number are not read

logger = logging.getLogger(__name__)


def tokenise(
    table: pa.Table,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    examples: ExampleType,
    names: Names,
    max_length: int,
    where: str = "data",
    folder: Path | None = None,
    prompt: str = "",
    prompts: Mapping[str, str] | None = None,
) -> tuple[Dataset, int]:
    """Turn texts into token ids, and labels into what the model learns from.

    Args:
        table: one split of a TaskData.
        task: task of the data.
        tokenizer: a fast or slow tokenizer of transformers.
        examples: how texts and labels are encoded.
        names: class names in the order of the model's outputs; None where labels are numbers.
        max_length: tokens of an example, at most; longer ones are truncated, the longer text of a pair first.
        where: name of the split, for messages.
        folder: folder in which token ids are cached for later runs; None means in memory only.
        prompt: what stands before every text of a sentence encoder; empty for other models.
        prompts: what stands before queries and documents, by their role, in place of `prompt`.

    Returns:
        Dataset of the tokenizer's columns plus labels, row, length and, where the table has them, group and
        given_logits; where examples may be several rows also part, and of words pieces. And the number of truncated
        rows.

    Raises:
        ValueError: a label that is not known, or no label of this kind.
    """
    if ROLE in table.column_names:
        targets, prompt = decode_searches(table["label"]), ""
        prompts = {role: (prompts or {}).get(role, "") for role in (QUERY, DOCUMENT)}
    else:
        targets = examples.encode_labels(table["label"], task, names=names, where=where, rows=table["row"])
        prompts = None
    texts = list_text_columns(table)
    encode_rows = partial(unpack_tokens, where=where) if task.is_tokenised else examples.encode_texts
    with_prompt: dict[str, Any] = {"prompt": prompt} if prompt else {}
    with_prompt |= {"prompts": prompts} if prompts else {}
    encode = partial(encode_rows, tokenizer=tokenizer, texts=texts, max_length=max_length, **with_prompt)
    facts = [name for name in ("row", "group", GIVEN, ROLE) if name in table.column_names]
    of_texts, of_facts = ({name: table[name] for name in names} for names in (texts, facts))
    labelled = {**of_texts, "labels": _make_label_column(targets), **of_facts}
    source = Dataset(pa.table(labelled), fingerprint="not-looked-for")
    options: dict[str, Any] = {"batched": True, "remove_columns": list(labelled) if examples.has_parts else texts}
    dataset = None
    if folder is not None and (core := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        rules = (max_length, examples.pairs_apart, prompt, *(prompts or {}).values())
        key = _compute_key(table, tokenizer, core, targets, rules)
        dataset = _load_or_compute(source, encode, options, folder / f"{key}.arrow")
    if dataset is None:
        dataset = source.map(encode, new_fingerprint="in-memory", **options)
    truncated = int(read_numbers(dataset, "truncated").sum())
    return dataset.remove_columns("truncated"), truncated


def encode_texts(
    columns: Mapping[str, list[Any]], tokenizer: PreTrainedTokenizerBase, *, texts: Sequence[str], max_length: int
) -> dict[str, list[Any]]:
    """Encode texts, or pairs of texts, as one sequence of token ids each.

    Args:
        columns: columns of some examples by name.
        tokenizer: a fast or slow tokenizer of transformers.
        texts: names of the text columns, one or two.
        max_length: tokens of an example, at most; longer ones are truncated, the longer text of a pair first.

    Returns:
        By column what the tokenizer makes, `length` in tokens, and `truncated`.
    """
    encoded = tokenizer(*(columns[name] for name in texts), truncation=False, padding=False, verbose=False)
    tokens = {name: list(encoded[name]) for name in tokenizer.model_input_names if name in encoded}
    too_long = [index for index, ids in enumerate(tokens["input_ids"]) if len(ids) > max_length]
    if too_long:
        parts = ([columns[name][index] for index in too_long] for name in texts)
        cut = tokenizer(*parts, truncation=True, max_length=max_length)
        for name, values in tokens.items():
            for position, index in enumerate(too_long):
                values[index] = cut[name][position]
    truncated = set(too_long)
    tokens["length"] = [len(ids) for ids in tokens["input_ids"]]
    tokens["truncated"] = [index in truncated for index in range(len(tokens["length"]))]
    return tokens


def fingerprint_tokens(dataset: Dataset) -> str:
    """Compute SHA-256 over the columns that a model reads of a tokenised split.

    Args:
        dataset: columns input_ids, attention_mask, (token_type_ids), length.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in INPUT_NAMES:
        if name in dataset.column_names:
            for batch in dataset.select_columns([name]).with_format("arrow").iter(10_000):
                column = batch[name].combine_chunks()
                digest.update(column.flatten().to_numpy(zero_copy_only=False).tobytes())
    digest.update(read_numbers(dataset, "length").data)
    return digest.hexdigest()


def _make_label_column(targets: NDArray[Any]) -> Any:
    """Encoded labels as a column of a table: numbers, or lists of them."""
    if is_ragged(targets):
        return write_lists(targets)
    return targets if targets.ndim == 1 else pa.FixedSizeListArray.from_arrays(targets.ravel(), targets.shape[1])


def _load_or_compute(source: Dataset, encode: Any, options: dict[str, Any], file: Path) -> Dataset | None:
    """Token ids from a cached file, which is written if it is missing or damaged; None where nothing can be written."""
    checksum = file.with_suffix(".json")
    try:
        hold_until_exit(file.parent)
        file.parent.mkdir(parents=True, exist_ok=True)
        options = {**options, "cache_file_name": str(file), "new_fingerprint": file.stem}
        if _is_whole(file, checksum):
            return source.map(encode, **options)
        dataset = source.map(encode, load_from_cache_file=False, **options)
        write_json(checksum, {"checksum": compute_checksum(file)})
        return dataset
    except OSError as error:
        logger.debug("token ids stay in memory: %s", error)
        return None


def _is_whole(file: Path, checksum: Path) -> bool:
    """Whether a file has the checksum that was written after it."""
    try:
        return bool(read_json(checksum) == {"checksum": compute_checksum(file)})
    except (OSError, ValueError):  # one of the two is missing, or the checksum itself is damaged
        return False


def _compute_key(
    table: pa.Table, tokenizer: PreTrainedTokenizerBase, core: Any, targets: NDArray[Any], options: tuple[Any, ...]
) -> str:
    """Key of everything that the cached file depends on. `core` is the part of a tokenizer that can be serialised."""
    rules = json.loads(core.to_str())
    for state in ("truncation", "padding"):  # left from the last call
        rules.pop(state, None)
    inputs = (tokenizer.model_input_names, tokenizer.truncation_side)
    digest = hashlib.sha256(repr((FORMAT, rules, inputs, *options)).encode("utf-8", "surrogatepass"))
    digest.update(repr(targets.dtype).encode() + list_bytes(targets))
    add_table(digest, table)
    return digest.hexdigest()[:32]
