"""Distances between the internal representations of student and teacher, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from innerdistill.data.batches import Collator, iterate_by_length
from innerdistill.losses.paper import attention_kl, cls_cosine
from innerdistill.models.attention import Attention
from innerdistill.models.capture import capture

INFINITE = 1e6  # nats per row; the logarithm of a hidden key is -3e38 where it should be minus infinity


@torch.no_grad()
def measure_layer_distances(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    dataset: Dataset,
    collate: Collator,
    *,
    pairs: Mapping[int, int],
    batch_size: int = 64,
) -> dict[str, dict[str, Any]]:
    """Mean attention KL and CLS cosine distance of every pair of mapped layers, in eval mode.

    Args:
        teacher: teacher prepared by `prepare`.
        student: student prepared by `prepare`.
        dataset: tokenised split.
        collate: turns examples into a padded batch.
        pairs: teacher layer by student layer.
        batch_size: examples per batch.

    Returns:
        By student layer, as a string for JSON: teacher_layer, attention_kl in nats per row of the map, and cls_cosine
        from 0 to 2. The KL is None where it is infinite, because the student cannot attend to what its teacher does.
    """
    teacher.eval()
    student.eval()
    kinds = ("attention", "cls")
    sums = {k: torch.zeros(2, dtype=torch.float64) for k in pairs}
    for _, inputs, _ in iterate_by_length(dataset, collate, batch_size=batch_size, device=student.device):
        theirs = capture(teacher, inputs, layers=dict.fromkeys(pairs.values(), kinds), logits=False)
        ours = capture(student, inputs, layers=dict.fromkeys(pairs, kinds), logits=False)
        mask = inputs["attention_mask"].bool()
        for k, m in pairs.items():
            t, s = theirs.layers[m], ours.layers[k]
            assert t.attention is not None and isinstance(s.attention, Attention)
            assert t.cls is not None and s.cls is not None
            kl = attention_kl(t.attention, s.attention, mask)
            sums[k] += torch.stack([kl.sum(), cls_cosine(t.cls, s.cls).sum()]).double().cpu()
    return {
        str(k): {
            "teacher_layer": pairs[k],
            "attention_kl": replace_infinity(float(total[0] / len(dataset))),
            "cls_cosine": float(total[1] / len(dataset)),
        }
        for k, total in sums.items()
    }


def replace_infinity(kl: float) -> float | None:
    """Replace an infinite divergence, which JSON cannot hold.

    Args:
        kl: divergence in nats per row of an attention map.

    Returns:
        The same; None where it is infinite, because the student cannot attend to what its teacher does.
    """
    return kl if kl < INFINITE else None
