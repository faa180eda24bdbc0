"""A classifier as an ONNX file, which onnxruntime runs without torch or transformers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

TORCH, FLOAT32, INT8 = "model", "float32", "int8"  # the model itself, and its files
FILES = {FLOAT32: "model.onnx", INT8: "model_quantized.onnx"}
OF_TOKENS = "last_hidden_state"  # output of a sentence encoder for libraries that pool it themselves; no answer
LARGEST = 3 * 2**29  # bytes of weights in a file, which may have 2 GB in all; torch lays more of them beside it


def write_float32(model: PreTrainedModel, path: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write a model as an ONNX file of the same arithmetic, for any number of texts of any length.

    Args:
        model: a model on the CPU, in eval mode, not prepared for capture.
        path: file to write; weights of more than 1.6 GB are written beside it.
        inputs: names of what the model reads, each (B, L) of int64.
        outputs: names of its outputs, in their order; a classifier has one, the logits (B, C), and a sentence encoder
            also OF_TOKENS.
    """
    example = {name: torch.ones(2, 16, dtype=torch.int64) for name in inputs}
    axes = {name: {0: "batch", 1: "sequence"} for name in inputs}
    with warnings.catch_warnings(), _only_errors("torch.onnx"):
        warnings.simplefilter("ignore")  # that all inputs have their axes in common, which is so
        program = torch.onnx.export(
            model, kwargs=example, dynamic_shapes=axes, output_names=list(outputs), dynamo=True, verbose=False
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where on this machine the source of each node lies
    program.save(path)


def write_int8(source: Path, path: Path) -> None:
    """Write an int8 file: matrices and embeddings take a quarter of their float32 size.

    Activations are quantised as they come, by the smallest and largest value of the batch. So the prediction for a text
    depends a little on the texts in its batch. Matrices have a scale for each output and use 7 bits: CPUs without VNNI
    instructions add int8 products in int16, which would overflow.

    Args:
        source: ONNX file from `write_float32`.
        path: file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    with _only_errors():  # it recommends a step that this graph does not need
        quantize_dynamic(
            source,
            path,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=size_of(source) > 3 * LARGEST,  # at most a third of it is left
        )


@contextmanager
def _only_errors(name: str | None = None) -> Iterator[None]:
    """Keep what libraries recommend out of our messages."""
    logger, level, none = logging.getLogger(name), logging.getLogger(name).level, logging.NullHandler()
    logger.setLevel(logging.ERROR)
    logger.addHandler(none)  # to a root logger without one, logging adds one that stays
    try:
        yield
    finally:
        logger.removeHandler(none)
        logger.setLevel(level)


def size_of(path: Path) -> int:
    """Measure an ONNX file with the weights beside it.

    Args:
        path: ONNX file.

    Returns:
        Bytes.
    """
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


class OnnxClassifier:
    """An ONNX file in onnxruntime, on the CPU."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Load a file.

        Args:
            path: ONNX file.
            threads: number of threads.
        """
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait would slow down whatever else is timed in this process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [node.name for node in self._session.get_inputs()]
        self._outputs = [node.name for node in self._session.get_outputs() if node.name != OF_TOKENS]

    def __call__(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        """Answer a batch.

        Args:
            inputs: by name; more than the model reads may be among them. (B, L)

        Returns:
            Logits (B, C), or embeddings. Several outputs are stacked along a new last dimension, as `capture` does.
        """
        parts = self._session.run(self._outputs, {name: inputs[name].numpy() for name in self._names})
        logits: NDArray[np.float32] = parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)
        return logits
