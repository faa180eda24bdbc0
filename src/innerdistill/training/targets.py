"""Targets: the teacher outputs that a student learns from, computed by the teacher now (live) or read from a store."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import Collator, iterate_by_length
from innerdistill.data.tokens import fingerprint_tokens
from innerdistill.losses.loss import Loss, Needs, collect_needs
from innerdistill.models.attention import AttentionMaps
from innerdistill.models.capture import Internals, LayerInternals, capture
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.probe import Architecture
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import LOGITS, Part, TargetStore

logger = logging.getLogger(__name__)

FORMAT = 2  # of what is cached; another number makes old stores useless
MAP_ELEMENTS = 1 << 25  # of one layer's maps at once while a store is filled: 128 MiB in 32 bits


class Targets:
    """A teacher's internals for the examples of a batch."""

    def __init__(self, teacher: PreTrainedModel, *, store: TargetStore | None = None, bfloat16: bool = False) -> None:
        """Choose where they come from.

        Args:
            teacher: prepared by `probe`; runs in eval mode, without gradients.
            store: parts that are opened there are read instead.
            bfloat16: run the teacher in 16 bits where it is run.
        """
        self.teacher, self.store, self.bfloat16 = teacher.eval(), store, bfloat16

    def __call__(self, inputs: Mapping[str, Tensor], rows: NDArray[Any] | None, needs: Needs) -> Internals:
        """What the losses of a stage need of the teacher.

        A stage's layers are read if all of them are cached; otherwise one pass of the teacher gives them all.

        Args:
            inputs: of the model. (B, L)
            rows: positions of the examples in the store; None if there is no store. (B,)
            needs: of the stage.

        Returns:
            The internals, without gradients.
        """
        layers, logits = self._left_to_run(needs)
        internals = Internals()
        if layers or logits:
            kind = inputs["input_ids"].device.type
            with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16):
                internals = capture(self.teacher, inputs, layers=layers, logits=logits)
        if self.store is not None:
            assert rows is not None
            ids = inputs["input_ids"]
            read = _Reader(self.store, rows, ids.shape[1], ids.device)
            if not layers:
                internals.layers = {layer: read.layer(layer, kinds) for layer, kinds in needs.teacher_layers.items()}
            if needs.teacher_logits and not logits:
                internals.logits = read(LOGITS)
        return internals

    def is_run_for(self, needs: Needs) -> bool:
        """Whether the teacher itself has to be run in the steps of a stage.

        Args:
            needs: of the stage.

        Returns:
            False if everything is cached.
        """
        return any(self._left_to_run(needs))

    def _left_to_run(self, needs: Needs) -> tuple[Mapping[int, tuple[str, ...]], bool]:
        return list_missing_outputs(needs, self.store.arrays if self.store is not None else ())

    def describe(self) -> dict[str, Any]:
        """Describe for run.json what was cached, and how the teacher ran otherwise."""
        cached = sorted(self.store.arrays, key=lambda part: part.order) if self.store is not None else []
        return {
            "cached": {part.name: self.store.bytes_of(part) for part in cached} if self.store is not None else {},
            "precision_live": "bfloat16" if self.bfloat16 else "float32",
        }


def list_missing_outputs(needs: Needs, cached: Collection[Part]) -> tuple[Mapping[int, tuple[str, ...]], bool]:
    """List what the teacher has to compute because it is not cached.

    Args:
        needs: of a stage.
        cached: parts in the store.

    Returns:
        Kinds by layer, and whether the head is needed.
    """
    parts = _parts_of(needs.teacher_layers)
    layers = {} if parts is not None and all(part in cached for part in parts) else needs.teacher_layers
    return layers, needs.teacher_logits and LOGITS not in cached


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether 16-bit products are faster than 32-bit ones.

    Args:
        device: where a model runs.

    Returns:
        True for accelerators that know bfloat16, and for processors with instructions for it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(known.get("avx512_bf16") or known.get("amx_bf16"))


class _Reader:
    """Parts of a store as tensors, for the examples of one batch."""

    def __init__(self, store: TargetStore, rows: NDArray[Any], length: int, device: torch.device) -> None:
        self.store, self.rows, self.length, self.device = store, rows, length, device

    def __call__(self, part: Part) -> Tensor:
        values = torch.from_numpy(self.store.read(part, self.rows, self.length))
        if self.device.type == "cuda":
            values = values.pin_memory()  # else the copy waits until the GPU has done all steps before
        return values.to(self.device, non_blocking=True)

    def layer(self, layer: int, kinds: Sequence[str]) -> LayerInternals:
        maps = None
        if "attention" in kinds:
            maps = AttentionMaps(self(Part("attention", layer)), self(Part("entropy", layer))[:, 0])
        return LayerInternals(attention=maps, cls=self(Part("cls", layer)) if "cls" in kinds else None)


def make_target_store(
    teacher: PreTrainedModel,
    dataset: Dataset,
    architecture: Architecture,
    *,
    folder: Path,
    weights: str | None = None,
) -> TargetStore:
    """The store that belongs to a teacher and examples; nothing is built yet.

    Args:
        teacher: the teacher.
        dataset: tokenised examples.
        architecture: of the teacher.
        folder: folder of all stores.
        weights: the teacher's fingerprint, where it is known.

    Returns:
        A store keyed by the fingerprint of weights, configuration and tokens.
    """
    config = teacher.config.to_dict()
    for key in ("_name_or_path", "transformers_version"):
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
    )


def choose_parts(
    store: TargetStore,
    stages: Sequence[Stage],
    *,
    losses: Mapping[str, Loss],
    cache_all: bool,
    max_bytes: int,
    resumed_parts: Collection[str] | None = None,
) -> list[Part]:
    """Choose the parts of a store that are cached.

    What fits into the budget and into half of the free disk: logits first, then the layers of each stage, from the
    first stage on. A stage reads its layers only if all parts of them are cached, so half of them is never cached.

    Args:
        store: store that knows the sizes.
        stages: stages of the run.
        losses: losses by name.
        cache_all: whether to cache everything that the stages read, whatever its size.
        max_bytes: budget in bytes.
        resumed_parts: names of the parts that a run began with; it resumes with these, whatever fits by now.

    Returns:
        The parts, logits first.
    """
    needed = [collect_needs(stage.losses, stage.pairs, losses) for stage in stages]
    bundles = [[LOGITS]] if any(needs.teacher_logits for needs in needed) else []
    bundles += [parts for needs in needed if (parts := _parts_of(needs.teacher_layers))]
    existing = next(path for path in (store.folder, *store.folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free // 2
    chosen: set[Part] = set()
    for bundle in bundles:
        together = chosen | set(bundle)
        on_disk = sum(store.bytes_of(part) for part in together if not store.exists(part))
        fits = cache_all or (sum(map(store.bytes_of, together)) <= max_bytes and on_disk <= free)
        if resumed_parts is not None:
            fits = all(part.name in resumed_parts for part in bundle)
        if fits:
            chosen = together
    return sorted(chosen, key=lambda part: part.order)


def fill_store(
    teacher: PreTrainedModel, store: TargetStore, parts: Sequence[Part], dataset: Dataset, collate: Collator
) -> None:
    """Open parts of a store, and let the teacher make those that are not there: one pass, in 32 bits.

    Args:
        teacher: prepared by `probe`.
        store: from `make_target_store`, of the same teacher and data.
        parts: from `choose_parts`.
        dataset: tokenised examples.
        collate: examples -> padded batch.
    """

    def compute(missing: Sequence[Part]) -> Iterator[tuple[NDArray[Any], dict[Part, NDArray[Any]]]]:
        layers: dict[int, set[str]] = {}
        for part in missing:
            if part != LOGITS:
                layers.setdefault(part.layer, set()).add("cls" if part.kind == "cls" else "attention")
        logger.info("caching teacher outputs for %d examples in %s", len(dataset), store.folder)
        size = 64
        if any(kind == "attention" for kinds in layers.values() for kind in kinds):
            # Few long examples at a time: their whole maps are in memory here.
            size = max(1, min(size, MAP_ELEMENTS // (store.num_heads * int(store.lengths.max()) ** 2)))
        walk = iterate_by_length(dataset, collate, batch_size=size, device=teacher.device)
        total = -(-len(dataset) // size)
        for rows, padded, _ in tqdm(walk, desc="teacher", total=total, dynamic_ncols=True, disable=None):
            longest = int(store.lengths[rows].max())  # padding to a fixed length is not worth a teacher's time
            inputs = {name: values[:, :longest] for name, values in padded.items()}
            with torch.no_grad():
                internals = capture(
                    teacher.eval(),
                    inputs,
                    layers={n: tuple(kinds) for n, kinds in layers.items()},
                    logits=LOGITS in missing,
                )
            values = dict(_list_values(internals, inputs["attention_mask"].bool()))
            yield rows, {part: values[part] for part in missing}

    store.open(parts, compute)


def _list_values(internals: Internals, token_mask: Tensor) -> Iterator[tuple[Part, NDArray[Any]]]:
    """What a store holds of a batch, by part."""
    if internals.logits is not None:
        yield LOGITS, internals.logits.float().cpu().numpy()
    for number, layer in internals.layers.items():
        if layer.cls is not None:
            yield Part("cls", number), layer.cls.float().cpu().numpy()
        if layer.attention is not None:
            maps = AttentionMaps.of(layer.attention.probabilities().half(), token_mask)
            yield Part("attention", number), maps.maps.cpu().numpy()
            yield Part("entropy", number), maps.entropy[:, None].cpu().numpy()


def _parts_of(layers: Mapping[int, Sequence[str]]) -> list[Part] | None:
    """Parts that hold what is needed of layers; None if a kind is needed that no store holds."""
    kinds = {kind for of_layer in layers.values() for kind in of_layer}
    if not kinds <= {"cls", "attention"}:
        return None
    held = {"cls": ("cls",), "attention": ("attention", "entropy")}
    return [Part(part, layer) for layer, of_layer in layers.items() for kind in of_layer for part in held[kind]]
