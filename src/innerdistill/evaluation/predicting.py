"""Logits of a model on a split, in batches of similar length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.batches import Collator, batches_by_length
from innerdistill.models.internals import capture

SPLITS = ("selection", "validation", "test")  # those that models are scored on


def predict_splits(
    model: PreTrainedModel, splits: Mapping[str, Dataset], collate: Collator
) -> dict[str, NDArray[np.float32]]:
    """Logits on the evaluation splits, where they are there.

    Args:
        model: as `predict_logits`.
        splits: tokenised splits.
        collate: examples -> padded batch.

    Returns:
        By split. (N, C)
    """
    return {name: predict_logits(model, splits[name], collate) for name in SPLITS if name in splits}


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
    for indices, inputs, _ in batches_by_length(dataset, collate, batch_size=batch_size, device=model.device):
        found = capture(model, inputs, layers={}).logits
        assert found is not None
        logits[indices] = found.float().cpu().numpy()
    model.train(training)
    return logits
