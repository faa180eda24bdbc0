"""The word embeddings' gradient, kept in one place.

A batch touches a few hundred of 30,000 rows, but torch makes a new gradient of all of them in every step, 47 MB for a
BERT of width 384, and giving that memory out and taking it back costs more than a stage of short texts. Here the
gradient arrives as the rows that were touched, and is added to a buffer that stays. The values are the same.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel


class EmbeddingGradient:
    """Where a model's word embeddings find the memory of their gradient."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Choose the embeddings; nothing is changed yet.

        Args:
            model: on a processor; an accelerator has its own store of memory.
        """
        table = model.get_input_embeddings()
        self.table = table if isinstance(table, nn.Embedding) else None
        self.buffer: Tensor | None = None

    def prepare(self) -> None:
        """Before every forward pass: give the buffer out, emptied, unless gradients are being accumulated."""
        if self.table is None or self.table.weight.device.type != "cpu" or not self.table.weight.requires_grad:
            return
        self.table.sparse = True  # the gradient of a pass comes as touched rows, and torch adds them in place
        if self.table.weight.grad is None:
            self.buffer = self.table.weight.new_zeros(self.table.weight.shape) if self.buffer is None else self.buffer
            self.table.weight.grad = self.buffer.zero_()

    def release(self) -> None:
        """At the end of a stage: as the model was before."""
        if self.table is not None:
            self.table.sparse = False
            self.table.weight.grad = self.buffer = None
