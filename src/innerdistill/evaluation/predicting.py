"""Logits of a model on a split, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from innerdistill.data.batches import INPUT_NAMES, Collator
from innerdistill.models.internals import capture


def batches(
    dataset: Dataset, collate: Collator, *, batch_size: int, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor], Tensor]]:
    """Walk through a split from the shortest to the longest example.

    Args:
        dataset: columns input_ids, attention_mask, (token_type_ids), labels, length.
        collate: examples -> padded batch.
        batch_size: examples per batch.
        device: where the tensors go.

    Yields:
        Positions in the dataset (B,), inputs of the model by name (B, L), labels (B,).
    """
    order = np.argsort(np.asarray(dataset["length"]), kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        columns = dataset[indices]
        examples = [{name: columns[name][i] for name in columns} for i in range(len(indices))]
        batch = {name: tensor.to(device) for name, tensor in collate(examples).items()}
        yield indices, {name: batch[name] for name in INPUT_NAMES if name in batch}, batch["labels"]


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel, dataset: Dataset, collate: Collator, *, batch_size: int = 64
) -> NDArray[np.float32]:
    """Logits of all examples, in the order of the dataset.

    Args:
        model: classifier; runs in eval mode, its own mode is restored.
        dataset: a tokenised split.
        collate: examples -> padded batch.
        batch_size: examples per batch.

    Returns:
        (N, C), float32.
    """
    training = model.training
    model.eval()
    logits = np.empty((len(dataset), model.config.num_labels), dtype=np.float32)
    for indices, inputs, _ in batches(dataset, collate, batch_size=batch_size, device=model.device):
        found = capture(model, inputs, layers={}).logits
        assert found is not None
        logits[indices] = found.float().cpu().numpy()
    model.train(training)
    return logits
