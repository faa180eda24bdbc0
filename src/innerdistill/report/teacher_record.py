"""The parts of run.json on what a student learned from."""

from __future__ import annotations

from pydantic import Field

from innerdistill.report.record_part import Part
from innerdistill.support.messages import join_names


class TargetsRecord(Part):
    """Where the teacher outputs for training came from."""

    cached: dict[str, int] = Field(description="bytes on disk, by teacher output")
    precision_live: str | None = Field(
        None, description="number format in which the teacher ran for all other outputs; none for given outputs"
    )


class TeacherRecord(Part):
    """A model that the student learned from, or the outputs of one that were given as columns of the data."""

    path: str | None = Field(description="folder or name of the model; null for given outputs")
    layers: int | None = Field(description="null for given outputs")
    outputs: str | None = Field(None, description="what the given columns hold, `probabilities` or `logits`")
    columns: tuple[str, ...] | None = Field(None, description="column of each label with its output, or one of lists")
    own_tokens: bool | None = Field(
        None, description="true where it read other tokens than the student, which learned from its outputs alone"
    )
    fingerprint: str = Field(description="hash of the weights, or of the given outputs")
    targets: TargetsRecord | None = None
    cls_spread: dict[int, float] | None = Field(
        None,
        description="mean cosine distance between the [CLS] of two examples, by layer, on the examples of `distances`; "
        "older runs lack it",
    )
    thresholds: list[float] | None = Field(None, description="of multi-label classification, by label")

    @property
    def is_given(self) -> bool:
        """Whether only its outputs were there, as columns of the data."""
        return self.columns is not None

    @property
    def where(self) -> str:
        """Where given outputs come from, in a sentence."""
        columns = self.columns or ()
        plural = "s" if len(columns) > 1 else ""
        return f"The teacher's outputs are the {self.outputs} in the column{plural} {join_names(columns)}."
