"""The losses of the paper as pure functions, and LOSSES, the dict that recipes and capture read.

Every loss returns one value per example, (B,): reduced inside the example first, so that padding, accumulation and the
number of processes cannot change it. The trainer takes the mean over the examples.

The formula of every loss is a function here, or in `rivals` if it is not the paper's; the attention loss is computed by
`blocked_kl`, which needs no maps.
Adding a loss is a function and an entry in LOSSES. Shapes: B examples, H heads, L tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.data.labels import UNLABELLED
from innerdistill.losses.blocked_kl import attention_kl_without_maps
from innerdistill.losses.other_papers import attention_score_mse, hidden_mse, normalised_cls_mse, relation_kl
from innerdistill.models.attention import Attention, at_least_float32
from innerdistill.models.capture import KINDS, Internals, LayerInternals

OUTPUTS = ("teacher_logits", "student_logits", "labels")


@dataclass(frozen=True)
class LossInputs:
    """What a loss may know besides the internals of teacher and student.

    Attributes:
        token_mask: True for real tokens. (B, L)
        labels: class ids, UNLABELLED where there is none; or scores, NaN where there is none. (B,)
        temperature: of the soft labels.
        is_regression: whether the head gives a score instead of logits of classes.
    """

    token_mask: Tensor
    labels: Tensor
    temperature: float = 1.0
    is_regression: bool = False


@dataclass(frozen=True)
class Loss:
    """A loss and what it has to see.

    Attributes:
        function: called with (teacher, student, inputs), returns (B,). An internal loss gets the LayerInternals of one
            pair of mapped layers, every other loss the Internals of the whole models.
        needs: any of attention, cls, hidden, qkv (an internal loss), or any of teacher_logits, student_logits, labels.
        embeddings: an internal loss that is also measured at layer 0, the embeddings.

    Raises:
        ValueError: nothing needed, something unknown, layers and outputs together, or attention of the embeddings.
    """

    function: Callable[[Any, Any, LossInputs], Tensor]
    needs: tuple[str, ...]
    embeddings: bool = False

    def __post_init__(self) -> None:
        """Refuse needs that capture would not serve."""
        if not self.needs or not (set(self.needs) <= set(KINDS) or set(self.needs) <= set(OUTPUTS)):
            raise ValueError(
                f"a loss needs {self.needs}; expected some of {', '.join(KINDS)} (of mapped layers), or some of "
                f"{', '.join(OUTPUTS)}."
            )
        if self.embeddings and not set(self.needs) <= {"cls", "hidden"}:
            raise ValueError(f"a loss of the embeddings needs {self.needs}; expected cls, hidden or both.")

    @property
    def is_internal(self) -> bool:
        """Whether the loss compares layers rather than outputs."""
        return bool(set(self.needs) & set(KINDS))

    def pairs(self, mapped: Mapping[int, int]) -> dict[int, int]:
        """Where an internal loss is measured.

        Args:
            mapped: teacher layer by student layer.

        Returns:
            The same, with the embeddings where the loss wants them.
        """
        return {0: 0, **mapped} if self.embeddings else dict(mapped)


def measure(
    losses: Mapping[str, Loss],
    pairs: Mapping[int, int],
    teacher: Internals,
    student: Internals,
    inputs: LossInputs,
) -> dict[str, Tensor]:
    """Every loss of a stage on one batch, an internal one at every pair of layers.

    Args:
        losses: by name.
        pairs: teacher layer by student layer.
        teacher: what it showed.
        student: what it showed.
        inputs: what else the losses may know.

    Returns:
        Values per example by name; `attention_kl/2` is that of student layer 2. (B,)

    Raises:
        ValueError: a loss that does not give one value per example.
    """
    found = {}
    for name, loss in losses.items():
        if not loss.is_internal:
            found[name] = loss.function(teacher, student, inputs)
            continue
        for k, m in loss.pairs(pairs).items():
            found[f"{name}/{k}"] = loss.function(teacher.layers[m], student.layers[k], inputs)
    for name, values in found.items():
        if values.shape != inputs.labels.shape:
            raise ValueError(
                f"losses.{name.partition('/')[0]}: it returned shape {tuple(values.shape)}; expected one value per "
                f"example, {tuple(inputs.labels.shape)}."
            )
    return found


def attention_kl(teacher_log_probs: Tensor, student_log_probs: Tensor, token_mask: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's self-attention from the teacher's, averaged over heads.

    L_kl = (1/L) * sum_i sum_j A_T[i,j] * log(A_T[i,j] / A_S[i,j]), with L the number of real tokens; rows of padding do
    not count, and padded keys have probability 0 in both. Source: Aguilar et al. 2020, attention loss.

    Args:
        teacher_log_probs: logarithm of the distribution over keys, before dropout. (B, H, L, L)
        student_log_probs: as the teacher's. (B, H, L, L)
        token_mask: True for real tokens. (B, L)

    Returns:
        Nats per row, 0 or more. (B,)

    >>> teacher = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()[None, None]
    >>> student = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()[None, None]
    >>> attention_kl(teacher, student, torch.ones(1, 2, dtype=torch.bool))  # ln(4/3) / 2 / 2 rows
    tensor([0.0719])
    """
    teacher_probs = teacher_log_probs.exp()
    seen = (teacher_probs > 0) & token_mask[:, None, :, None]
    terms = torch.where(seen, teacher_probs * (teacher_log_probs - student_log_probs), 0)
    return terms.sum((1, 2, 3)) / (terms.shape[1] * token_mask.sum(1))


def cls_cosine(teacher_cls: Tensor, student_cls: Tensor) -> Tensor:
    """Cosine distance of the [CLS] activations.

    L_cos = 1 - cos(h_T, h_S). Source: Aguilar et al. 2020, cosine loss.

    Args:
        teacher_cls: activation of the first token. (B, hidden)
        student_cls: as the teacher's. (B, hidden)

    Returns:
        From 0 (same direction) to 2 (opposite). (B,)

    >>> cls_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))  # 1 - 3/5
    tensor([0.4000])
    """
    return 1 - F.cosine_similarity(at_least_float32(teacher_cls), at_least_float32(student_cls), dim=-1)


def soft_labels(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the student's class probabilities from the teacher's.

    T^2 * sum_c p_c log(p_c / q_c), p = softmax(teacher / T), q = softmax(student / T). It differs from the
    cross-entropy by the entropy of p, which has no gradient, and is 0 for equal models. The factor T^2 keeps the
    gradient's size independent of T. Source: Hinton et al. 2015.

    Args:
        teacher_logits: (B, C)
        student_logits: (B, C)
        temperature: T > 0.

    Returns:
        0 or more. (B,)

    >>> teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> soft_labels(teacher, student)  # ln(4/3) / 2
    tensor([0.1438])
    """
    teacher_log_probs = (at_least_float32(teacher_logits) / temperature).log_softmax(-1)
    student_log_probs = (at_least_float32(student_logits) / temperature).log_softmax(-1)
    return temperature**2 * (teacher_log_probs.exp() * (teacher_log_probs - student_log_probs)).sum(-1)


def soft_scores(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Squared difference of the predicted scores: the soft label of a regression, where a KL over one logit is 0.

    Args:
        teacher_logits: (B, 1)
        student_logits: (B, 1)

    Returns:
        0 or more. (B,)

    >>> soft_scores(torch.tensor([[3.0]]), torch.tensor([[1.0]]))
    tensor([4.])
    """
    return (at_least_float32(teacher_logits) - at_least_float32(student_logits)).square().mean(-1)


def gold_labels(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the annotated class, or squared error to the annotated score; 0 for rows without a label.

    Args:
        student_logits: (B, C); C = 1 for a regression.
        labels: class ids with UNLABELLED, or scores (floating point) with NaN. (B,)

    Returns:
        0 or more. (B,)

    >>> gold_labels(torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log(), torch.tensor([0, -100]))  # ln 4
    tensor([1.3863, 0.0000])
    """
    if labels.is_floating_point():
        known = ~labels.isnan()
        return torch.where(known, at_least_float32(student_logits)[:, 0] - labels.nan_to_num(), 0).square()
    return F.cross_entropy(at_least_float32(student_logits), labels, ignore_index=UNLABELLED, reduction="none")


def _attention_kl(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.attention is not None and student.attention is not None
    assert isinstance(student.attention, Attention)
    return attention_kl_without_maps(teacher.attention, student.attention, inputs.token_mask)


def _cls_cosine(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.cls is not None and student.cls is not None
    return cls_cosine(teacher.cls, student.cls)


def _normalised_cls_mse(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.cls is not None and student.cls is not None
    return normalised_cls_mse(teacher.cls, student.cls)


def _attention_score_mse(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.qkv is not None and student.qkv is not None
    return attention_score_mse(teacher.qkv, student.qkv, inputs.token_mask)


def _hidden_mse(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.hidden is not None and student.hidden is not None
    return hidden_mse(teacher.hidden, student.hidden, inputs.token_mask)


def _relation_kl(teacher: LayerInternals, student: LayerInternals, inputs: LossInputs) -> Tensor:
    assert teacher.qkv is not None and student.qkv is not None
    return relation_kl(teacher.qkv, student.qkv, inputs.token_mask)


def _soft_labels(teacher: Internals, student: Internals, inputs: LossInputs) -> Tensor:
    assert teacher.logits is not None and student.logits is not None
    if inputs.is_regression:
        return soft_scores(teacher.logits, student.logits)
    return soft_labels(teacher.logits, student.logits, inputs.temperature)


def _gold_labels(teacher: Internals, student: Internals, inputs: LossInputs) -> Tensor:
    assert student.logits is not None
    return gold_labels(student.logits, inputs.labels)


LOSSES: dict[str, Loss] = {
    "attention_kl": Loss(_attention_kl, needs=("attention",)),
    "cls_cosine": Loss(_cls_cosine, needs=("cls",)),
    "soft_labels": Loss(_soft_labels, needs=("teacher_logits", "student_logits")),
    "gold_labels": Loss(_gold_labels, needs=("student_logits", "labels")),
    "normalised_cls_mse": Loss(_normalised_cls_mse, needs=("cls",)),
    "attention_score_mse": Loss(_attention_score_mse, needs=("qkv",)),
    "hidden_mse": Loss(_hidden_mse, needs=("hidden",), embeddings=True),
    "relation_kl": Loss(_relation_kl, needs=("qkv",)),
}
