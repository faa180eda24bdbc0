"""Tasks: what the columns of a data set mean and how its predictions are scored.

Adding a task is one entry in TASKS. Source of the layouts: the GLUE benchmark's own files (Wang et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from innerdistill.data.conll import TAGS, TOKENS
from innerdistill.data.formats import CONLL_SUFFIXES
from innerdistill.data.given_columns import GivenColumns, find_given_columns
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import suggest_name

SCORE = "score"  # label column of pairs, where the recipe names none
TOKEN_IDS = "input_ids"  # noqa: S105 - a text column of this name holds token ids


@dataclass(frozen=True)
class Task:
    """Columns, labels and metric of a data set.

    Attributes:
        text: one text column, or two for sentence pairs.
        label: label column.
        label_columns: several label columns of 0 and 1 in place of one; none in most tasks.
        separator: what separates labels that are one text.
        labels: class names in the order of their ids; None means those of the training data, sorted.
        metric: primary metric, a name of METRICS.
        files: file names by split, inside the task's folder.
        names: column names by split, for files that have no header line.
        drop_overlap: score only validation rows that share no text with the training rows.
        group: column whose equal values mark examples that belong together; None if each stands for itself. It changes
            no example, so it is no part of what the fingerprint of the data reads. Nor are label_columns, separator,
            given and pairs: the fingerprint reads the labels, outputs and texts themselves.
        given: columns with the outputs of another model, which take the teacher's place; None if there are none.
        pairs: columns of the pairs of texts in splits that are scored by their similarity; none in most tasks.
    """

    text: tuple[str, ...]
    label: str = "label"
    labels: tuple[str, ...] | None = None
    metric: str = "accuracy"
    files: tuple[tuple[str, str], ...] = (("train", "train.tsv"), ("validation", "dev.tsv"), ("test", "test.tsv"))
    names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    drop_overlap: bool = False
    group: str | None = field(default=None, repr=False)
    label_columns: tuple[str, ...] = field(default=(), repr=False)
    separator: str = field(default=",", repr=False)
    given: GivenColumns | None = field(default=None, repr=False)
    pairs: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_tokenised(self) -> bool:
        """Whether examples are token ids already."""
        return self.text == (TOKEN_IDS,)

    def get_header(self, split: str) -> tuple[str, ...] | None:
        """Get the column names of a split whose file has no header line.

        Args:
            split: name of the split; a selection split of the user's own is laid out as train is.

        Returns:
            Names in the order of the columns; None for a file with a header line.
        """
        return dict(self.names).get("train" if split == "selection" else split)


def resolve_task(recipe: DataRecipe) -> Task:
    """Find the task that a recipe describes: an entry of TASKS, with the recipe's own values in place of its own.

    Args:
        recipe: the `data` section of a recipe.

    Returns:
        The complete task.

    Raises:
        ValueError: unknown task, a task of the user's own without text columns, or columns of outputs that do not fit.
    """
    if recipe.task is not None and recipe.task not in TASKS:
        hint = suggest_name(recipe.task, TASKS, kind="tasks")
        raise ValueError(f"data.task: unknown task {recipe.task!r}. {hint}")
    task = TASKS[recipe.task] if recipe.task else Task(text=())
    given = {
        name: getattr(recipe, name) for name in ("label", "labels", "metric", "drop_overlap", "group", "separator")
    }
    if isinstance(recipe.label, tuple):
        given |= {"label": ", ".join(recipe.label), "label_columns": recipe.label}
    task = replace(task, **{name: value for name, value in given.items() if value is not None})
    if recipe.pairs:
        task = replace(task, pairs=recipe.pairs, label=task.label if recipe.label else SCORE)
    if recipe.text:
        task = replace(task, text=recipe.text)
    if not task.text and Path(recipe.train or "").suffix.lower() in CONLL_SUFFIXES:
        task = replace(task, text=(TOKENS,), label=task.label if recipe.label else TAGS)
    if not task.text:
        raise ValueError(
            "data.text: name the text column (or two columns, for pairs), for example data.text=sentence; "
            "or name a known task with data.task."
        )
    return replace(task, given=find_given_columns(recipe, task.labels or task.label_columns or None))


_COLA = ("source", "label", "star", "sentence")
_MNLI_DEV = (("train", "train.tsv"), ("validation", "dev_matched.tsv"), ("test", "test_matched.tsv"))
_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")

TASKS: dict[str, Task] = {
    "cola": Task(
        ("sentence",),
        labels=("unacceptable", "acceptable"),
        metric="mcc",
        names=(("train", _COLA), ("validation", _COLA)),
    ),
    "sst2": Task(("sentence",), labels=("negative", "positive")),
    "mrpc": Task(("#1 String", "#2 String"), label="Quality", labels=("not_equivalent", "equivalent"), metric="f1"),
    "qqp": Task(
        ("question1", "question2"),
        label="is_duplicate",
        labels=("not_duplicate", "duplicate"),
        metric="f1",
        drop_overlap=True,
    ),
    "stsb": Task(_PAIR, label="score", metric="pearson"),
    "mnli": Task(_PAIR, label="gold_label", labels=("entailment", "neutral", "contradiction"), files=_MNLI_DEV),
    "qnli": Task(("question", "sentence"), labels=_ENTAILMENT),
    "rte": Task(_PAIR, labels=_ENTAILMENT),
    "wnli": Task(_PAIR, labels=("not_entailment", "entailment")),
}
