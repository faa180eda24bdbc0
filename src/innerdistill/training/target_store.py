"""TargetStore: what a teacher says about every example, on disk, memory-mapped.

One folder per teacher and data, one file per part (the logits, a layer's [CLS] activations, a layer's attention), so
that students of other depths, other seeds and other methods share what they have in common. A part is served only if
its checksum is right; whatever else lies there is built again.

Shapes: N examples, H heads, L_i tokens of example i.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from innerdistill.support.files import acquire_lock, compute_checksum, flush_to_disk

Array = NDArray[Any]

PART_KINDS = ("logits", "cls", "attention", "entropy")


@dataclass(frozen=True)
class Part:
    """One array of a store.

    Attributes:
        kind: one of PART_KINDS.
        layer: 1-based, 0 for the embeddings; 0 for the logits too.
    """

    kind: str
    layer: int = 0

    @property
    def name(self) -> str:
        """For files and people."""
        return f"layer_{self.layer:02d}_{self.kind}" if self.layer else self.kind

    @property
    def order(self) -> tuple[int, int]:
        """For lists that people read."""
        return PART_KINDS.index(self.kind), self.layer


LOGITS = Part("logits")


class TargetStore:
    """Targets of one teacher for one set of examples."""

    def __init__(
        self,
        folder: Path,
        *,
        key: str,
        lengths: Sequence[int] | Array,
        num_heads: int,
        hidden_size: int,
        num_labels: int,
        tokens: str,
    ) -> None:
        """Describe the store; nothing is read or written yet.

        Args:
            folder: folder of all stores.
            key: fingerprint of everything the values depend on.
            lengths: tokens of each example. (N,)
            num_heads: H of the teacher.
            hidden_size: width of the teacher.
            num_labels: outputs of the teacher.
            tokens: fingerprint of the examples.
        """
        self.folder, self.key, self.tokens = folder / key, key, tokens
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.widths = {"logits": num_labels, "cls": hidden_size, "entropy": 1}
        self.num_heads = num_heads
        self.starts = np.concatenate([[0], np.cumsum(num_heads * self.lengths**2)])
        self.arrays: dict[Part, Array] = {}

    def bytes_of(self, part: Part) -> int:
        """Size of a part on disk, without its header."""
        shape, kind = self._layout(part)
        return int(np.prod(shape)) * np.dtype(kind).itemsize

    def exists(self, part: Part) -> bool:
        """Whether a part seems to be on disk; `open` finds out whether it is whole."""
        return self._paths(part)[0].exists()

    def open(
        self,
        parts: Iterable[Part],
        compute: Callable[[Sequence[Part]], Iterable[tuple[Array, Mapping[Part, Array]]]],
    ) -> None:
        """Open parts, and build those that are missing or damaged.

        Other processes that want the same store wait until it is there. A build that is killed leaves files that
        nobody reads, and that the next build replaces.

        Args:
            parts: what is wanted.
            compute: makes, for parts that are missing, positions of examples (b,) and the values of each part: (b,
                width), or (b, H, L, L) for attention.
        """
        parts = list(parts)
        if all(self._open(part) for part in parts):  # also from a place where nothing can be written
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with acquire_lock(FileLock(self.folder / ".lock"), what=self.folder):
            missing = [part for part in parts if not self._open(part)]
            if not missing:
                return
            try:
                arrays = {part: self._create(part) for part in missing}
                for rows, values in compute(missing):
                    for part in missing:
                        self._write(arrays[part], part, rows, values[part])
                for part in missing:
                    arrays[part].flush()
                    self._finish(part)
                    opened = self._open(part)
                    assert opened
            finally:
                for left in self.folder.glob("*.partial"):
                    left.unlink()

    def read(self, part: Part, rows: Array, length: int) -> Array:
        """Values of some examples, padded with zeros.

        Args:
            part: one that was opened.
            rows: positions of the examples. (b,)
            length: tokens of the batch.

        Returns:
            (b, width) in float32, or (b, H, length, length) in float16 for attention.
        """
        array = self.arrays[part]
        if part.kind != "attention":
            return np.asarray(array[rows])
        maps = np.zeros((len(rows), self.num_heads, length, length), dtype=array.dtype)
        for position, row in enumerate(rows):
            tokens = self.lengths[row]
            flat = array[self.starts[row] : self.starts[row + 1]]
            maps[position, :, :tokens, :tokens] = flat.reshape(self.num_heads, tokens, tokens)
        return maps

    def _layout(self, part: Part) -> tuple[tuple[int, ...], type]:
        if part.kind == "attention":
            return (int(self.starts[-1]),), np.float16  # probabilities: the loss moves by less than 2e-5
        return (len(self.lengths), self.widths[part.kind]), np.float32

    def _paths(self, part: Part) -> tuple[Path, Path]:
        return self.folder / f"{part.name}.npy", self.folder / f"{part.name}.json"

    def _create(self, part: Part) -> Any:
        shape, kind = self._layout(part)
        path = self._paths(part)[0].with_suffix(".npy.partial")
        array = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
        if sys.platform == "linux":
            # A mapped file has holes; on a full disk, writing into one kills the process instead of raising an error.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def _write(self, array: Array, part: Part, rows: Array, values: Array) -> None:
        if part.kind != "attention":
            array[rows] = values
            return
        for row, maps in zip(rows, values, strict=True):
            tokens = self.lengths[row]
            array[self.starts[row] : self.starts[row + 1]] = maps[:, :tokens, :tokens].ravel()

    def _finish(self, part: Part) -> None:
        """Checksum, then names: the description comes last, so that it never stands beside half an array."""
        path, description = self._paths(part)
        partial = path.with_suffix(".npy.partial")
        flush_to_disk(partial)
        content = {"key": self.key, "checksum": compute_checksum(partial)}
        text = description.with_suffix(".json.partial")
        text.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(path)
        text.replace(description)

    def _open(self, part: Part) -> bool:
        if part in self.arrays:
            return True
        path, description = self._paths(part)
        try:
            content = json.loads(description.read_text(encoding="utf-8"))
            if content != {"key": self.key, "checksum": compute_checksum(path)}:
                return False
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError):
            return False
        if (array.shape, array.dtype) != self._layout(part):
            return False
        self.arrays[part] = array
        return True
