"""The recipe: everything that defines a run, checked once, then never changed.

A recipe is a YAML file plus `key=value` overrides (`schedule.name=pid`). Pydantic checks names, types and ranges;
what comes out as an error is one sentence that names the key.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_TEXT = 4_096  # characters of a name or a path
MAX_PART = 255  # bytes of what stands between two slashes: more than that, no file system knows


def _one_line(text: str) -> str:
    """A name or a path must be able to stand in a sentence, and in a file."""
    if not 0 < len(text) <= MAX_TEXT or any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    ):
        raise ValueError(f"expected a line of 1 to {MAX_TEXT:,} characters")
    return text


def _of_parts(path: str) -> str:
    if any(len(part.encode()) > MAX_PART for part in re.split(f"[/{re.escape(os.sep)}]", path)):
        raise ValueError(f"expected a path whose parts are at most {MAX_PART} bytes long")
    return path


def _label_names(value: Any) -> Any:
    """A label written `0` in YAML is the label "0" of a CSV file."""
    if not isinstance(value, list | tuple):
        return value
    if any(isinstance(label, bool) for label in value):
        raise ValueError('true and false without quotes are truth values in YAML: put them in quotes, "true"')
    return [str(label) for label in value]


Text = Annotated[str, AfterValidator(_one_line)]
Place = Annotated[Text, AfterValidator(_of_parts)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Columns = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Labels = Annotated[tuple[Text, ...], BeforeValidator(_label_names)]
DEFAULT_LOSSES = {"attention_kl": 1.0, "cls_cosine": 1.0, "soft_labels": 1.0, "gold_labels": 0.0}
# A weight that is not mentioned keeps its default, so that `losses.gold_labels=1` adds gold labels to the rest.
Losses = Annotated[
    dict[str, Weight], BeforeValidator(lambda value: {**DEFAULT_LOSSES, **value} if isinstance(value, dict) else value)
]
LayerChoice = Literal["uniform", "first", "last"] | tuple[int, ...]


class Section(BaseModel):
    """Part of a recipe: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(Section):
    """Where the examples are and what their columns mean."""

    task: Text | None = Field(None, description="a name of TASKS: its file names, columns, labels and metric")
    path: Place | None = Field(None, description="folder of the task's files; or a `datasets` name or saved folder")
    subset: Text | None = Field(None, description="configuration name of a `datasets` data set")
    train: Place | None = Field(None, description="CSV, TSV, JSON lines or Parquet file; or a split name")
    validation: Place | None = Field(None, description="as train; without it a tenth of train is set apart")
    test: Place | None = Field(None, description="as train; its labels may be missing")
    unlabelled: Place | None = Field(None, description="as train, without labels: the teacher labels these rows")
    text: Columns = Field((), max_length=2, description="one text column, or two for sentence pairs")
    label: Text | None = Field(None, description="label column (default: `label`)")
    labels: Labels | None = Field(None, min_length=2, description="label names in the order of their ids")
    metric: Text | None = Field(
        None, description="primary (default: the task's, or accuracy); pearson, spearman: regression"
    )
    max_length: int | None = Field(None, ge=8, description="tokens per example (default: what the model takes)")
    train_rows: int | None = Field(None, ge=2, description="use this many training rows (stratified, fixed)")
    drop_overlap: bool | None = Field(None, description="leave out scored rows that share a text with train")
    note: Text | None = Field(None, description="what a reader has to know, said under the scores of its reports")


class TeacherRecipe(Section):
    """The fine-tuned teacher, or the pre-trained model to make it from."""

    path: Place | None = Field(None, description="a fine-tuned classifier: folder or name")
    base: Place | None = Field(None, description="a pre-trained model, fine-tuned once and kept by fingerprint")
    epochs: float = Field(3, gt=0, allow_inf_nan=False, description="fine-tuning epochs when `base` is given")
    seed: int = Field(1, ge=0, lt=2**31, description="of its fine-tuning")
    trainer: dict[str, Any] = Field(default_factory=dict, description="overrides of `trainer` for the teacher")
    folder: Place = Field("runs/teachers", description="where fine-tuned teachers and their kept targets are")
    targets: Literal["auto", "cache", "live"] = Field(
        "auto",
        description="keep its answers on disk, those to the rows that are scored too, or run it every time; auto keeps "
        "what fits and pays",
    )
    targets_gigabytes: float = Field(4, ge=0, allow_inf_nan=False, description="budget of auto, on disk")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="where it runs in a step; auto: bfloat16 where the processor or GPU has it"
    )


class StudentRecipe(Section):
    """What the student is made from."""

    num_layers: int | None = Field(None, ge=1, description="default: half of the teacher's")
    source: Place = Field("teacher", description="teacher, base, random, or another checkpoint (folder or name)")
    layers: LayerChoice = Field("uniform", description="which layers of the source are copied (1-based)")
    head: Literal["seed", "teacher"] = Field("seed", description="head and pooler: random, or the teacher's")


class ScheduleRecipe(Section):
    """In which order the losses are optimised, and for how long."""

    name: Text = Field("sid", description="a name of SCHEDULES")
    epochs_per_layer: float = Field(3, gt=0, allow_inf_nan=False, description="for each mapped layer, internal")
    classification_epochs: float = Field(3, gt=0, allow_inf_nan=False, description="of the last stage")
    total_steps: int | None = Field(None, ge=2, description="instead of epochs; half of it internal")
    threshold: float | None = Field(None, gt=0, lt=2, description="move up below this mean CLS cosine loss")
    classification_always: bool = Field(False, description="classification losses in every stage")


class Recipe(Section):
    """A whole run. Every field has the paper's setting as its default where the paper has one."""

    data: DataRecipe = DataRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    student: StudentRecipe = StudentRecipe()
    layer_map: LayerChoice | dict[int, int] = Field(
        "uniform", description="teacher layer of each student layer: a list, or student: teacher"
    )
    losses: Losses = Field(default_factory=lambda: dict(DEFAULT_LOSSES), description="loss: weight; 0 is off")
    temperature: float = Field(1.0, gt=0, le=100, description="of the soft labels")
    schedule: ScheduleRecipe = ScheduleRecipe()
    trainer: dict[str, Any] = Field(default_factory=dict, description="keys of `transformers.TrainingArguments`")
    internal_trainer: dict[str, Any] = Field(default_factory=dict, description="the same, internal stages only")
    group_by_length: bool = Field(True, description="batches of similar lengths, in a random order")
    pad_to_max_length: bool = Field(False, description="pad every batch to `data.max_length`, as scripts of 2019 did")
    checkpoint: Literal["last", "best"] = Field("last", description="best on `selection`, where a stage classifies")
    checkpoint_minutes: float = Field(
        5, ge=0, allow_inf_nan=False, description="between two checkpoints that a stopped run goes on from"
    )
    onnx: bool = Field(False, description="also write ONNX files, of 32 and of 8 bits, scored and timed for the report")
    baseline: bool = Field(False, description="also fine-tune the same student plainly, for the report")
    seed: int = Field(1, ge=0, lt=2**31, description="of the student, the order of the rows and dropout")
    output: Place = Field("runs/run", description="folder of the run")
    overwrite: bool = Field(False, description="replace the run in `output`; an unfinished one of this recipe goes on")
