"""RunRecord: the content of run.json, with a type for every part. `run_folder` reads and writes the file.

The format has a number, `schema_version`. Records of earlier formats are translated in one place,
`translate_old_record`; a record of a later format is refused.

A field that has None as its default is left out of the file where it does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from innerdistill.evaluation.differences import STANDARD_ERRORS, PairedDifference
from innerdistill.evaluation.metrics import AGREEMENT_METRICS
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.problem_types.problem_type import PagePart, ProblemType
from innerdistill.problem_types.problem_types import PROBLEM_TYPES, name_problem_type
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.renames import translate_old_values
from innerdistill.report.record_part import Part
from innerdistill.report.speed_record import OnnxRecord, Speed
from innerdistill.report.teacher_record import TeacherRecord
from innerdistill.support.messages import shorten_value

SCHEMA_VERSION = 1


class DataRecord(Part):
    """The data of a run: its splits, and how predictions on them are scored."""

    labels: str | None = Field(None, description="what scores are, if train has no labels")
    against_teacher: tuple[str, ...] | None = Field(
        None, description="splits without labels, scored against the teacher's predictions; only if train has no labels"
    )
    rows_read: dict[str, int] = Field(description="examples read from the files, by split")
    rows: dict[str, int] = Field(description="examples used, by split")
    groups: dict[str, int] | None = Field(
        None, description="groups of examples that count as one, by split; only with `data.group`"
    )
    searches: dict[str, dict[str, int]] | None = Field(
        None, description="number of documents and queries, by split; only where a split is queries with documents"
    )
    selection: str = Field(description="where the selection split comes from")
    validation: str | None = Field(None, description="where the validation split comes from, if it has no file")
    validation_rows_that_are_also_in_train: int | None = Field(None, description="examples whose text is in train too")
    selection_rows_also_in: dict[str, int] | None = Field(None, description="rows of a selection file in other splits")
    validation_rows_dropped_because_they_share_a_text_with_train: int | None = None
    selection_rows_dropped_because_they_share_a_text_with_train: int | None = None
    problem_type: str = Field(description="name in PROBLEM_TYPES")
    metric: str = Field(description="name of the primary metric")
    names: tuple[str, ...] | None = Field(description="class names by id; null where labels are numbers")
    positive: int = Field(1, description="of two classes, the id of the one that f1 is of")
    constant: int | None = Field(None, description="constant answer that is best on train; older runs lack it")
    max_length: int = Field(description="tokens per example, at most")
    truncated: dict[str, int] = Field(description="examples that were longer, by split")
    fingerprint: str = Field(description="hash of the texts, labels and splits")

    @field_validator("problem_type")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in PROBLEM_TYPES:
            raise ValueError(f"unknown problem type {shorten_value(name)}")
        return name

    @property
    def scoring(self) -> Scoring:
        """Argument of `score_outputs` that computes the run's scores from its labels and logits again."""
        return PROBLEM_TYPES[self.problem_type].make_scoring(
            self.metric, self.names, positive=self.positive, constant=self.constant
        )


class StudentRecord(Part):
    """The model that the run trained."""

    layers: int
    start: str | None = Field(None, description="hash of the weights before training; older runs lack it")
    base_model: str | None = Field(None, description="Hugging Face name of the model that the weights come from")
    license: str | None = Field(None, description="license that the card of this model states")
    thresholds: list[float] | None = Field(None, description="of multi-label classification, by label")


class LayerDistance(Part):
    """How far a student layer is from its teacher layer; 0 means equal."""

    teacher_layer: int
    attention_kl: float | None = Field(description="nats per row of the attention map; null where it is infinite")
    cls_cosine: float | None = Field(
        description="cosine distance of the CLS activations, 0 to 2; null where the hidden sizes differ"
    )
    token_cosine: float | None = Field(
        None, description="mean cosine distance of the activations of all tokens, where words are tagged"
    )

    @property
    def cosine(self) -> str:
        """The cosine that matters: of all tokens where the head reads them all, else of [CLS]."""
        return "cls_cosine" if self.token_cosine is None else "token_cosine"


class Distances(Part):
    """Distances of all mapped layers, by student layer, before and after training."""

    before: dict[int, LayerDistance]
    after: dict[int, LayerDistance]


class PlannedStage(Part):
    """A stage as its schedule planned it."""

    name: str
    losses: dict[str, float] = Field(description="weight by loss")
    pairs: dict[int, int] = Field(description="teacher layer by student layer")
    epochs: float | None = Field(description="length; null where `steps` has it")
    steps: int | None = Field(description="length in optimiser steps; null where `epochs` has it")
    threshold: float | None = Field(description="cosine loss below which the stage ends")
    is_internal: bool


class TrainedEpoch(Part):
    """Losses and scores of one epoch."""

    epoch: float = Field(description="epochs of the stage so far")
    steps: int = Field(description="optimiser steps of the stage so far")
    losses: dict[str, float] = Field(description="mean over the epoch; `cls_cosine/2` is that of student layer 2")
    scores: dict[str, float] | None = Field(None, description="metrics on the selection split")


class TrainedStage(Part):
    """What happened in a stage."""

    stage: PlannedStage
    ended: str = Field(description="why the stage ended")
    steps: int = Field(description="optimiser steps")
    seconds: float = Field(description="wall time")
    cpu_seconds: float = Field(description="CPU time of the first process")
    learned: bool | None = Field(None, description="whether any parameter changed; older runs lack it")
    learning_rate: float | None = Field(None, description="highest of a step; older runs lack it")
    thirds: list[float] | None = Field(None, description="mean loss of the first and last third; older runs lack it")
    distances: dict[str, dict[int, LayerDistance]] | None = Field(
        None,
        description="at its end, on selection, by `teacher` and `internal_teacher` and by student layer; older runs "
        "lack them",
    )
    epochs: list[TrainedEpoch]


class ClassScores(Part):
    """Scores of a model on the examples of one class."""

    precision: float
    recall: float
    rows: int = Field(description="examples with this label")


class Difference(Part):
    """A score less another one on the same examples."""

    difference: float = Field(description="in the units of the primary metric")
    standard_error: float = Field(description="standard error over examples; seeds are not covered")
    different: int = Field(description="examples that the two answer differently")

    @property
    def paired(self) -> PairedDifference:
        """The same with the questions that can be asked of it."""
        return PairedDifference(self.difference, self.standard_error, self.different)


class Scores(Part):
    """Scores of one model on one split. The metrics stand beside the fields; `values` has them by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)

    metric: str = Field(description="name of the primary metric")
    rows: int = Field(description="labelled examples")
    constant: float = Field(description="primary score of the constant answer that is best on train")
    best_constant: float | None = Field(None, description="that of the best one on these examples; older runs lack it")
    above_constant: Difference | None = Field(None, description="less the constant answer; older runs lack it")
    standard_error: float = Field(description="standard error of the primary score over examples")
    lower_is_better: tuple[str, ...] | None = Field(
        None, description="metrics of errors, where the user's own are among them"
    )
    calibration_error: float | None = Field(None, description="expected calibration error, 0 to 1")
    collapsed: bool | None = Field(None, description="whether the model predicts one class for all examples")
    per_class: dict[str, ClassScores] | None = None

    @model_validator(mode="after")
    def _has_its_primary_metric(self) -> Self:
        if self.metric not in self.values:
            raise ValueError(f"the metric {shorten_value(self.metric)} has no score")
        return self

    @property
    def values(self) -> dict[str, float]:
        """Metrics by name."""
        return self.__pydantic_extra__

    @property
    def is_agreement(self) -> bool:
        """Whether the examples have no labels, so that the score is the agreement with the teacher."""
        return self.metric in AGREEMENT_METRICS

    @property
    def primary(self) -> float:
        """Score in the primary metric."""
        return self.values[self.metric]

    @property
    def beats_constant(self) -> bool:
        """Whether the model beats the constant answer by more than two standard errors of the paired difference.

        For older runs, which do not have it, by more than two standard errors of the model's own score.
        """
        if self.above_constant is None:
            return self.primary - self.constant > STANDARD_ERRORS * self.standard_error
        return self.above_constant.paired.is_clearly_positive


class SplitScores(Part):
    """Scores of the models on one split."""

    student: Scores
    teacher: Scores | None = None
    untrained: Scores | None = Field(None, description="the student before training, where it has no new head")


class RunRecord(Part):
    """What a run was asked for, what happened, and what came out."""

    schema_version: int = SCHEMA_VERSION
    recipe: Recipe
    versions: dict[str, str] = Field(description="of Python and of the packages that the numbers depend on")
    machine: str = Field(description="operating system, CPU or GPU, threads")
    git_revision: str | None = Field(description="of innerdistill's repository; null for an installed package")
    extensions: dict[str, str] = Field(default_factory=dict, description="versions of the extensions used, by name")
    data: DataRecord
    teacher: TeacherRecord | None = Field(description="null for a fine-tuning")
    internal_teacher: TeacherRecord | None = Field(
        None, description="the model that the internal losses learned from, where it is not the teacher"
    )
    student: StudentRecord
    layer_map: dict[int, int] = Field(description="teacher layer by student layer")
    stages: list[TrainedStage]
    scores: dict[str, SplitScores] = Field(description="by split")
    agreement: dict[str, dict[str, int | float]] = Field(
        description="of student and teacher, by split: numbers by name, as the problem type has them"
    )
    differences: dict[str, Difference] | None = Field(
        None, description="the student's score less the teacher's, by split; older runs lack it"
    )
    untrained_agreement: dict[str, dict[str, int | float]] | None = Field(
        None, description="as `agreement`, of the student before training, where it has no new head"
    )
    above_untrained: dict[str, Difference] | None = Field(
        None, description="the student's score less that of the student before training, by split"
    )
    speed: Speed
    onnx: OnnxRecord | None = None
    warnings: list[str] = Field(description="what a reader of the scores has to know first")
    distances: Distances | None = Field(None, description="from the fine-tuned teacher")
    internal_distances: Distances | None = Field(None, description="from `internal_teacher`, if there is one")
    finished: str | None = Field(None, description="date and time (UTC) of the evaluation; older runs lack it")
    seconds: float | None = Field(None, description="wall time, at least that of all stages; older runs lack it")

    @model_validator(mode="after")
    def _has_validation_scores(self) -> Self:
        if "validation" not in self.scores:
            raise ValueError("scores has no split 'validation'")
        return self

    @property
    def problem_type(self) -> ProblemType:
        """What the models of the run put out."""
        return PROBLEM_TYPES[self.data.problem_type]

    @property
    def is_against_teacher(self) -> bool:
        """Whether validation has no labels, so that its scores are agreement with the teacher."""
        return self.data.metric in AGREEMENT_METRICS

    @property
    def page_parts(self) -> frozenset[PagePart]:
        """Parts of its report that only some runs have; those of problem types all need labels."""
        return frozenset() if self.is_against_teacher else self.problem_type.wording.page_parts

    def get_metric(self, split: str) -> str:
        """Get the primary metric on a split.

        Args:
            split: name of the split.

        Returns:
            Its name; that of validation for a split without scores.
        """
        return self.scores[split].student.metric if split in self.scores else self.data.metric

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def times_onnx_with_models(self) -> bool:
        """Whether the ONNX files were timed in the same measurement as the models."""
        return self.onnx is not None and self.onnx.files["model"].latency_ms == self.speed.student.latency_ms

    def get_agreement(self, split: str) -> float:
        """Get the main number on the agreement of student and teacher, as the problem type has it.

        Args:
            split: name of the split.

        Returns:
            A share of examples or a correlation; 1 for models that predict the same.
        """
        return self.agreement[split][self.problem_type.predictions.agreement]


def parse_record(content: Any, *, where: str) -> RunRecord:
    """Check the content of a run.json.

    Args:
        content: parsed JSON, of today's format or of an earlier one.
        where: path of the file, for the error message.

    Returns:
        The record.

    Raises:
        ValueError: not a record of a run, not all of one, or one of a later format.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where}: this is not the record of a run.")
    if isinstance(version := content.get("schema_version", 0), int) and version > SCHEMA_VERSION:
        raise ValueError(
            f"{where}: a later innerdistill wrote this record (schema_version {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update innerdistill."
        )
    try:
        return RunRecord.model_validate(translate_old_record(content))
    except ValidationError as error:
        first = error.errors()[0]
        key = shorten_value(".".join(str(part) for part in first["loc"]))[1:-1]
        message = first["msg"].removeprefix("Value error, ")
        problem = f"{key}{': ' * bool(key)}{message[0].lower()}{message[1:]}"
        raise ValueError(f"{where}: this is not the record of a run, or not all of it ({problem}).") from None


def translate_old_record(content: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a record of an earlier format into today's.

    Renamed keys belong here, each under the format that had the old name. Added keys need no translation if they have a
    default. `translate_old_values` knows renamed values of the recipe.

    Args:
        content: parsed run.json, of today's format or of an earlier one.

    Returns:
        The same content in today's format, not yet validated.
    """
    content = dict(content)
    if "schema_version" not in content:  # the first format
        content["schema_version"] = 1
        teacher = content.get("teacher")
        if isinstance(teacher, dict) and isinstance(teacher.get("targets"), dict):
            targets = {"cached" if name == "kept" else name: value for name, value in teacher["targets"].items()}
            content["teacher"] = {**teacher, "targets": targets}
        data = content.get("data")
        if isinstance(data, dict) and "names" in data:
            content["data"] = {**data, "problem_type": name_problem_type(data)}
        if isinstance(content.get("recipe"), dict):
            content["recipe"] = translate_old_values(content["recipe"])
    return content
