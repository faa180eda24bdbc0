"""Logits of a model on a split, in batches of similar length.

They are relative to the model's thresholds where it has any, as multi-label classifiers do: above 0 is predicted.
Where words are tagged, they are those of the words of each example: an array of arrays (W_i, C). Embeddings of texts
that are rows of their own are (N, W, C), with W texts of an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import Collator, iterate_by_length
from innerdistill.data.windows import PIECES, join_rows
from innerdistill.models.capture import capture
from innerdistill.models.heads import compute_cutoffs

SPLITS = ("selection", "validation", "test")  # splits that models are scored on
BATCH_SIZE = 64


def predict_splits(
    model: PreTrainedModel, splits: Mapping[str, Dataset], collate: Collator
) -> dict[str, NDArray[np.float32]]:
    """Compute logits on the evaluation splits that there are.

    Args:
        model: classifier, run in eval mode.
        splits: tokenised splits by name.
        collate: turns examples into a padded batch.

    Returns:
        Logits by split. (N, C)
    """
    return {name: predict_logits(model, splits[name], collate) for name in SPLITS if name in splits}


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel, dataset: Dataset, collate: Collator, *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Compute a model's logits for all examples, in the order of the dataset.

    Args:
        model: classifier, run in eval mode; its own mode is restored.
        dataset: tokenised split.
        collate: turns examples into a padded batch.
        batch_size: examples per batch.

    Returns:
        (N, C), float32.
    """

    def predict(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        logits = capture(model, {name: tensor.to(model.device) for name, tensor in inputs.items()}, layers={}).logits
        assert logits is not None
        array: NDArray[np.float32] = logits.float().cpu().numpy()
        return array

    training = model.training
    model.eval()
    logits = compute_logits(predict, dataset, collate, config=model.config, batch_size=batch_size)
    model.train(training)
    return logits


def compute_logits(
    predict: Callable[[Mapping[str, Tensor]], NDArray[np.float32]],
    dataset: Dataset,
    collate: Collator,
    *,
    config: PretrainedConfig,
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float32]:
    """Compute logits for all examples, in the order of the dataset, with any function that predicts a batch.

    Args:
        predict: (inputs by name (B, L)) -> logits (B, C); where words are tagged (B, L, C).
        dataset: tokenised split.
        collate: turns examples into a padded batch.
        config: configuration of the model, which says how many outputs it has, C, and what their thresholds are.
        batch_size: examples per batch.

    Returns:
        (N, C), float32.
    """
    batches = iterate_by_length(dataset, collate, batch_size=batch_size, device=torch.device("cpu"))
    if PIECES in dataset.column_names:
        return _compute_word_logits(predict, dataset, batches)
    logits = np.empty((len(dataset), config.num_labels), dtype=np.float32)
    for indices, inputs, _ in batches:
        logits[indices] = predict(inputs)
    return join_rows(dataset, logits - compute_cutoffs(config))


def _compute_word_logits(
    predict: Callable[[Mapping[str, Tensor]], NDArray[np.float32]], dataset: Dataset, batches: Iterable[Any]
) -> NDArray[Any]:
    """Logits at the tokens that stand for words, by example."""
    pieces = read_numbers(dataset, PIECES)
    of_words = np.empty(len(pieces), dtype=object)
    for indices, inputs, _ in batches:
        for index, logits in zip(indices, predict(inputs), strict=True):
            of_words[index] = logits[pieces[index]]
    return join_rows(dataset, of_words)
