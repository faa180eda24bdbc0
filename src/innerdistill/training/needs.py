"""What a stage has to see of teacher and student: derived once, read by the trainer, the kept targets and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from innerdistill.losses.paper import Loss
from innerdistill.training.schedules import Stage


@dataclass(frozen=True)
class Needs:
    """What the losses of a stage read.

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


def needs_of(stage: Stage, losses: Mapping[str, Loss]) -> Needs:
    """What the losses of a stage read.

    Args:
        stage: its losses and pairs of layers.
        losses: the losses by name.

    Returns:
        Exactly that.
    """
    active = [losses[name] for name in stage.losses]
    student: dict[int, tuple[str, ...]] = {}
    teacher: dict[int, tuple[str, ...]] = {}
    for loss in active:
        for k, m in loss.pairs(stage.pairs).items() if loss.is_internal else ():
            for layers, number in ((student, k), (teacher, m)):
                layers[number] = tuple(sorted({*layers.get(number, ()), *loss.needs}))
    return Needs(
        student_layers=student,
        teacher_layers=teacher,
        student_logits=any(not loss.is_internal for loss in active),
        teacher_logits=any("teacher_logits" in loss.needs for loss in active),
    )
