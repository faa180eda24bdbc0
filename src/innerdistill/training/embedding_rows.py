"""EmbeddingRows: on a CPU, the optimiser updates only the word embeddings that occur in the training data.

A vocabulary has 30,000 to 250,000 words. A data set often has a few thousand of them, and a batch a few hundred. In
every step torch computes a gradient of the whole table, and AdamW reads four tables of that size and writes three.

Here the gradient is sparse: it has the rows of the words in the batch. The optimiser holds a small table of the words
that occur, and writes it back into the model after every step. A word that does not occur has no gradient, so AdamW
only lets it decay: w ← w · Π (1 - η λ), with learning rate η and weight decay λ. This decay is applied once, at the end
of an epoch, before the model is evaluated or saved. The student is the same up to rounding.
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
    """Give an optimiser the word embeddings that occur in the data, instead of the whole table.

    Args:
        model: model that is trained. It must be on the CPU: an accelerator would wait for the rows of every step.
        optimizer: optimiser that has taken no step. It must be fused AdamW, the default, which updates every row by its
            own gradient alone.
        train: tokenised training examples; columns input_ids and length.
        collate: turns a list of examples into a padded batch.

    Returns:
        The rows; None for another optimiser, device or kind of embeddings, or if the embeddings are not trained. Also
        where a second module has the table too, as the decoder of an encoder-decoder, which reads other words.
    """
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad or table.weight.device.type != "cpu":
        return None
    if sum(getattr(module, "weight", None) is table.weight for module in model.modules()) > 1:
        return None
    if type(optimizer) is not AdamW or not optimizer.defaults["fused"]:
        return None
    occurs = np.zeros(table.num_embeddings, dtype=bool)
    for block in train.select_columns("input_ids").with_format("arrow").iter(BLOCK):
        occurs[pc.list_flatten(block["input_ids"])] = True
    lengths = read_numbers(train, "length")
    shortest, longest = train[int(lengths.argmin())], train[int(lengths.argmax())]
    occurs[collate([shortest, longest])["input_ids"]] = True  # the padding token
    return EmbeddingRows(table, torch.from_numpy(occurs.nonzero()[0]), optimizer)


class EmbeddingRows:
    """The word embeddings that an optimiser updates, in place of the whole table, until `release`."""

    def __init__(self, table: nn.Embedding, words: Tensor, optimizer: Optimizer) -> None:
        """Replace the table by its rows in the optimiser.

        Args:
            table: word embeddings of the model.
            words: ids of all words that a batch may contain, ascending.
            optimizer: AdamW that holds the table's weight and has taken no step.
        """
        self.table, self.optimizer = table, optimizer
        if 2 * len(words) > table.num_embeddings:  # writing the rows back would cost as much as they save
            self.words, self.rows = torch.arange(table.num_embeddings), table.weight
        else:
            self.words, self.rows = words, nn.Parameter(table.weight.detach()[words])
        self.row_of_word = torch.full((table.num_embeddings,), -1)
        self.row_of_word[self.words] = torch.arange(len(self.words))
        self.gradient, self.touched = torch.zeros_like(self.rows), self.words[:0]
        group = self._find_group(table.weight)
        group["params"] = [self.rows if parameter is table.weight else parameter for parameter in group["params"]]
        group[DECAY] = 1.0  # since the last epoch; a checkpoint stores it with the optimiser's state
        table.sparse = True  # the backward pass then gives the rows of the batch alone
        self.hooks = [
            optimizer.register_step_pre_hook(self._pass_gradient),
            optimizer.register_step_post_hook(self._write_back),
        ]

    def clip_gradients(self, parameters: Iterable[nn.Parameter], max_norm: float, accelerator: Accelerator) -> Tensor:
        """Clip gradients, g · min(1, max_norm / √Σ‖g‖²), without reading rows of zeros.

        Args:
            parameters: parameters of the model.
            max_norm: highest norm of all gradients together.
            accelerator: accelerator of the Trainer.

        Returns:
            The norm before clipping.
        """
        weight = self.table.weight
        assert weight.grad is not None
        weight.grad = weight.grad.coalesce()
        touched_rows = torch.empty_like(weight.grad.values())  # replaces the table, which has a sparse gradient
        touched_rows.grad = weight.grad.values()
        dense = [touched_rows if parameter is weight else parameter for parameter in parameters]
        return accelerator.clip_grad_norm_(dense, max_norm)

    def settle(self) -> None:
        """Apply the decay of all steps since the last call to the words that do not occur."""
        if self.rows is self.table.weight:
            return
        group = self._find_group(self.rows)
        with torch.no_grad():
            self.table.weight.mul_(group[DECAY])  # the whole table, which is faster than selecting words
            self.table.weight.index_copy_(0, self.words, self.rows)
        group[DECAY] = 1.0

    def release(self) -> None:
        """Give the model its usual embeddings back, with the trained weights."""
        self.table.sparse, self.table.weight.grad = False, None
        for hook in self.hooks:
            hook.remove()

    def _pass_gradient(self, *_: Any) -> None:
        """Before a step of the optimiser: copy the gradient of the table to the rows."""
        weight = self.table.weight
        if weight.grad is None:
            return
        gradient = weight.grad.coalesce()
        ids = gradient.indices()[0]
        self.gradient[self.touched] = 0
        self.touched = self.row_of_word[ids]
        unknown = ids[self.touched < 0]
        if unknown.numel():
            raise ValueError(
                f"token {int(unknown[0])} is in a batch but in no training example, so the optimiser does not hold it. "
                "If the collator adds it, set trainer.optim=adamw_torch, which holds all tokens."
            )
        self.gradient[self.touched] = gradient.values()
        weight.grad = None
        self.rows.grad = self.gradient

    def _write_back(self, *_: Any) -> None:
        """After a step of the optimiser: copy its rows into the model."""
        if self.rows.grad is None:
            return
        self.rows.grad = None
        if self.rows is not self.table.weight:
            with torch.no_grad():
                self.table.weight.index_copy_(0, self.words, self.rows)
            group = self._find_group(self.rows)
            group[DECAY] *= 1 - float(group["lr"]) * group["weight_decay"]

    def _find_group(self, wanted: Tensor) -> dict[str, Any]:
        for group in self.optimizer.param_groups:  # new objects after a state was loaded, so they are not stored
            if any(parameter is wanted for parameter in group["params"]):
                return group
        raise AssertionError("the optimiser does not hold the embeddings")
