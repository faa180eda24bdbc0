"""The parts of run.json on size and latency: the models of a run, and its ONNX files."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from innerdistill.report.record_part import Part

WIDEST_SPREAD = 2  # p80 / p20; calls that differ by more were slowed down by other work


class Latency(Part):
    """Percentiles of the time that a model takes for a batch, in milliseconds."""

    p20: float
    p50: float
    p80: float

    @property
    def is_steady(self) -> bool:
        """Whether the calls took about the same time, so that their median can be compared with another's."""
        return self.p80 <= WIDEST_SPREAD * self.p20


class ModelSpeed(Part):
    """Size and latency of one model."""

    parameters: int
    parameters_without_embeddings: int
    file_bytes: int | None = Field(description="size of the safetensors files; null for a model without a folder")
    batch_size: int
    length: int = Field(description="tokens per example")
    latency_ms: Latency


class Speed(Part):
    """Size and latency of the models, measured in turns."""

    student: ModelSpeed
    teacher: ModelSpeed | None = None
    baseline: ModelSpeed | None = Field(None, description="only in the run that the baseline belongs to")


class OnnxFile(Part):
    """The model, or one of its ONNX files. `agreement` has the numbers on its agreement with the model, by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)

    file: str = Field(description="path inside the model folder")
    file_bytes: int
    largest_difference: float | None = Field(None, description="largest logit difference from the model; not its own")
    latency_ms: Latency
    scores: dict[str, float] | None = Field(None, description="metrics on the validation split")
    standard_error: float | None = Field(
        None, description="standard error of the difference from the model in the primary score"
    )

    @property
    def agreement(self) -> dict[str, float]:
        """Numbers on the agreement with the model, by their names in the problem type; empty for the model itself."""
        return self.__pydantic_extra__


class OnnxRecord(Part):
    """ONNX files of the student, compared with it."""

    rows: int = Field(description="examples that the files were compared on")
    batch_size: int
    length: int = Field(description="tokens of the text that was timed")
    threads: int
    machine: str
    onnxruntime: str = Field(description="version")
    metric: str | None = Field(None, description="name of the primary metric; none where the data is not known")
    files: dict[str, OnnxFile] = Field(description="by `model`, `float32` and `int8`")
