"""Size and latency of models, measured in turns."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.models.families import embedding_parameters, max_positions

UNCOUNTED, BLOCK = 3, 5  # calls of one model before the next has its turn


def measure_speed(
    models: Mapping[str, PreTrainedModel], *, batch_size: int = 1, length: int = 32, repeats: int = 30
) -> dict[str, dict[str, Any]]:
    """Measure size and latency of models, in turns.

    Args:
        models: models by name, on the devices where they are measured.
        batch_size: examples per call.
        length: tokens per example, no padding.
        repeats: timed calls per model.

    Returns:
        By name: parameters, parameters_without_embeddings, file_bytes (None if not loaded from a folder), batch_size,
        length, and latency_ms with p20, p50 and p80.

    Raises:
        ValueError: `length` is longer than a model can read.
    """
    calls = {}
    for name, model in models.items():
        if length > max_positions(model):
            raise ValueError(f"length: {name} reads at most {max_positions(model)} tokens, got {length}.")
        calls[name] = make_model_call(model, batch_size=batch_size, length=length)
    times = measure_latencies(calls, repeats=repeats)
    about = {"batch_size": batch_size, "length": length}
    return {name: {**measure_size(model), **about, "latency_ms": times[name]} for name, model in models.items()}


@torch.no_grad()
def measure_latencies(calls: Mapping[str, Callable[[], object]], *, repeats: int = 30) -> dict[str, dict[str, float]]:
    """Measure how long calls take, a few of each in turns, so that a busy machine slows all of them alike.

    Args:
        calls: functions by name; each returns when its work is done.
        repeats: timed calls of each; before every few come some that are not counted.

    Returns:
        By name the percentiles p20, p50 and p80, in milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(0, repeats, BLOCK):
        for name, call in calls.items():
            # The first calls find the caches full of, and the cores busy with, what ran before.
            for repeat in range(-UNCOUNTED, min(BLOCK, repeats - done)):
                start = time.perf_counter()
                call()
                if repeat >= 0:
                    times[name].append(1000 * (time.perf_counter() - start))
    percentiles = {}
    for name, milliseconds in times.items():
        percentiles[name] = {f"p{q}": float(np.percentile(milliseconds, q)) for q in (20, 50, 80)}
    return percentiles


def compute_typical_length(rows: Dataset) -> int:
    """Compute the length that nine of ten examples stay within, at which latency is measured.

    Args:
        rows: tokenised examples.

    Returns:
        Number of tokens.
    """
    return int(np.percentile(read_numbers(rows, "length"), 90))


def make_model_call(model: PreTrainedModel, *, batch_size: int, length: int) -> Callable[[], object]:
    """Make a function that runs a forward pass on random texts, for timing.

    Args:
        model: classifier; put into eval mode.
        batch_size: examples per call.
        length: tokens per example, no padding.

    Returns:
        A function that returns when the output is computed.
    """
    inputs = {name: tensor.to(model.device) for name, tensor in make_inputs(model, batch_size, length).items()}
    model.eval()

    def call() -> None:
        model(**inputs)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)

    return call


def make_inputs(model: PreTrainedModel, batch_size: int, length: int) -> dict[str, Tensor]:
    """Make inputs of a given length, on the CPU.

    Args:
        model: model that reads them.
        batch_size: number of examples.
        length: tokens per example, no padding.

    Returns:
        input_ids and attention_mask. (B, L)
    """
    config = model.config.get_text_config()
    ids = torch.arange(batch_size * length).view(batch_size, length) % (config.vocab_size - 10) + 5
    if model.config.is_encoder_decoder:  # their heads read the end token
        ids[:, -1] = config.eos_token_id
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def measure_size(model: PreTrainedModel) -> dict[str, Any]:
    """Measure the parameters and the file size of a model.

    Args:
        model: any model.

    Returns:
        parameters, parameters_without_embeddings, and file_bytes of its safetensors files.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    folder = Path(model.name_or_path)
    files = list(folder.rglob("*.safetensors")) if folder.is_dir() else []  # modules may have folders of their own
    return {
        "parameters": parameters,
        "parameters_without_embeddings": parameters - embedding_parameters(model),
        "file_bytes": sum(file.stat().st_size for file in files) or None,
    }


def describe_machine(device: torch.device) -> str:
    """Describe what rounding depends on: instructions and threads of the CPU, or the GPU.

    Args:
        device: device of the student.

    Returns:
        Such as "Linux x86_64, AVX512, 1 of 2 cores".
    """
    cores = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return f"{platform.system()} {platform.machine()}, {name}, {cores}"
