"""Distances between the internal representations of student and teacher, and of a teacher between examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from innerdistill.data.batches import Collator, iterate_by_length
from innerdistill.losses.other_papers import token_cosine
from innerdistill.losses.paper import attention_kl, cls_cosine
from innerdistill.models.attention import Attention
from innerdistill.models.capture import LayerInternals, capture

INFINITE = 1e6  # nats per row; the logarithm of a hidden key is -3e38 where it should be minus infinity


@torch.no_grad()
def measure_layer_distances(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    dataset: Dataset,
    collate: Collator,
    *,
    pairs: Mapping[int, int],
    of_tokens: bool = False,
    batch_size: int = 64,
    spread: ClsSpread | None = None,
) -> dict[str, dict[str, Any]]:
    """Mean attention KL and CLS cosine distance of every pair of mapped layers, in eval mode.

    The student is left in the mode that it was in. No random number is drawn.

    Args:
        teacher: teacher prepared by `prepare`.
        student: student prepared by `prepare`.
        dataset: tokenised split.
        collate: turns examples into a padded batch.
        pairs: teacher layer by student layer.
        of_tokens: whether to measure the cosine distance of all tokens too.
        batch_size: examples per batch.
        spread: gathers the teacher's [CLS] in the same pass, if it is given.

    Returns:
        By student layer, as a string for JSON: teacher_layer, attention_kl in nats per row of the map, cls_cosine and,
        if it is measured, token_cosine, from 0 to 2. The KL is None where it is infinite, because the student cannot
        attend to what its teacher does. The cosines are None where the two have other hidden sizes.
    """
    kinds = ("attention", "cls", "hidden") if of_tokens else ("attention", "cls")
    of_teacher: dict[int, tuple[str, ...]] = dict.fromkeys(() if spread is None else spread.sums, ("cls",))
    of_teacher |= dict.fromkeys(pairs.values(), kinds)
    names = ("attention_kl", "cls_cosine", "token_cosine")[: len(kinds)]
    sums = {k: torch.zeros(len(names), dtype=torch.float64) for k in pairs}
    with _eval_mode(teacher), _eval_mode(student):
        for _, inputs, _ in iterate_by_length(dataset, collate, batch_size=batch_size, device=student.device):
            theirs = capture(teacher, inputs, layers=of_teacher, logits=False)
            ours = capture(student, inputs, layers=dict.fromkeys(pairs, kinds), logits=False)
            if spread is not None:
                spread.add(theirs.layers)
            mask = inputs["attention_mask"].bool()
            for k, m in pairs.items():
                sums[k] += _sum_distances(theirs.layers[m], ours.layers[k], mask)
    distances = {}
    for k, total in sums.items():
        means = zip(names, (total / len(dataset)).tolist(), strict=True)
        distances[str(k)] = {"teacher_layer": pairs[k], **{name: replace_infinity(mean) for name, mean in means}}
    return distances


def _sum_distances(teacher: LayerInternals, student: LayerInternals, mask: Tensor) -> Tensor:
    """Attention KL, cosine of [CLS] and, where all tokens were captured, of these, summed over the examples."""
    assert teacher.attention is not None and isinstance(student.attention, Attention)
    assert teacher.cls is not None and student.cls is not None
    values = [attention_kl(teacher.attention, student.attention, mask)]
    if teacher.cls.shape != student.cls.shape:  # other hidden sizes
        values += [torch.full_like(values[0], torch.nan)] * (1 if student.hidden is None else 2)
        return torch.stack([of_examples.sum() for of_examples in values]).double().cpu()
    values.append(cls_cosine(teacher.cls, student.cls))
    if teacher.hidden is not None and student.hidden is not None:
        values.append(token_cosine(teacher.hidden, student.hidden, mask))
    return torch.stack([of_examples.sum() for of_examples in values]).double().cpu()


class ClsSpread:
    """Mean cosine distance between the [CLS] activations of two examples, for every layer, gathered batch by batch.

    Where it is nearly 0, the [CLS] is the same for every example, and a cosine loss there teaches nothing of them.
    """

    def __init__(self, num_layers: int) -> None:
        """Begin with no example.

        Args:
            num_layers: number of layers of the model.
        """
        self.sums = dict.fromkeys(range(1, num_layers + 1), torch.zeros(1, dtype=torch.float64))
        self.count = 0

    def add(self, layers: Mapping[int, LayerInternals]) -> None:
        """Add the examples of a batch.

        Args:
            layers: internals with `cls` of all layers. (B, hidden)
        """
        examples = 0
        for number, total in self.sums.items():
            cls = layers[number].cls
            assert cls is not None
            self.sums[number] = total + F.normalize(cls.detach().cpu().double(), dim=-1).sum(0)
            examples = len(cls)
        self.count += examples

    def compute(self) -> dict[str, float] | None:
        """Compute the mean over all pairs of examples.

        Returns:
            By layer, as a string for JSON: a distance from 0 to 2. None with fewer than two examples.
        """
        if self.count < 2:
            return None
        return {str(number): compute_mean_distance(total, self.count) for number, total in self.sums.items()}


def compute_mean_distance(total: Tensor, count: int) -> float:
    """Mean cosine distance of all pairs of different vectors, from the sum of the normalised vectors.

    The squared length of the sum holds the cosine of every ordered pair, and 1 for each vector with itself. So the mean
    of 1 - cos over the N (N - 1) ordered pairs is (N^2 - |sum|^2) / (N (N - 1)).

    Args:
        total: sum of N vectors of length 1, in float64. (hidden,)
        count: number of vectors N, at least 2.

    Returns:
        Distance from 0 to 2.

    >>> compute_mean_distance(torch.tensor([1.0, 1.0], dtype=torch.float64), 2)  # two vectors at right angles
    1.0
    >>> compute_mean_distance(torch.tensor([3.0, 0.0], dtype=torch.float64), 3)  # three times the same
    0.0
    """
    return max(0.0, (count**2 - float(total.square().sum())) / (count * (count - 1)))


@contextmanager
def _eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """While open, the model is in eval mode."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def replace_infinity(distance: float) -> float | None:
    """Replace a distance that is infinite or not a number, which JSON cannot hold.

    Args:
        distance: divergence in nats per row of an attention map, or a cosine distance.

    Returns:
        The same; None where it is infinite, because the student cannot attend to what its teacher does, and where it
        is not a number, because the two cannot be compared.
    """
    return distance if distance < INFINITE else None
