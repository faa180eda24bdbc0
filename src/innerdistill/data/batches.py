"""Batches: grouped by length, seeded, the same for any number of processes and accumulation steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")  # what a model reads of a batch
POOL = 50  # batches that are sorted by length together: little padding, still well shuffled

Collator = Callable[[list[dict[str, Any]]], Mapping[str, Tensor]]


class LengthGroupedSampler(Sampler[int]):
    """Order of the examples in which every run of `batch_size` indices is one batch of similar lengths.

    All randomness comes from (seed, epoch), none from the global generators, and the batch is the GLOBAL one: a run
    resumed inside an epoch, split over processes or over accumulation steps sees the same examples in the same step.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, first_epoch: int = 0, group: bool = True
    ) -> None:
        """Prepare the sampler.

        Args:
            lengths: tokens of each example.
            batch_size: examples per optimiser step, over all processes and accumulation steps.
            seed: seed of the run.
            first_epoch: epochs the run has seen before this sampler's epoch 0, so that methods that divide the run
                into different stages still see the same order in the same epoch of the run.
            group: False shuffles without looking at the lengths.
        """
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.first_epoch = first_epoch
        self.group = group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based within this sampler; called by the training loop."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Indices of one epoch; a last batch that is not full comes last."""
        generator = np.random.default_rng((self.seed, self.first_epoch + self.epoch))
        order = generator.permutation(len(self.lengths))
        if not self.group:
            return iter(order.tolist())
        size = self.batch_size
        pools = np.split(order, range(size * POOL, len(order), size * POOL))
        order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        full = len(order) // size * size
        batches = order[:full].reshape(-1, size)
        return iter(np.concatenate([batches[generator.permutation(len(batches))].ravel(), order[full:]]).tolist())


def collator(tokenizer: PreTrainedTokenizerBase, *, pad_to: int | None = None) -> DataCollatorWithPadding:
    """Examples -> padded tensors.

    Args:
        tokenizer: pads on the right, so that the first token is [CLS].
        pad_to: pad every batch to this length; None pads to the longest example of the batch.

    Returns:
        A collator of transformers.
    """
    tokenizer.padding_side = "right"
    return DataCollatorWithPadding(tokenizer, padding="max_length" if pad_to else True, max_length=pad_to)
