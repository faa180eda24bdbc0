"""The splits of a job as tokens, with what was cut and what the tokenizer does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from innerdistill.data.arrow import find_cache
from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.task_data import TaskData
from innerdistill.data.tokens import tokenise
from innerdistill.models.sentence_encoder import read_prompt, read_search_prompts


@dataclass(frozen=True)
class Tokenised:
    """Splits as tokens.

    Attributes:
        splits: tokenised splits by name.
        truncated: number of truncated examples by split.
        unknown: share of tokens that the tokenizer does not know, by split.
    """

    splits: Mapping[str, Dataset]
    truncated: Mapping[str, int]
    unknown: Mapping[str, float]


def tokenise_splits(
    data: TaskData, tokenizer: PreTrainedTokenizerBase, *, examples: ExampleType, names: Names, max_length: int
) -> Tokenised:
    """Tokenise all splits of the data.

    Args:
        data: splits as text.
        tokenizer: tokenizer of the model that reads them.
        examples: how examples of the problem type are read.
        names: class names in the order of the model's outputs; None where labels are numbers.
        max_length: tokens of an example, at most.

    Returns:
        The splits.

    Raises:
        ValueError: a label that is not known.
    """
    splits, truncated = {}, {}
    for split, table in data.splits.items():
        splits[split], truncated[split] = tokenise(
            table,
            data.task,
            tokenizer,
            examples=examples,
            names=names,
            max_length=max_length,
            where=split,
            folder=find_cache(),
            prompt=read_prompt(tokenizer),
            prompts=read_search_prompts(tokenizer) if "searches" in data.notes else None,
        )
    return Tokenised(splits, truncated, _measure_unknown_tokens(splits, tokenizer))


def _measure_unknown_tokens(splits: Mapping[str, Dataset], tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Measure the share of unknown tokens by split."""
    shares = {}
    for split, rows in splits.items():
        unknown, count = 0, 0
        for chunk in rows.data["input_ids"].chunks:
            ids = chunk.flatten().to_numpy(zero_copy_only=False)
            unknown, count = unknown + int((ids == tokenizer.unk_token_id).sum()), count + len(ids)
        shares[split] = unknown / max(count, 1)
    return shares
