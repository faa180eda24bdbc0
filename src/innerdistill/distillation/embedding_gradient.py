"""The word embeddings' gradient, kept in one place, and touched only where it is not zero.

A batch touches a few hundred of 30,000 rows, but torch makes a new gradient of all of them in every step, 47 MB for a
BERT of width 384, and giving that memory out and taking it back costs more than a stage of short texts. Here the
gradient arrives as the rows that were touched, and is added to a buffer that stays. Emptying the buffer, the norm of
the gradients and their scaling (`clip`) read those rows alone. The values are the same, but for rounding in the norm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

READERS = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop")  # others may write into it


class EmbeddingGradient:
    """Where a model's word embeddings find the memory of their gradient."""

    def __init__(self, model: PreTrainedModel, optimizer: str) -> None:
        """Choose the embeddings; nothing is changed yet.

        Args:
            model: on a processor; an accelerator has its own store of memory.
            optimizer: its name; after one that is not among READERS the whole buffer is emptied.
        """
        self.is_left_alone = optimizer in READERS
        table = model.get_input_embeddings()
        self.table = table if isinstance(table, nn.Embedding) else None
        self.buffer: Tensor | None = None
        self.touched: list[Tensor] = []  # ids of the passes since the buffer was empty
        self.watch: Any = None

    def prepare(self) -> None:
        """Before every forward pass: give the buffer out, emptied, unless gradients are being accumulated."""
        if self.table is None or self.table.weight.device.type != "cpu" or not self.table.weight.requires_grad:
            return
        weight = self.table.weight
        if self.buffer is None:
            self.buffer = torch.zeros_like(weight)
            self.table.sparse = True  # the gradient of a pass comes as touched rows, and torch adds them in place
            self.watch = self.table.register_forward_pre_hook(self._touch)
        if weight.grad is None:
            if not self.is_left_alone:
                self.buffer.zero_()
            elif self.touched:
                self.buffer[self._rows()] = 0
            self.touched = []
            weight.grad = self.buffer

    def clip(self, parameters: Iterable[nn.Parameter], most: float, accelerator: Accelerator) -> Tensor:
        """Clip gradients, g · min(1, most / √Σ‖g‖²), without a look at rows of zeros.

        Args:
            parameters: of the model.
            most: what the norm of all gradients together is brought down to.
            accelerator: clips.

        Returns:
            The norm before.
        """
        table, buffer = self.table, self.buffer
        if table is None or buffer is None or table.weight.grad is not buffer:
            return accelerator.clip_grad_norm_(parameters, most)
        rows = self._rows()
        gradient = buffer[rows]
        part = torch.empty_like(gradient)  # stands for the table
        part.grad = gradient
        norm = accelerator.clip_grad_norm_([part if each is table.weight else each for each in parameters], most)
        buffer[rows] = gradient
        return norm

    def release(self) -> None:
        """At the end of a stage: as the model was before."""
        if self.table is not None:
            self.table.sparse = False
            self.table.weight.grad = self.buffer = None
            self.touched = []
        if self.watch is not None:
            self.watch.remove()
            self.watch = None

    def _touch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled():
            self.touched.append(inputs[0])

    def _rows(self) -> Tensor:
        ids = torch.cat([ids.flatten() for ids in self.touched])
        return torch.unique(ids)
