"""TargetStore: cached teacher outputs for every example, on disk and memory-mapped.

There is one folder per teacher and data set. It has one file per part: the logits, or of a layer the [CLS] activations,
the activations of all tokens or the attention. So students of other depths, seeds and methods share the parts that they
all read. A part is used only if its checksum matches; otherwise it is rebuilt.

Shapes: N examples, H heads, L_i tokens of example i.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from innerdistill.support.files import acquire_lock, compute_checksum, flush_to_disk
from innerdistill.support.in_use import hold

Array = NDArray[Any]

PART_KINDS = ("logits", "cls", "hidden", "attention", "entropy")


@dataclass(frozen=True)
class Part:
    """One array of a store.

    Attributes:
        kind: one of PART_KINDS.
        layer: number of the layer, 1-based; 0 for the embeddings and for the logits.
    """

    kind: str
    layer: int = 0

    @property
    def name(self) -> str:
        """Name in file names and in run.json."""
        return f"layer_{self.layer:02d}_{self.kind}" if self.layer else self.kind

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: logits first, then by kind and layer."""
        return PART_KINDS.index(self.kind), self.layer


LOGITS = Part("logits")


class TargetStore:
    """Cached outputs of one teacher for one set of examples.

    Attributes:
        arrays: opened parts.
        tokens: fingerprint of the examples.
    """

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
        logits_of_tokens: bool = False,
    ) -> None:
        """Describe the store; nothing is read or written yet.

        Args:
            folder: folder of all stores.
            key: fingerprint of everything that the values depend on; name of this store's folder.
            lengths: number of tokens of each example. (N,)
            num_heads: number of attention heads H of the teacher.
            hidden_size: hidden size of the teacher.
            num_labels: number of logits of the teacher.
            tokens: fingerprint of the examples, as the student reads them.
            logits_of_tokens: whether the teacher has logits for every token.
        """
        self.folder, self.key, self.tokens = folder / key, key, tokens
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.columns = {"logits": num_labels, "cls": hidden_size, "hidden": hidden_size, "entropy": 1}
        self.of_tokens = ("hidden", *(["logits"] if logits_of_tokens else []))  # kinds with a row for each token
        self.num_heads = num_heads
        self.arrays: dict[Part, Array] = {}
        self._in_use: FileLock | None = None  # as long as the arrays may be read

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Position of each example's first attention element, and of the end (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.num_heads * self.lengths**2)])

    @cached_property
    def token_starts(self) -> NDArray[np.int64]:
        """Position of each example's first token, and of the end (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def count_bytes(self, part: Part) -> int:
        """Compute the size of a part on disk in bytes, without its header."""
        shape, dtype = self._get_shape_and_dtype(part)
        return int(np.prod(shape)) * np.dtype(dtype).itemsize

    def exists(self, part: Part) -> bool:
        """Tell whether a part is on disk; only `open` checks whether it is complete."""
        return self._get_array_path(part).exists()

    def open(
        self,
        parts: Iterable[Part],
        compute: Callable[[Sequence[Part]], Iterable[tuple[Array, Mapping[Part, Array]]]],
    ) -> None:
        """Open parts, and build those that are missing or damaged.

        Other processes that open the same store wait until it is built. A build that is killed leaves partial files,
        which are never read and which the next build replaces.

        Args:
            parts: parts to open.
            compute: function that gets the missing parts. It yields positions of examples (b,) with the values of each
                part: (b, columns), (b, L, columns) for what each token has, or (b, H, L, L) for attention.
        """
        parts = list(parts)
        if self._in_use is None:
            self._in_use = hold(self.folder)
        if all(map(self._open, parts)):  # before the lock, so that a read-only folder works too
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
                for partial in self.folder.glob("*.partial"):
                    partial.unlink()

    def read(self, part: Part, rows: Array, length: int) -> Array:
        """Read the values of some examples, padded with zeros.

        Args:
            part: part that was opened.
            rows: positions of the examples. (b,)
            length: number of tokens of the padded batch.

        Returns:
            (b, columns) in float32, (b, length, columns) for what each token has, or (b, H, length, length) in float16
            for attention.
        """
        array = self.arrays[part]
        if part.kind in self.of_tokens:
            values = np.zeros((len(rows), length, self.columns[part.kind]), dtype=array.dtype)
            for position, row in enumerate(rows):
                values[position, : self.lengths[row]] = array[self.token_starts[row] : self.token_starts[row + 1]]
            return values
        if part.kind != "attention":
            return np.asarray(array[rows])
        maps = np.zeros((len(rows), self.num_heads, length, length), dtype=array.dtype)
        for position, row in enumerate(rows):
            tokens = self.lengths[row]
            flat = array[self.starts[row] : self.starts[row + 1]]
            maps[position, :, :tokens, :tokens] = flat.reshape(self.num_heads, tokens, tokens)
        return maps

    def _get_shape_and_dtype(self, part: Part) -> tuple[tuple[int, ...], type]:
        if part.kind == "attention":
            return (int(self.starts[-1]),), np.float16  # float16 changes the loss by less than 2e-5
        count = self.token_starts[-1] if part.kind in self.of_tokens else len(self.lengths)
        return (int(count), self.columns[part.kind]), np.float32

    def _get_array_path(self, part: Part) -> Path:
        return self.folder / f"{part.name}.npy"

    def _get_description_path(self, part: Part) -> Path:
        return self.folder / f"{part.name}.json"

    def _create(self, part: Part) -> Any:
        shape, dtype = self._get_shape_and_dtype(part)
        path = self._get_array_path(part).with_suffix(".npy.partial")
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if sys.platform == "linux":
            # Reserve the space: on a full disk, writing into a hole of a mapped file would kill the process.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def _write(self, array: Array, part: Part, rows: Array, values: Array) -> None:
        if part.kind in self.of_tokens:
            for row, of_tokens in zip(rows, values, strict=True):
                array[self.token_starts[row] : self.token_starts[row + 1]] = of_tokens[: self.lengths[row]]
            return
        if part.kind != "attention":
            array[rows] = values
            return
        for row, maps in zip(rows, values, strict=True):
            tokens = self.lengths[row]
            array[self.starts[row] : self.starts[row + 1]] = maps[:, :tokens, :tokens].ravel()

    def _finish(self, part: Part) -> None:
        """Write the checksum and rename the files; the description last, so that the array beside it is complete."""
        path, description = self._get_array_path(part), self._get_description_path(part)
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
        path, description = self._get_array_path(part), self._get_description_path(part)
        try:
            content = json.loads(description.read_text(encoding="utf-8"))
            if content != {"key": self.key, "checksum": compute_checksum(path)}:
                return False
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError):
            return False
        if (array.shape, array.dtype) != self._get_shape_and_dtype(part):
            return False
        self.arrays[part] = array
        return True
