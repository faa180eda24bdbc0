"""The word embeddings, of which an optimiser is given the words that occur in the data.

A vocabulary has 30,000 words or 250,000, a data set often a few thousand of them, and a batch a few hundred. torch
makes a gradient of all words in every step, and AdamW reads four such tables and writes three. Here the gradient comes
as the rows that a batch touched, and the optimiser holds a small table of the words that occur, which is written back
into the model after every step. A word that does not occur has no gradient, so AdamW would only let it decay,
w ← w · Π (1 - η λ) with learning rate η and weight decay λ; that is made up for at the end of an epoch, before anybody
reads it. The student is the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers

BLOCK = 10_000  # examples in memory at a time
DECAY = "decay of words that do not occur"


def hold_embedding_rows(
    model: PreTrainedModel, optimizer: Optimizer, train: Dataset, collate: Callable[[list[Any]], Mapping[str, Any]]
) -> EmbeddingRows | None:
    """Give an optimiser rows instead of the whole table, where they stand for it.

    Args:
        model: that is trained; on a processor, since an accelerator would have to wait for every step's rows.
        optimizer: fresh. In fused AdamW, the default, each row moves by its own gradient alone.
        train: what it is trained on; columns input_ids and length.
        collate: examples -> padded batch.

    Returns:
        The rows; None if this is another optimiser, device or kind of embeddings, or they are not trained.
    """
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad or table.weight.device.type != "cpu":
        return None
    if type(optimizer) is not AdamW or not optimizer.defaults["fused"]:
        return None
    occurs = np.zeros(table.num_embeddings, dtype=bool)
    for block in train.select_columns("input_ids").with_format("arrow").iter(BLOCK):
        occurs[pc.list_flatten(block["input_ids"])] = True
    lengths = read_numbers(train, "length")
    padded = collate([train[int(place)] for place in (lengths.argmin(), lengths.argmax())])
    occurs[padded["input_ids"]] = True  # the word that pads
    return EmbeddingRows(table, torch.from_numpy(occurs.nonzero()[0]), optimizer)


class EmbeddingRows:
    """What an optimiser holds of a table of word embeddings, until `release`."""

    def __init__(self, table: nn.Embedding, words: Tensor, optimizer: Optimizer) -> None:
        """Take the table's place in the optimiser.

        Args:
            table: of the model.
            words: ids of all words that a batch may hold, ascending.
            optimizer: AdamW that holds the table's weight and has taken no step.
        """
        self.table, self.optimizer = table, optimizer
        if 2 * len(words) > table.num_embeddings:  # writing the rows back would eat up what they save
            self.words, self.rows = torch.arange(table.num_embeddings), table.weight
        else:
            self.words, self.rows = words, nn.Parameter(table.weight.detach()[words])
        self.place = torch.full((table.num_embeddings,), -1)
        self.place[self.words] = torch.arange(len(self.words))
        self.gradient, self.touched = torch.zeros_like(self.rows), self.words[:0]
        group = self._group_of(table.weight)
        group["params"] = [self.rows if one is table.weight else one for one in group["params"]]
        group[DECAY] = 1.0  # of the other words since the last epoch; a checkpoint holds it with the optimiser's state
        table.sparse = True  # the gradient of a pass comes as touched rows
        self.hooks = [
            optimizer.register_step_pre_hook(self._give),
            optimizer.register_step_post_hook(self._write_back),
        ]

    def clip(self, parameters: Iterable[nn.Parameter], most: float, accelerator: Accelerator) -> Tensor:
        """Clip gradients, g · min(1, most / √Σ‖g‖²), without a look at rows of zeros.

        Args:
            parameters: of the model.
            most: what the norm of all gradients together is brought down to.
            accelerator: clips.

        Returns:
            The norm before.
        """
        weight = self.table.weight
        assert weight.grad is not None
        weight.grad = weight.grad.coalesce()
        part = torch.empty_like(weight.grad.values())  # stands for the table
        part.grad = weight.grad.values()
        return accelerator.clip_grad_norm_([part if one is weight else one for one in parameters], most)

    def settle(self) -> None:
        """At the end of an epoch: let the words that do not occur decay for all of its steps."""
        if self.rows is self.table.weight:
            return
        group = self._group_of(self.rows)
        with torch.no_grad():
            self.table.weight.mul_(group[DECAY])  # of all words, which is quicker than choosing
            self.table.weight.index_copy_(0, self.words, self.rows)
        group[DECAY] = 1.0

    def release(self) -> None:
        """At the end of a stage: the model is as it was before, with what was learned."""
        self.table.sparse, self.table.weight.grad = False, None
        for hook in self.hooks:
            hook.remove()

    def _give(self, *_: Any) -> None:
        """Before a step of the optimiser: the gradient of the rows."""
        weight = self.table.weight
        if weight.grad is None:
            return
        found = weight.grad.coalesce()
        self.gradient[self.touched] = 0
        self.touched = self.place[ids := found.indices()[0]]
        if (unknown := ids[self.touched < 0]).numel():
            raise ValueError(
                f"token {int(unknown[0])} is in a batch and in no row of the training data, so the optimiser does not "
                "hold it. If the collator puts it there, choose trainer.optim: adamw_torch, which holds all tokens."
            )
        self.gradient[self.touched] = found.values()
        weight.grad = None
        self.rows.grad = self.gradient

    def _write_back(self, *_: Any) -> None:
        """After a step of the optimiser: its rows into the model."""
        if self.rows.grad is None:
            return
        self.rows.grad = None
        if self.rows is not self.table.weight:
            with torch.no_grad():
                self.table.weight.index_copy_(0, self.words, self.rows)
            group = self._group_of(self.rows)
            group[DECAY] *= 1 - float(group["lr"]) * group["weight_decay"]

    def _group_of(self, parameter: Tensor) -> dict[str, Any]:
        groups = self.optimizer.param_groups  # others after a state was loaded
        return next(group for group in groups if any(one is parameter for one in group["params"]))
