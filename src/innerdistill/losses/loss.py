"""Loss: a function and the fields that it reads. `measure` hands it exactly these.

A loss returns one value per example, (B,): reduced inside the example first, so that padding, accumulation and the
number of processes cannot change it. The trainer takes the mean over the examples. A loss that compares the examples of
a batch with one another cannot promise this, and says so: `reads_batch`.

Shapes: B examples, L tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from innerdistill.models.capture import KINDS, Internals, LayerInternals

LOGITS = ("teacher_logits", "student_logits")


@dataclass(frozen=True)
class LossInputs:
    """What a loss can read besides teacher and student.

    Attributes:
        token_mask: True for real tokens. (B, L)
        labels: class ids, UNLABELLED where there is none; or scores, NaN where there is none. (B,) Of multi-label
            classification 1 or 0 by label, NaN where there is none (B, C). Of words the tag id at the token that
            stands for each, UNLABELLED elsewhere (B, L). Of a document its relevance, NaN where there is none (B,).
        temperature: T > 0 of the soft labels.
        word_mask: True for tokens that stand for a word (B, L); None where the collator makes none. What it marks is
            for the losses of the problem type alone.
        groups: number of the query of each document (B,); None where the collator makes none.
        parts: for the texts of pairs, number of the example, place in it, and a number that equal texts have in common
            (B, 3); None where the collator makes none.
    """

    token_mask: Tensor
    labels: Tensor
    temperature: float = 1.0
    word_mask: Tensor | None = None
    groups: Tensor | None = None
    parts: Tensor | None = None


SHARED = tuple(field.name for field in fields(LossInputs))


@dataclass(frozen=True)
class Loss:
    """A loss function and what it reads.

    Attributes:
        function: called with the fields that `needs` names, in their order; returns one value per example, (B,).
        needs: `attention`, `cls`, `hidden` or `qkv` for an internal loss, which compares mapped layers: the function
            gets the teacher's and then the student's. `student_logits` and perhaps `teacher_logits` for an output loss.
            Both may add fields of LossInputs: `token_mask`, `labels`, `temperature`, and `word_mask`, `groups` or
            `parts` where the batches have them.
        embeddings: an internal loss that is also measured at layer 0, the embeddings.
        of_embeddings: an output loss that reads embeddings of texts, so that only sentence encoders can have it.
        reads_batch: whether the value of an example depends on the other examples of its batch. The batch size,
            accumulation and the number of processes change such a loss.

    Raises:
        ValueError: an unknown need; layers and logits together, or neither; attention of the embeddings.

    >>> Loss(lambda teacher, student, token_mask: ..., needs=("hidden", "token_mask")).is_internal
    True
    """

    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    embeddings: bool = False
    of_embeddings: bool = False
    reads_batch: bool = False

    def __post_init__(self) -> None:
        """Refuse needs that capture cannot serve."""
        read = set(self.needs) - set(SHARED)
        of_layers, of_outputs = read and read <= set(KINDS), read <= set(LOGITS) and "student_logits" in read
        if not (of_layers or of_outputs):
            raise ValueError(
                f"a loss needs {self.needs}; expected some of {', '.join(KINDS)} (it compares layers), or "
                f"student_logits with or without teacher_logits (it compares outputs); and if it reads them, "
                f"{', '.join(SHARED)}."
            )
        if self.embeddings and not read <= {"cls", "hidden"}:
            raise ValueError(f"a loss of the embeddings needs {self.needs}; expected cls, hidden or both.")

    @property
    def of_rankings(self) -> bool:
        """Whether the loss compares the documents of a query, so that only rankers can have it."""
        return "groups" in self.needs

    @property
    def of_pairs(self) -> bool:
        """Whether the loss compares the texts of an example with those of others, so that they share a batch."""
        return "parts" in self.needs

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which internals of a layer it compares; none for an output loss."""
        return tuple(need for need in self.needs if need in KINDS)

    @property
    def is_internal(self) -> bool:
        """Whether the loss compares layers rather than outputs."""
        return bool(self.kinds)

    def pairs(self, mapped: Mapping[int, int]) -> dict[int, int]:
        """Where an internal loss is measured.

        Args:
            mapped: teacher layer by student layer.

        Returns:
            The same, with the embeddings (0: 0) if the loss is measured there too.
        """
        return {0: 0, **mapped} if self.embeddings else dict(mapped)


def measure(
    losses: Mapping[str, Loss],
    pairs: Mapping[int, int],
    teacher: Internals,
    student: Internals,
    inputs: LossInputs,
) -> dict[str, Tensor]:
    """Every loss of a stage on one batch, an internal loss at every pair of layers.

    Args:
        losses: losses by name.
        pairs: teacher layer by student layer.
        teacher: captured internals of the teacher.
        student: captured internals of the student.
        inputs: token mask, labels and temperature.

    Returns:
        Values per example by name; `attention_kl/2` is that of student layer 2. (B,)

    Raises:
        ValueError: a loss does not return one value per example.
    """
    values = {}
    for name, loss in losses.items():
        if loss.is_internal:
            for k, m in loss.pairs(pairs).items():
                values[f"{name}/{k}"] = _apply(loss, teacher.layers[m], student.layers[k], inputs)
        else:
            values[name] = _apply(loss, teacher, student, inputs)
    for name, of_examples in values.items():
        if of_examples.shape != inputs.labels.shape[:1]:
            raise ValueError(
                f"losses.{name.partition('/')[0]}: it returned shape {tuple(of_examples.shape)}; expected one value "
                f"per example, {tuple(inputs.labels.shape[:1])}."
            )
    return values


def _apply(
    loss: Loss, teacher: Internals | LayerInternals, student: Internals | LayerInternals, inputs: LossInputs
) -> Tensor:
    arguments: list[Any] = []
    for need in loss.needs:
        if need in KINDS:
            arguments += [getattr(teacher, need), getattr(student, need)]
        elif need in LOGITS:
            model = teacher if need == "teacher_logits" else student
            assert isinstance(model, Internals)
            arguments.append(model.logits)
        else:
            arguments.append(getattr(inputs, need))
    assert all(argument is not None for argument in arguments), loss.needs
    return loss.function(*arguments)


@dataclass(frozen=True)
class Needs:
    """What capture must bring for the losses of a stage.

    Attributes:
        student_layers: kinds (attention, cls, hidden, qkv) by 1-based layer of the student; 0 are the embeddings.
        teacher_layers: the same for the teacher.
        student_logits: whether the student's head is read, so that all its layers run.
        teacher_logits: whether the teacher's head is read.
    """

    student_layers: Mapping[int, tuple[str, ...]]
    teacher_layers: Mapping[int, tuple[str, ...]]
    student_logits: bool
    teacher_logits: bool

    @property
    def teacher(self) -> bool:
        """Whether anything of the teacher is read."""
        return bool(self.teacher_layers) or self.teacher_logits


def collect_needs(names: Iterable[str], pairs: Mapping[int, int], losses: Mapping[str, Loss]) -> Needs:
    """What capture must bring so that some losses can be measured.

    Args:
        names: the losses that are on, as in `Stage.losses`.
        pairs: teacher layer by student layer, as in `Stage.pairs`.
        losses: known losses by name.

    Returns:
        Exactly what these losses read.
    """
    active = [losses[name] for name in names]
    student: dict[int, tuple[str, ...]] = {}
    teacher: dict[int, tuple[str, ...]] = {}
    for loss in active:
        for k, m in loss.pairs(pairs).items() if loss.is_internal else ():
            for layers, number in ((student, k), (teacher, m)):
                layers[number] = tuple(sorted({*layers.get(number, ()), *loss.kinds}))
    return Needs(
        student_layers=student,
        teacher_layers=teacher,
        student_logits=any(not loss.is_internal for loss in active),
        teacher_logits=any("teacher_logits" in loss.needs for loss in active),
    )
