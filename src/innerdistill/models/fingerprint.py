"""Which weights a model has, as a short text."""

from __future__ import annotations

import hashlib

import torch
from transformers import PreTrainedModel


def weights_fingerprint(model: PreTrainedModel) -> str:
    """SHA-256 over the names, types and values of all tensors of a model.

    Args:
        model: any model.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
