"""Targets: the teacher outputs that a student learns from, computed live by the teacher or read from the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import Collator, iterate_by_length
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.data.windows import PIECES
from innerdistill.losses.loss import Loss, Needs, collect_needs
from innerdistill.models.attention import AttentionMaps
from innerdistill.models.capture import Internals, LayerInternals, capture
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.probe import Architecture
from innerdistill.support.progress import open_bar
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import LOGITS, Part, TargetStore

logger = logging.getLogger(__name__)

FORMAT = 2  # version of the cached values; a new number makes existing stores invalid
MAP_ELEMENTS = 1 << 25  # attention elements of a layer in memory while a store is filled: 128 MiB in float32
BATCH_SIZE = 64  # most examples that the teacher computes at once while a store is filled
PART_KINDS_OF = {
    "cls": ("cls",),
    "hidden": ("hidden",),
    "attention": ("attention", "entropy"),
}  # parts that hold a kind of a layer


class Targets:
    """Gives the teacher's logits and internal representations for the examples of a batch."""

    def __init__(
        self,
        teacher: PreTrainedModel | None,
        *,
        store: TargetStore | None = None,
        bfloat16: bool = False,
        internal: Targets | None = None,
    ) -> None:
        """Choose where the outputs come from.

        Args:
            teacher: model prepared by `probe`; runs in eval mode, without gradients. None if `store` has all that is
                read.
            store: cached outputs; the parts that are open are read instead of computed.
            bfloat16: whether the teacher runs in bfloat16 autocast.
            internal: outputs of the model that the internal losses learn from; None if that is the teacher.
        """
        self.teacher, self.store, self.bfloat16, self.internal = teacher and teacher.eval(), store, bfloat16, internal

    def __call__(self, inputs: Mapping[str, Tensor], rows: NDArray[Any] | None, needs: Needs) -> Internals:
        """Compute or read the teacher outputs that the losses of a stage need.

        The layers of a stage are read if all of them are cached; otherwise one forward pass computes them all.

        Args:
            inputs: model inputs by name. (B, L)
            rows: positions of the examples in the store; None if there is no store. (B,)
            needs: layers and logits that the losses of the stage read.

        Returns:
            Logits and internal representations, without gradients.
        """
        if self.internal is not None:
            internals = self._compute_or_read(inputs, rows, replace(needs, teacher_layers={}))
            internals.layers = self.internal(inputs, rows, replace(needs, teacher_logits=False)).layers
            return internals
        return self._compute_or_read(inputs, rows, needs)

    def _compute_or_read(self, inputs: Mapping[str, Tensor], rows: NDArray[Any] | None, needs: Needs) -> Internals:
        """As a call, of this model alone."""
        layers, logits = list_missing_outputs(needs, self.store.arrays if self.store is not None else ())
        internals = Internals()
        if layers or logits:
            assert self.teacher is not None, "outputs that are not in the store, and no teacher to compute them"
            kind = inputs["input_ids"].device.type
            with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16):
                internals = capture(self.teacher, inputs, layers=layers, logits=logits)
        if self.store is not None:
            assert rows is not None
            ids = inputs["input_ids"]
            reader = _Reader(self.store, rows, ids.shape[1], ids.device)
            if not layers:
                internals.layers = {n: reader.read_layer(n, kinds) for n, kinds in needs.teacher_layers.items()}
            if needs.teacher_logits and not logits:
                internals.logits = reader.read(LOGITS)
        return internals

    def is_run_for(self, needs: Needs) -> bool:
        """Tell whether a teacher itself runs in the steps of a stage.

        Args:
            needs: layers and logits that the losses of the stage read.

        Returns:
            False if all of them are cached.
        """
        return any(list_missing_outputs(needs, self.list_cached_parts()))

    @property
    def stores(self) -> list[TargetStore]:
        """Stores that are read, at most one per model."""
        own = [] if self.store is None else [self.store]
        return own if self.internal is None else own + self.internal.stores

    def list_cached_parts(self) -> list[Part]:
        """List the parts that are read from disk.

        Returns:
            Open parts of all stores.
        """
        return list(chain.from_iterable(store.arrays for store in self.stores))

    def move_to(self, device: torch.device) -> None:
        """Move the models to a device.

        Args:
            device: device that trains the student.
        """
        if self.teacher is not None:
            self.teacher.to(device)
        if self.internal is not None:
            self.internal.move_to(device)

    def describe(self) -> dict[str, Any]:
        """Describe for run.json which parts were cached, in bytes, and the precision of the live teacher if any."""
        cached = {}
        for store in self.stores:
            for part in sorted(store.arrays, key=lambda part: part.order):
                cached[part.name] = store.count_bytes(part)
        if self.teacher is None:
            return {"cached": cached}
        return {"cached": cached, "precision_live": "bfloat16" if self.bfloat16 else "float32"}

    def identify(self) -> str | None:
        """Identify where the outputs come from.

        Returns:
            Fingerprint of the teacher's weights; without a teacher the key of the store, None if nothing is read.
        """
        if self.teacher is not None:
            return weights_fingerprint(self.teacher)
        return None if self.store is None else self.store.key


def list_missing_outputs(needs: Needs, cached: Collection[Part]) -> tuple[Mapping[int, tuple[str, ...]], bool]:
    """List what the teacher has to compute because it is not cached.

    Args:
        needs: layers and logits that the losses of a stage read.
        cached: parts in the store.

    Returns:
        Kinds of internal representations by layer, and whether the logits have to be computed.
    """
    parts = _list_parts(needs.teacher_layers)
    is_cached = parts is not None and set(parts) <= set(cached)
    layers = {} if is_cached else needs.teacher_layers
    return layers, needs.teacher_logits and LOGITS not in cached


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 matrices faster than float32 ones.

    Args:
        device: device that runs a model.

    Returns:
        True for GPUs and CPUs with bfloat16 instructions.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(instructions.get("avx512_bf16") or instructions.get("amx_bf16"))


class _Reader:
    """Parts of a store as tensors, for the examples of one batch."""

    def __init__(self, store: TargetStore, rows: NDArray[Any], length: int, device: torch.device) -> None:
        self.store, self.rows, self.length, self.device = store, rows, length, device

    def read(self, part: Part) -> Tensor:
        values = torch.from_numpy(self.store.read(part, self.rows, self.length))
        if self.device.type == "cuda":
            values = values.pin_memory()  # otherwise the copy waits until the GPU has finished all earlier steps
        return values.to(self.device, non_blocking=True)

    def read_layer(self, layer: int, kinds: Sequence[str]) -> LayerInternals:
        internals = LayerInternals()
        if "attention" in kinds:
            maps, entropy = self.read(Part("attention", layer)), self.read(Part("entropy", layer))[:, 0]
            internals.attention = AttentionMaps(maps, entropy)
        if "cls" in kinds:
            internals.cls = self.read(Part("cls", layer))
        if "hidden" in kinds:
            internals.hidden = self.read(Part("hidden", layer))
        return internals


def make_target_store(
    teacher: PreTrainedModel,
    dataset: Dataset,
    architecture: Architecture,
    *,
    folder: Path,
    weights: str | None = None,
) -> TargetStore:
    """Describe the store of a teacher's outputs for some examples; nothing is read or written yet.

    Args:
        teacher: fine-tuned teacher.
        dataset: tokenised examples.
        architecture: hidden size and number of heads of the teacher.
        folder: folder of all stores.
        weights: fingerprint of the teacher's weights; computed if it is not given.

    Returns:
        A store keyed by the fingerprint of weights, configuration and tokens.
    """
    config = teacher.config.to_dict()
    for key in ("_name_or_path", "transformers_version", "thresholds"):  # no output depends on these
        config.pop(key, None)
    tokens = fingerprint_tokens(dataset)
    content = FORMAT, weights or weights_fingerprint(teacher), json.dumps(config, sort_keys=True), tokens
    return TargetStore(
        folder,
        key=hashlib.sha256(repr(content).encode()).hexdigest()[:16],
        lengths=read_numbers(dataset, "length"),
        num_heads=architecture.num_heads,
        hidden_size=architecture.hidden_size,
        num_labels=teacher.config.num_labels,
        tokens=tokens,
        logits_of_tokens=PIECES in dataset.column_names,
    )


def choose_parts(
    store: TargetStore,
    stages: Sequence[Stage],
    *,
    losses: Mapping[str, Loss],
    cache_all: bool,
    max_bytes: int,
    resumed_parts: Collection[str] | None = None,
    internal_store: TargetStore | None = None,
) -> list[Part]:
    """Choose which teacher outputs are cached: those that fit into the budget and into half of the free disk.

    The logits come first, then the layers of each stage in order. A stage reads its layers only if all their parts are
    cached, so they are cached together or not at all.

    Args:
        store: store that tells the size of each part.
        stages: stages of the run.
        losses: losses by name.
        cache_all: whether to cache all outputs that the stages read, whatever their size.
        max_bytes: budget in bytes.
        resumed_parts: names of the parts that an unfinished run uses; it resumes with these, whatever fits now.
        internal_store: store of the layers, if they are those of another model; the budget is for both.

    Returns:
        The parts, logits first.
    """

    def is_missing(part: Part) -> bool:
        return not (store if part == LOGITS else internal_store or store).exists(part)

    needs_logits = False
    bundles: list[list[Part]] = []
    for stage in stages:
        needs = collect_needs(stage.losses, stage.pairs, losses)
        needs_logits |= needs.teacher_logits
        bundles.append(_list_parts(needs.teacher_layers) or [])
    if needs_logits:
        bundles.insert(0, [LOGITS])
    existing = next(path for path in (store.folder, *store.folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free // 2
    chosen: set[Part] = set()
    for bundle in bundles:
        together = chosen | set(bundle)
        total_bytes = sum(map(store.count_bytes, together))
        new_bytes = sum(map(store.count_bytes, filter(is_missing, together)))
        fits = cache_all or (total_bytes <= max_bytes and new_bytes <= free)
        if resumed_parts is not None:
            fits = all(part.name in resumed_parts for part in bundle)
        if fits:
            chosen = together
    return sorted(chosen, key=lambda part: part.order)


def fill_store(
    teacher: PreTrainedModel, store: TargetStore, parts: Sequence[Part], dataset: Dataset, collate: Collator
) -> None:
    """Open parts of a store. The teacher computes the missing ones in one pass over the examples, in float32.

    Args:
        teacher: model prepared by `probe`.
        store: store of this teacher and these examples, from `make_target_store`.
        parts: parts to open, from `choose_parts`.
        dataset: tokenised examples.
        collate: turns a list of examples into a padded batch.
    """

    def compute(missing: Sequence[Part]) -> Iterator[tuple[NDArray[Any], dict[Part, NDArray[Any]]]]:
        logger.info("Compute and cache teacher outputs for %s examples.", f"{len(dataset):,}")
        layers, batch_size = _list_kinds(missing), _choose_batch_size(store, missing)
        batches = iterate_by_length(dataset, collate, batch_size=batch_size, device=teacher.device)
        total = math.ceil(len(dataset) / batch_size)
        with open_bar("teacher", total=total, stays=False, over=batches) as bar:
            for rows, padded, _ in bar:
                longest = int(store.lengths[rows].max())  # the teacher need not run on padding to a fixed length
                inputs = {name: values[:, :longest] for name, values in padded.items()}
                with torch.no_grad():
                    internals = capture(teacher.eval(), inputs, layers=layers, logits=LOGITS in missing)
                values = dict(_iterate_values(internals, inputs["attention_mask"].bool()))
                yield rows, {part: values[part] for part in missing}

    store.open(parts, compute)


def _list_kinds(parts: Iterable[Part]) -> dict[int, tuple[str, ...]]:
    """Which kinds of internal representations of each layer have to be captured for some parts of a store."""
    layers: dict[int, tuple[str, ...]] = {}
    for part in parts:
        kind = "attention" if part.kind == "entropy" else part.kind
        if part != LOGITS and kind not in layers.get(part.layer, ()):
            layers[part.layer] = (*layers.get(part.layer, ()), kind)
    return layers


def _choose_batch_size(store: TargetStore, parts: Iterable[Part]) -> int:
    """How many examples the teacher computes at once; few long ones, since their attention is held in memory."""
    if not any(part.kind in ("attention", "entropy") for part in parts):
        return BATCH_SIZE
    elements = store.num_heads * int(store.lengths.max()) ** 2
    return max(1, min(BATCH_SIZE, MAP_ELEMENTS // elements))


def _iterate_values(internals: Internals, token_mask: Tensor) -> Iterator[tuple[Part, NDArray[Any]]]:
    """Values of a batch by part, as the store holds them."""
    if internals.logits is not None:
        yield LOGITS, internals.logits.float().cpu().numpy()
    for number, layer in internals.layers.items():
        if layer.cls is not None:
            yield Part("cls", number), layer.cls.float().cpu().numpy()
        if layer.hidden is not None:
            yield Part("hidden", number), layer.hidden.float().cpu().numpy()
        if layer.attention is not None:
            maps = AttentionMaps.of(layer.attention.probabilities().half(), token_mask)
            yield Part("attention", number), maps.maps.cpu().numpy()
            yield Part("entropy", number), maps.entropy[:, None].cpu().numpy()


def _list_parts(layers: Mapping[int, Sequence[str]]) -> list[Part] | None:
    """Parts that hold kinds of internal representations by layer; None if no store can hold one of the kinds."""
    parts = []
    for layer, kinds in layers.items():
        for kind in kinds:
            if kind not in PART_KINDS_OF:
                return None
            parts += [Part(part_kind, layer) for part_kind in PART_KINDS_OF[kind]]
    return parts
