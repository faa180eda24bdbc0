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

IN_MEMORY = "<in memory>"  # stands where a run was given a Python object
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
    if isinstance(value, str):
        raise ValueError(f"expected a list of label names, got {value!r}; data.label names the column")
    if not isinstance(value, list | tuple):
        return value
    if any(isinstance(label, bool) for label in value):
        raise ValueError('true and false without quotes are truth values in YAML: put them in quotes, "true"')
    return [str(label) for label in value]


def _columns_by_label(value: Any) -> Any:
    """The keys of a mapping are label names, with the rules of `_label_names`."""
    if not isinstance(value, dict):
        return value
    return dict(zip(_label_names(list(value)), value.values(), strict=True))


Text = Annotated[str, AfterValidator(_one_line)]
Place = Annotated[Text, AfterValidator(_of_parts)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Columns = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
LabelColumns = Annotated[tuple[Text, ...], Field(min_length=2)]
Labels = Annotated[tuple[Text, ...], BeforeValidator(_label_names)]
ColumnsByLabel = Annotated[Text | dict[Text, Text], BeforeValidator(_columns_by_label)]
DEFAULT_LOSSES = {"attention_kl": 1.0, "cls_cosine": 1.0, "soft_labels": 1.0, "gold_labels": 0.0}
# A weight that is not mentioned keeps its default, so that `losses.gold_labels=1` adds gold labels to the rest.
Losses = Annotated[
    dict[str, Weight], BeforeValidator(lambda value: {**DEFAULT_LOSSES, **value} if isinstance(value, dict) else value)
]
LayerChoice = Literal["uniform", "first", "last"] | tuple[int, ...]


class Section(BaseModel):
    """Part of a recipe: frozen, and without keys that nobody knows.

    Defaults are validated too: a default of 3 epochs is the number 3.0 that recipe.yaml holds and a cache hashes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DataRecipe(Section):
    """Where the examples are and what their columns mean."""

    task: Text | None = Field(None, description="Known task: sets file names, columns, labels and metric.")
    path: Place | None = Field(
        None, description="Folder of the task's files, or a `datasets` data set (name or saved folder)."
    )
    subset: Text | None = Field(None, description="Configuration name of the `datasets` data set.")
    train: Place | None = Field(None, description="Training file (CSV, TSV, JSON lines, Parquet, CoNLL) or split name.")
    validation: Place | None = Field(
        None,
        description="Validation file or split name. Without it a tenth of train is held out. For sentence similarity "
        "also a folder of queries and documents, as BEIR has them, or its file of `qrels`.",
    )
    selection: Place | None = Field(
        None,
        description="File or split name of the selection split, which checkpoints and settings are chosen on. Without "
        "it a tenth of train is held out. With `checkpoint: last`, an epoch scores at most an eighth as many "
        "examples as train has, or 200.",
    )
    test: Place | None = Field(None, description="Test file or split name. Labels are optional.")
    unlabelled: Place | None = Field(
        None, description="File or split of texts without labels; the teacher labels them."
    )
    text: Columns = Field(
        (),
        max_length=3,
        description="Text column; two columns for sentence pairs. For token classification it may hold lists of words. "
        "`input_ids` holds token ids, from the teacher's tokenizer. For sentence similarity, the texts of a pair are "
        "embedded apart; a third column may hold negative texts. For text ranking: queries and documents.",
    )
    pairs: tuple[Text, ...] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Two text columns of validation, selection and test, for sentence similarity: the similarity of "
        "their embeddings is scored. Files without these columns are read as texts, from `data.text`.",
    )
    label: Text | LabelColumns | None = Field(
        None,
        description="Label column (default: `label`; with `data.pairs`, `score`). For multi-label classification also "
        "several columns of 0 and 1, whose names are the labels. For token classification lists of tags, or of spans "
        "with `start`, `end` and `label`. For text ranking numbers from 0 to 100, or lists of them.",
    )
    labels: Labels | None = Field(None, min_length=2, description="Label names in the order of their ids.")
    probabilities: ColumnsByLabel | None = Field(
        None,
        description="Column by label that holds its probability, computed elsewhere, such as `{neg: p_neg, pos: "
        "p_pos}`. These take the teacher's place. Or one column of lists, in the order of `data.labels`.",
    )
    logits: ColumnsByLabel | None = Field(
        None, description="As `data.probabilities`, with logits in place of probabilities."
    )
    problem_type: Text | None = Field(
        None,
        description="Kind of problem: `single_label_classification`, `multi_label_classification`, "
        "`token_classification`, `regression`, `sentence_similarity` or `text_ranking`. By default it follows from "
        "metric, teacher, texts and labels.",
    )
    separator: Text = Field(",", description="What separates the labels of an example, where they are one text.")
    thresholds: Literal["shared", "per label", "half"] = Field(
        "shared",
        description="Probability from which a label of multi-label classification is predicted: the best one on the "
        "selection split, `shared` by all labels or `per label`; or `half`, 0.5.",
    )
    metric: Text | None = Field(
        None,
        description="Primary metric (default: the task's, or that of the problem type, such as accuracy). `pearson` "
        "and `spearman` are for regression and sentence similarity, `ndcg_at_10` and `mrr_at_10` for text ranking. "
        "With queries and documents, these two, `recall_at_10` and `recall_at_100` are for sentence similarity.",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="Tokens per example, at most (default: the model's limit). For token classification, longer texts "
        "are read in windows.",
    )
    train_rows: int | None = Field(
        None,
        ge=2,
        description="Number of training examples to use; the same ones in every run, stratified by label. "
        "A selection split that is held out of train is reduced to a tenth of it, or to 200.",
    )
    drop_overlap: bool | None = Field(None, description="Drop evaluation examples whose text is in train too.")
    group: Text | None = Field(
        None,
        description="Column whose equal values mark examples that belong together, such as the questions on one text. "
        "They count as one in every interval and test, and stay together where a split is held out of train.",
    )
    note: Text | None = Field(None, description="Note on the data that reports show under the scores.")

    @property
    def outputs_key(self) -> str | None:
        """Key that names columns with the outputs of another model; None if the recipe has a teacher."""
        keys = {"data.probabilities": self.probabilities, "data.logits": self.logits}
        return next((key for key, value in keys.items() if value is not None), None)


class TeacherRecipe(Section):
    """The fine-tuned teacher, or the pre-trained model to make it from."""

    path: Place | None = Field(None, description="Fine-tuned model: folder or name.")
    base: Place | None = Field(None, description="Pre-trained model to fine-tune. The result is cached by fingerprint.")
    pooling: Text | None = Field(
        None,
        description="How one embedding is made of those of the tokens, for sentence similarity with an encoder without "
        "`modules.json`: `mean`, `cls`, `max`, `mean_sqrt_len_tokens`, `weightedmean` or `lasttoken`.",
    )
    epochs: float = Field(3, gt=0, allow_inf_nan=False, description="Epochs of the teacher's fine-tuning.")
    seed: int = Field(1, ge=0, lt=2**31, description="Random seed of the teacher's fine-tuning.")
    trainer: dict[str, Any] = Field(
        default_factory=dict, description="Keys that override `trainer` in the teacher's fine-tuning."
    )
    internal: Place = Field(
        "teacher",
        description="Model that the internal losses learn from: the `teacher`, its `base` before fine-tuning, or a "
        "checkpoint (folder or name). Soft labels always come from the teacher.",
    )
    allow_weak: bool = Field(
        False, description="Distil even from a teacher that predicts one class or is worse than a constant answer."
    )
    folder: Place = Field("runs/teachers", description="Folder of the cache: fine-tuned teachers and their outputs.")
    targets: Literal["auto", "cache", "live"] = Field(
        "auto",
        description="Where teacher outputs come from. `cache`: computed once and stored on disk. `live`: computed at "
        "every step. `auto`: cached if they fit the budget and save time.",
    )
    targets_gigabytes: float = Field(4, ge=0, allow_inf_nan=False, description="Disk budget of `targets: auto` in GB.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format of a live teacher. `auto`: bfloat16 if the CPU or GPU supports it."
    )

    def find_internal(self) -> str | None:
        """Find the model that the internal losses learn from.

        Returns:
            Its folder or name; None if it is the teacher itself.
        """
        if self.internal == "base":
            return self.base
        return None if self.internal == "teacher" else self.internal


class StudentRecipe(Section):
    """What the student is made from."""

    num_layers: int | None = Field(
        None,
        ge=1,
        description="Layers of the student (default: half of the teacher's; without a teacher, all of the source's).",
    )
    source: Place = Field(
        "teacher", description="Initial weights: `teacher`, `base`, `random`, or a checkpoint (folder or name)."
    )
    layers: LayerChoice = Field("uniform", description="Layers copied from the source, counted from 1.")
    head: Literal["seed", "teacher"] = Field(
        "seed",
        description="Initial head and pooler: random (`seed`) or the teacher's. The modules of a sentence encoder are "
        "the teacher's in any case.",
    )
    dropout: bool = Field(True, description="Whether the student is trained with the dropout of its configuration.")


class ScheduleRecipe(Section):
    """In which order the losses are optimised, and for how long."""

    name: Text = Field("sid", description="Schedule: which losses are trained in which order.")
    epochs_per_layer: float = Field(
        3, gt=0, allow_inf_nan=False, description="Epochs of the internal stages, per mapped layer."
    )
    classification_epochs: float = Field(
        3, gt=0, allow_inf_nan=False, description="Epochs of the classification stage."
    )
    total_steps: int | None = Field(
        None, ge=2, description="Optimiser steps instead of epochs; half of them for internal stages."
    )
    threshold: float | None = Field(
        None, gt=0, lt=2, description="Mean cosine loss of the top layer below which an internal stage ends early."
    )
    classification_always: bool = Field(False, description="Use the classification losses in every stage.")


class Recipe(Section):
    """A whole run. Every field has the paper's setting as its default where the paper has one."""

    data: DataRecipe = DataRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    student: StudentRecipe = StudentRecipe()
    layer_map: LayerChoice | dict[int, int] = Field(
        "uniform", description="Teacher layer of each student layer: a list, or a mapping of student to teacher layers."
    )
    losses: Losses = Field(
        default_factory=lambda: dict(DEFAULT_LOSSES),
        description="Weight by loss; 0 turns a loss off. For token classification and sentence similarity, "
        "`token_cosine` has the weight of `cls_cosine`, unless it is named. For sentence similarity, "
        "`embedding_cosine` has that of `soft_labels`, unless it is named.",
    )
    temperature: float = Field(1.0, gt=0, le=100, description="Temperature of the soft labels.")
    schedule: ScheduleRecipe = ScheduleRecipe()
    trainer: dict[str, Any] = Field(
        default_factory=dict, description="Keys of `transformers.TrainingArguments`, such as `learning_rate`."
    )
    internal_trainer: dict[str, Any] = Field(
        default_factory=dict, description="Keys that override `trainer` in internal stages."
    )
    group_by_length: bool = Field(True, description="Batches of similar lengths, in random order.")
    pad_to_max_length: bool = Field(False, description="Pad every batch to `data.max_length`, as scripts of 2019 did.")
    checkpoint: Literal["last", "best"] = Field(
        "last", description="Final weights: the last, or the best on the selection split."
    )
    checkpoint_minutes: float = Field(
        5, ge=0, allow_inf_nan=False, description="Minutes between two checkpoints that a stopped run resumes from."
    )
    onnx: bool = Field(False, description="Also export ONNX files in float32 and int8, with scores and latency.")
    baseline: bool = Field(False, description="Also train the same student without distillation, for comparison.")
    seed: int = Field(1, ge=0, lt=2**31, description="Random seed of the student, the order of examples and dropout.")
    objects: dict[Text, Text] = Field(
        default_factory=dict,
        description="Functions and classes that the run was given from Python: qualified name and hash of the source. "
        "Written by a run.",
    )
    output: Place = Field("runs/run", description="Folder of the run.")
    overwrite: bool = Field(
        False, description="Overwrite the run in `output`. An unfinished run of the same recipe resumes."
    )

    def list_objects(self) -> list[str]:
        """List what the run was given as Python objects, which a file cannot name.

        Returns:
            Dotted keys that say IN_MEMORY, then the names of functions and classes.
        """
        keys = {f"data.{key}": value for key, value in self.data} | {
            f"teacher.{key}": value for key, value in self.teacher
        }
        keys["student.source"] = self.student.source
        return [*(key for key, value in keys.items() if value == IN_MEMORY), *self.objects]
