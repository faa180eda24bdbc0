"""How large and how fast models are, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from innerdistill.models.families import embedding_parameters, max_positions


@torch.no_grad()
def measure_speed(
    models: Mapping[str, PreTrainedModel], *, batch_size: int = 1, length: int = 32, repeats: int = 30
) -> dict[str, dict[str, Any]]:
    """Size and latency of models, their runs interleaved so that a busy machine slows all of them alike.

    Args:
        models: by name, on the devices where they are to be measured.
        batch_size: examples per call.
        length: tokens per example, no padding.
        repeats: timed calls per model, after 3 that are not counted.

    Returns:
        By name: parameters, parameters_without_embeddings, file_bytes (None if not loaded from a folder), batch_size,
        length, and latency_ms with p20, p50 and p80.

    Raises:
        ValueError: longer than a model can read.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    inputs = {}
    for name, model in models.items():
        if length > max_positions(model.config):
            raise ValueError(f"length: {name} reads at most {max_positions(model.config)} tokens, got {length}.")
        ids = torch.arange(batch_size * length).view(batch_size, length) % (model.config.vocab_size - 10) + 5
        inputs[name] = {"input_ids": ids.to(model.device), "attention_mask": torch.ones_like(ids).to(model.device)}
        model.eval()
    for repeat in range(repeats + 3):
        for name, model in models.items():
            _synchronise(model)
            start = time.perf_counter()
            model(**inputs[name])
            _synchronise(model)
            if repeat >= 3:
                times[name].append(1000 * (time.perf_counter() - start))
    return {
        name: {
            **size(model),
            "batch_size": batch_size,
            "length": length,
            "latency_ms": {f"p{q}": float(np.percentile(times[name], q)) for q in (20, 50, 80)},
        }
        for name, model in models.items()
    }


def size(model: PreTrainedModel) -> dict[str, Any]:
    """Parameters and file size of a model.

    Args:
        model: any model.

    Returns:
        parameters, parameters_without_embeddings, and file_bytes of its safetensors files.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    folder = Path(model.name_or_path)
    files = list(folder.glob("*.safetensors")) if folder.is_dir() else []
    return {
        "parameters": parameters,
        "parameters_without_embeddings": parameters - embedding_parameters(model),
        "file_bytes": sum(file.stat().st_size for file in files) or None,
    }


def _synchronise(model: PreTrainedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
