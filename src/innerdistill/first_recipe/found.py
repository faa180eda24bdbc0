"""Found: what was found in a file and a model, and the sentences that say so on the terminal and in the recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from innerdistill.data.formats import CONLL
from innerdistill.data.task_data import HELD_OUT, MOST_HELD_OUT
from innerdistill.first_recipe.columns import (
    Choice,
    choose_label,
    choose_text,
    describe_choice,
    refuse_missing_header,
)
from innerdistill.first_recipe.labels import Labels, examine_labels
from innerdistill.first_recipe.lengths import Lengths, measure_lengths
from innerdistill.first_recipe.model import Model, load_reader, read_model
from innerdistill.first_recipe.request import Request
from innerdistill.first_recipe.sample import Sample
from innerdistill.first_recipe.tagged import choose_tagged, refuse_words
from innerdistill.first_recipe.tags import examine_tags
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.support.messages import format_count, join_names, shorten_value

FEW_TEXTS = 30  # of fewer, a tenth is one or two
FORMATS = {
    **{".csv": "CSV", ".tsv": "TSV", ".parquet": "Parquet", ".conllu": "CoNLL-U"},
    **dict.fromkeys(CONLL, "CoNLL"),
}  # all others are JSON lines


@dataclass(frozen=True)
class Found:
    """What was found in a file and a model.

    Attributes:
        sample: first rows of the file.
        model: teacher or base model.
        problem_type: problem type of the labels, or of the teacher.
        label: label column; None if there is none, so that the teacher labels the texts.
        text: text columns.
        labels: what the label column holds; None if there is none.
        lengths: tokens of the texts; None if there are no texts.
        files: further files by split: validation, test, unlabelled.
    """

    sample: Sample
    model: Model
    problem_type: ProblemType
    label: Choice | None
    text: Choice
    labels: Labels | None
    lengths: Lengths | None
    files: dict[str, str]

    def describe_file(self) -> str:
        """Format, rows and columns of the file."""
        suffix = FORMATS.get(Path(self.sample.path).suffix.lower(), "JSON lines")
        judged = "" if self.sample.is_whole else "judged by "
        return f"{suffix}, {judged}{self.sample.describe_rows()}. Columns: {self.sample.name_columns()}."

    def describe_label(self) -> str:
        """The label column, and why it is that one."""
        if self.label is None:
            return "No column looks like labels: the teacher labels the texts, and scores are agreement with it."
        return describe_choice("Label", self.label)

    def describe_model(self) -> str:
        """Layers of the model, and its outputs."""
        layers = format_count(self.model.num_layers, "layer")
        if self.model.problem_type is None:
            return f"A pre-trained model with {layers}. It is fine-tuned first, as the teacher."
        outputs = "It predicts scores."
        if not self.model.predicts_scores:
            noun = "tags" if self.model.predicts_tags else "classes"
            outputs = f"It predicts {len(self.model.outputs)} {noun}: {join_names(self.model.outputs)}."
        return f"A fine-tuned model with {layers}. {outputs}"

    def describe_held_out(self) -> str:
        """Which parts of the training file are held out."""
        if "validation" in self.files:
            return "A tenth of the training file is held out, to choose settings by (selection)."
        return (
            "A tenth of the training file is held out to compute scores on (validation), and another one to choose "
            "settings by (selection)."
        )

    def count_train(self) -> int | None:
        """Number of training examples that are left when others are held out; None if the file is longer."""
        if not self.sample.is_whole:
            return None
        rows = self.sample.num_rows
        for _ in range(1 if "validation" in self.files else 2):
            rows -= min(round(HELD_OUT * rows), MOST_HELD_OUT)
        return rows

    def list_warnings(self) -> list[str]:
        """Sentences on what the user should look at."""
        warnings = [] if self.labels is None else list(self.labels.warnings)
        different = len(set(zip(*(column.labels for column in self.text.columns), strict=True)))
        if different < FEW_TEXTS:  # rows of equal text stay together when a tenth is held out
            warnings.append(
                f"Only {format_count(different, 'different text')}: too few to train and to score a student."
            )
        for column in self.text.columns:
            missing = sum(value is None for value in column.values)
            if missing:
                name, rows = shorten_value(column.name), self.sample.describe_rows()
                warnings.append(f"{missing:,} of {rows} have no text in {name}. Remove them before training.")
        return warnings


def examine(sample: Sample, request: Request) -> Found:
    """Look at a file and a model.

    Args:
        sample: first rows of the data file.
        request: what the user says.

    Returns:
        What was found.

    Raises:
        ValueError: a file and a model that do not fit together.
    """
    model = read_model(request)
    tagged = _choose_tagged(sample, request, model)
    text, label = tagged or _choose_plain(sample, request, model)
    column = None if label is None else label.columns[0]
    refuse_missing_header(sample, [*([] if column is None else [column]), *text.columns])
    if column is None:
        labels = None
    elif tagged is None:
        labels = examine_labels(sample, column, model)
    else:
        labels = examine_tags(sample, text.columns[0], column, model)
    problem_type = model.problem_type if labels is None else labels.problem_type
    assert problem_type is not None  # without labels there is a teacher
    if problem_type.examples.reads_words:
        text = replace(text, columns=tuple(each.join_words() for each in text.columns))
    tokenizer, limit = load_reader(model, texts=len(text.columns))
    lengths = measure_lengths(text.columns, tokenizer, limit=limit, has_windows=problem_type.examples.has_windows)
    return Found(sample, model, problem_type, label, text, labels, lengths, dict(request.files))


def _choose_tagged(sample: Sample, request: Request, model: Model) -> tuple[Choice, Choice | None] | None:
    if model.problem_type is not None and not model.predicts_tags:
        return None
    return choose_tagged(sample, request.text, request.label, outputs=model.own_names, is_known=model.predicts_tags)


def _choose_plain(sample: Sample, request: Request, model: Model) -> tuple[Choice, Choice | None]:
    refuse_words(sample, model.problem_type, model.name)
    needed = model.problem_type is None  # a fine-tuned teacher can label the texts
    label = choose_label(sample, request.label, outputs=model.own_names, scores=model.predicts_scores, needed=needed)
    return choose_text(sample, request.text, label=None if label is None else label.columns[0]), label
