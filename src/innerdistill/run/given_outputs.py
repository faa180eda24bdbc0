"""GivenOutputs: outputs of a model that is not here, from columns of the data. They take its place in a job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from scipy.special import logit

from innerdistill.data.arrow import BLOCK, read_numbers
from innerdistill.data.given_columns import GivenColumns
from innerdistill.data.given_rows import GIVEN
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.models.probe import Architecture
from innerdistill.training.target_store import LOGITS, Part, TargetStore

FORMAT = 1  # version of the stored values; a new number makes existing stores invalid


@dataclass
class GivenOutputs:
    """Outputs of a model that is not here.

    Attributes:
        columns: columns of the data that hold them.
        thresholds: probabilities from which its labels are predicted, chosen on the selection split (C,); None where
            they are all 0.5, and where there are none.
    """

    columns: GivenColumns
    thresholds: NDArray[np.float64] | None = None

    def read_logits(self, examples: Dataset) -> NDArray[np.float32]:
        """Read the logits of some examples, as those of a model: relative to the thresholds.

        Args:
            examples: tokenised examples that have them.

        Returns:
            Logits. (N, C)
        """
        logits: NDArray[np.float32] = read_numbers(examples, GIVEN)
        return logits if self.thresholds is None else logits - logit(self.thresholds).astype(np.float32)

    def compute_fingerprint(self, splits: Mapping[str, Dataset]) -> str:
        """Compute SHA-256 over the outputs of all splits, and over the names of the labels.

        Args:
            splits: tokenised splits by name.

        Returns:
            64 hexadecimal digits.
        """
        digest = hashlib.sha256(repr(self.columns.names).encode())
        for name in sorted(splits):
            if GIVEN in splits[name].column_names:
                digest.update(f"{name} {_hash_outputs(splits[name])}".encode())
        return digest.hexdigest()

    def make_store(self, examples: Dataset, architecture: Architecture, *, folder: Path) -> TargetStore:
        """Describe the store that training reads the outputs from; nothing is read or written yet.

        Args:
            examples: tokenised training examples.
            architecture: hidden size and number of heads of the student; no part of the store has these shapes.
            folder: folder of all stores.

        Returns:
            A store keyed by the outputs and the tokens.
        """
        tokens = fingerprint_tokens(examples)
        content = "given outputs", FORMAT, _hash_outputs(examples), tokens
        return TargetStore(
            folder,
            key=hashlib.sha256(repr(content).encode()).hexdigest()[:16],
            lengths=read_numbers(examples, "length"),
            num_heads=architecture.num_heads,
            hidden_size=architecture.hidden_size,
            num_labels=len(self.columns.names),
            tokens=tokens,
        )


def fill_given_store(store: TargetStore, examples: Dataset) -> None:
    """Open the logits of a store, and copy them from the examples if they are missing.

    Args:
        store: from `GivenOutputs.make_store`.
        examples: tokenised training examples, the same ones.
    """

    def copy(missing: Sequence[Part]) -> Iterator[tuple[NDArray[np.int64], dict[Part, NDArray[np.float32]]]]:
        for start, logits in _iterate_outputs(examples):
            yield np.arange(start, start + len(logits)), dict.fromkeys(missing, logits)

    store.open([LOGITS], copy)


def _hash_outputs(examples: Dataset) -> str:
    digest = hashlib.sha256()
    for _, logits in _iterate_outputs(examples):
        digest.update(np.ascontiguousarray(logits).data)
    return digest.hexdigest()


def _iterate_outputs(examples: Dataset) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The logits as they were given, a block at a time, each with the position of its first example."""
    for start in range(0, len(examples), BLOCK):
        block = examples.select(range(start, min(start + BLOCK, len(examples))))
        yield start, read_numbers(block, GIVEN)
