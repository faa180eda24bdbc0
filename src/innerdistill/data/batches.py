"""Batches: grouped by length, seeded, the same for any number of processes and accumulation steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from innerdistill.data.arrow import read_numbers
from innerdistill.data.given_rows import GIVEN
from innerdistill.data.labels import UNLABELLED
from innerdistill.data.windows import EXAMPLE, PART, PIECES, QUERY, TEXT_NUMBER
from innerdistill.models.capture import INPUT_NAMES

POOL = 50  # batches that are sorted by length together: little padding, still well shuffled

Collator = Callable[[list[dict[str, Any]]], Mapping[str, Tensor]]


class LengthGroupedSampler(Sampler[int]):
    """Order of the examples in which every `batch_size` indices are one batch of similar lengths.

    The order belongs to the run, not to a stage: step n holds the same examples whatever stages the schedule has. All
    randomness comes from (seed, pass over the data), none from the global generators. The batch is the global one. So a
    run that is resumed inside an epoch, or split over processes or accumulation steps, sees the same examples in the
    same step. For that every batch is full: examples from the beginning of a pass fill its last batch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[Any],
        *,
        batch_size: int,
        seed: int,
        first_step: int = 0,
        group: bool = True,
        queries: NDArray[Any] | None = None,
    ) -> None:
        """Prepare the sampler.

        Args:
            lengths: tokens of each example.
            batch_size: examples per optimiser step, over all processes and accumulation steps.
            seed: random seed of the run.
            first_step: optimiser steps of the run before this sampler's epoch 0. If they ended inside a pass over the
                data, epoch 0 continues there.
            group: whether a batch holds examples of similar length.
            queries: number of the query of each example (N,), where those of a query stand one after the other; or of
                the pair of each text. They stay together then, but for a query that the end of a batch cuts. None means
                that each stands for itself.
        """
        self.lengths = np.asarray(lengths, dtype=np.int32)  # of many examples, arrays of int64 are large
        self.batch_size = batch_size
        self.seed = seed
        self.first_step = first_step
        self.group = group
        self.epoch = 0
        self.steps = -(-len(self.lengths) // batch_size)
        # Where each query begins, and behind the last one the end.
        changes = None if queries is None else np.flatnonzero(np.diff(queries)) + 1
        self.bounds = None if changes is None else np.concatenate([[0], changes, [len(self.lengths)]]).astype(np.int32)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based within this sampler; called by the training loop."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of indices in an epoch: whole batches."""
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Indices of one epoch: the rest of the run's pass, then as much of the next one as is missing."""
        number, done = divmod(self.first_step + self.epoch * self.steps, self.steps)
        yield from chain.from_iterable(islice(self._iterate_pass(number), done, None))
        yield from chain.from_iterable(islice(self._iterate_pass(number + 1), done))

    def rows_of(self, step: int) -> list[int]:
        """Indices of one step.

        Args:
            step: optimiser step of this sampler, 1-based.

        Returns:
            Indices of the step's global batch.
        """
        number, place = divmod(self.first_step + step - 1, self.steps)
        return next(islice(self._iterate_pass(number), place, None))

    def _iterate_pass(self, number: int) -> Iterator[list[int]]:
        """Batches of one pass over the data, in order. Everything is done in place: a copy of many indices is large."""
        generator = np.random.default_rng((self.seed, number))
        if self.bounds is not None:
            order = self._order_queries(self.bounds, generator)
        else:
            order = np.arange(len(self.lengths), dtype=np.int32)
            generator.shuffle(order)
        if len(order) < len(self):
            order = np.resize(order, len(self))
        places = np.arange(self.steps)
        if self.group:
            for start in range(0, len(order) if self.bounds is None else 0, self.batch_size * POOL):
                pool = order[start : start + self.batch_size * POOL]
                pool[:] = pool[np.argsort(self.lengths[pool], kind="stable")]
            generator.shuffle(places)
        for place in places:
            yield order[place * self.batch_size : (place + 1) * self.batch_size].tolist()

    def _order_queries(self, bounds: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Examples of all queries, one query after the other: shuffled, and in pools sorted by the longest example."""
        queries = np.arange(len(bounds) - 1, dtype=np.int32)
        generator.shuffle(queries)
        sizes = np.diff(bounds)
        if self.group:
            longest = np.maximum.reduceat(self.lengths, bounds[:-1])
            pools = np.cumsum(sizes[queries]) // (self.batch_size * POOL)
            queries = queries[np.lexsort((longest[queries], pools))]  # the last key counts most
        counts = sizes[queries]
        starts = np.repeat(bounds[queries] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return (starts + np.arange(len(self.lengths))).astype(np.int32)


def make_collator(
    tokenizer: PreTrainedTokenizerBase,
    *,
    pad_to: int | None = None,
    kind: Callable[[DataCollatorWithPadding], Collator] | None = None,
) -> Collator:
    """Make the function that turns rows of a tokenised split into a padded batch.

    Args:
        tokenizer: tokenizer of the model, from `load_tokenizer`, which chooses its padding side.
        pad_to: length of every batch in tokens; None means the longest row of the batch.
        kind: collator that pads with that of transformers, such as WordCollator; None for that of transformers alone.

    Returns:
        A collator.
    """
    pad = DataCollatorWithPadding(tokenizer, padding="max_length" if pad_to else True, max_length=pad_to)
    return pad if kind is None else kind(pad)


@dataclass(frozen=True)
class WordCollator:
    """Makes a padded batch of texts whose words are tagged.

    Attributes:
        pad: collator of transformers, which pads what the tokenizer makes.
    """

    pad: DataCollatorWithPadding

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Make a batch.

        Args:
            examples: rows of a tokenised split.

        Returns:
            By name what the model reads (B, L); `word_mask`, True for tokens that stand for a word (B, L); `labels`,
            the tag ids of these, UNLABELLED elsewhere (B, L). Where a token stands for several words, it has the tag
            of the first.
        """
        of_words = ("labels", PIECES)
        rest = [{name: value for name, value in row.items() if name not in of_words} for row in examples]
        batch: dict[str, Tensor] = dict(self.pad(rest))
        shape = batch["input_ids"].shape
        labels, word_mask = torch.full(shape, UNLABELLED), torch.zeros(shape, dtype=torch.bool)
        for number, row in enumerate(examples):
            pieces = torch.as_tensor(row[PIECES], dtype=torch.long)
            word_mask[number, pieces] = True
            for piece, tag in zip(reversed(row[PIECES]), reversed(row["labels"]), strict=False):
                labels[number, piece] = tag
        return {**batch, "labels": labels, "word_mask": word_mask}


@dataclass(frozen=True)
class RankingCollator:
    """Makes a padded batch of queries with their documents.

    Attributes:
        pad: collator of transformers, which pads what the tokenizer makes.
    """

    pad: DataCollatorWithPadding

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Make a batch.

        Args:
            examples: rows of a tokenised split, each a query with one of its documents.

        Returns:
            By name what the model reads (B, L); `labels`, the relevances, NaN where there are none (B,); `groups`, a
            number of the query of each row (B,).
        """
        rest = [{name: value for name, value in row.items() if name not in ("labels", QUERY)} for row in examples]
        relevances = [float(row["labels"][0]) if len(row["labels"]) else math.nan for row in examples]
        batch: dict[str, Tensor] = dict(self.pad(rest))
        batch["labels"] = torch.tensor(relevances, dtype=torch.float32)
        if all(QUERY in row for row in examples):
            batch["groups"] = torch.tensor([int(row[QUERY]) for row in examples])
        return batch


@dataclass(frozen=True)
class TextCollator:
    """Makes a padded batch of texts that are embedded.

    Attributes:
        pad: collator of transformers, which pads what the tokenizer makes.
    """

    pad: DataCollatorWithPadding

    def __call__(self, examples: list[dict[str, Any]]) -> Mapping[str, Tensor]:
        """Make a batch.

        Args:
            examples: rows of a tokenised split.

        Returns:
            By name what the model reads (B, L), and `labels`: scores, NaN where there are none (B,). Those of queries
            and documents are for the whole split, so a batch has none. Where the texts of an example stay together,
            also `parts`: numbers of example, place and text (B, 3).
        """
        if isinstance(examples[0].get("labels"), list):
            examples = [{**row, "labels": math.nan} for row in examples]
        batch: dict[str, Tensor] = dict(self.pad(examples))
        if EXAMPLE in batch:
            batch["parts"] = torch.stack([batch[name] for name in (EXAMPLE, PART, TEXT_NUMBER)], dim=1)
        return batch


def split_off_index(collate: Collator) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Make a collator that leaves the column `index` a NumPy array, in CPU memory even if the tensors go to a GPU.

    Args:
        collate: turns examples without `index` into a padded batch.

    Returns:
        A collator for examples with or without `index`.
    """

    def collate_all_but_index(examples: list[dict[str, Any]]) -> dict[str, Any]:
        rest = [{name: value for name, value in example.items() if name != "index"} for example in examples]
        batch: dict[str, Any] = dict(collate(rest))
        if "index" in examples[0]:
            batch["index"] = np.array([example["index"] for example in examples])
        return batch

    return collate_all_but_index


def drop_given(dataset: Dataset) -> Dataset:
    """Drop the outputs of another model from a tokenised split, since no batch has them.

    Args:
        dataset: tokenised split.

    Returns:
        The split without them.
    """
    return dataset.remove_columns(GIVEN) if GIVEN in dataset.column_names else dataset


def iterate_by_length(
    dataset: Dataset, collate: Collator, *, batch_size: int, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor], Tensor]]:
    """Read a split in batches, from the shortest to the longest example.

    Args:
        dataset: columns input_ids, attention_mask, (token_type_ids), labels, length.
        collate: turns examples into a padded batch.
        batch_size: examples per batch.
        device: device of the tensors.

    Yields:
        Positions in the dataset (B,), inputs of the model by name (B, L), labels (B,).
    """
    dataset = drop_given(dataset)
    order = np.argsort(read_numbers(dataset, "length"), kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        columns = dataset[indices]
        examples = [{name: columns[name][i] for name in columns} for i in range(len(indices))]
        batch = {name: tensor.to(device) for name, tensor in collate(examples).items()}
        yield indices, {name: batch[name] for name in INPUT_NAMES if name in batch}, batch["labels"]
