"""Which column holds the labels, and which one or two the texts: by their names, and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from innerdistill.first_recipe.sample import Column, Sample
from innerdistill.support.messages import shorten_value, suggest_name

# Usual names, the surest ones first. A label column may also end with one, as in `airline_sentiment`.
LABEL_NAMES = (
    *("label", "labels", "gold_label", "gold", "sentiment", "class", "category", "target", "verdict", "intent"),
    *("topic", "polarity", "emotion", "stance", "judgment", "judgement", "duplicate", "quality", "score", "scores"),
    *("similarity", "relatedness", "rating", "ratings", "stars", "grade", "y"),
)
TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "message", "tweet", "document", "utterance", "body")
PAIR_NAMES = (
    *(("premise", "hypothesis"), ("question", "answer"), ("question", "sentence"), ("question", "context")),
    *(("question", "passage"), ("query", "document"), ("query", "passage"), ("claim", "evidence")),
    *(("context", "response"), ("source", "target")),
)
ID_NAMES = re.compile(r"(.*[\W_])?(id|ids|idx|index|uuid|guid|key|url|link|date|time|timestamp)|unnamed: \d+|")
NUMBERED = re.compile(r"(.*?)[\W_]*([12ab])\b(.*)")  # sentence1, sentence_A, #2 String
MOST_CLASSES = 50  # different values of a column that is taken for labels by nothing but their number


@dataclass(frozen=True)
class Choice:
    """Columns that were chosen.

    Attributes:
        columns: one column, or two for pairs of texts.
        reason: why; a few words.
        others: names of columns that it might have been as well.
    """

    columns: tuple[Column, ...]
    reason: str
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)


def choose_label(
    sample: Sample, given: str | None, *, outputs: Collection[str], scores: bool, needed: bool = True
) -> Choice | None:
    """Choose the label column.

    Args:
        sample: first rows of the file.
        given: name of the column; None if it is to be found.
        outputs: names that the teacher gives its outputs; empty if it has none of its own.
        scores: whether the teacher predicts scores.
        needed: whether there must be one; a fine-tuned teacher can label the texts.

    Returns:
        The column; None if none looks like labels and none is needed.

    Raises:
        ValueError: no such column, or none that looks like labels where one is needed; all columns are named.
    """
    if given is not None:
        column = find_column(sample, given, option="--label")
        if not column.counts:
            raise ValueError(f"--label: column {shorten_value(given)} of {sample.path} does not hold labels.")
        return Choice((column,), "as given")
    columns = [column for column in sample.columns.values() if _may_hold_labels(column)]
    if scores:
        columns = [column for column in columns if column.is_numeric]
    known = {name.casefold() for name in outputs}
    fitting = [column for column in columns if {label.casefold() for label in column.counts} <= known]
    named = sorted((column for column in columns if _rank_label(column.name) is not None), key=_sort_by_rank)
    few = [column for column in columns if column.repeats and 2 <= len(column.counts) <= MOST_CLASSES]
    numbers = [column for column in columns if column.has_decimals]
    for candidates, reason in (
        (sorted(fitting, key=lambda column: column not in named), "it holds the teacher's labels"),
        (named, "its name"),
        (sorted(few, key=lambda column: len(column.counts)), "few different values"),
        (numbers, "numbers with decimals"),
    ):
        if candidates:
            others = [column.name for column in candidates[1:]]
            return Choice((candidates[0],), reason, tuple(others))
    refuse_missing_header(sample, list(sample.columns.values()))
    if not needed:
        return None
    kind = "scores" if scores else "labels"
    raise ValueError(
        f"{sample.path}: no column looks like {kind}; name one with --label. Columns: {sample.name_columns()}."
    )


def choose_text(sample: Sample, given: Sequence[str], *, label: Column | None) -> Choice:
    """Choose the text column, or two for pairs.

    Args:
        sample: first rows of the file.
        given: names of the columns; empty if they are to be found.
        label: the label column; None if there is none.

    Returns:
        One column or two.

    Raises:
        ValueError: no such column, or none that holds texts; all columns are named.
    """
    if given:
        columns = [find_column(sample, name, option="--text") for name in given]
        for column in columns:
            if label is not None and column is label:
                raise ValueError(f"--text: {shorten_value(label.name)} is the label column; name another with --label.")
            if not column.texts:
                raise ValueError(f"--text: column {shorten_value(column.name)} of {sample.path} does not hold texts.")
        return Choice(tuple(columns), "as given")
    columns = [column for column in sample.columns.values() if column is not label and _may_hold_texts(column)]
    columns = [column for column in columns if column.is_prose] or columns
    if not columns:
        raise ValueError(
            f"{sample.path}: no column looks like texts; name one with --text. Columns: {sample.name_columns()}."
        )
    if pair := _find_pair(columns):
        return Choice(pair, "pairs of texts, by their names", _name_others(columns, pair))
    if len(columns) == 1:
        return Choice((columns[0],), "the only texts")
    by_name = {column.name.casefold(): column for column in reversed(columns)}
    named = [by_name[name] for name in TEXT_NAMES if name in by_name]
    longest = max(columns, key=lambda column: column.mean_length)
    chosen, reason = (named[0], "its name") if named and named[0] is not longest else (longest, "the longest texts")
    return Choice((chosen,), reason, _name_others(columns, (chosen,)))


def find_column(sample: Sample, name: str, *, option: str) -> Column:
    """Find a column that the user named.

    Args:
        sample: first rows of the file.
        name: name of the column.
        option: option that names it.

    Returns:
        The column.

    Raises:
        ValueError: no such column.
    """
    if name not in sample.columns:
        hint = suggest_name(name, sample.columns, kind="columns")
        raise ValueError(f"{option}: {sample.path} has no column {shorten_value(name)}. {hint}")
    return sample.columns[name]


def refuse_missing_header(sample: Sample, columns: Sequence[Column]) -> None:
    """Refuse a file whose first line is its first row: the name of a column is then one of its values.

    Only CSV and TSV files have such a line.

    Args:
        sample: first rows of the file.
        columns: label and text columns.

    Raises:
        ValueError: the first line holds no names.
    """
    if Path(sample.path).suffix.lower() not in (".csv", ".tsv"):
        return
    for column in columns:
        is_number = column.is_numeric and re.fullmatch(r"-?\d+(\.\d+)?", column.name) is not None
        if is_number or column.name in column.counts:
            raise ValueError(
                f"{sample.path}: its first line holds values ({shorten_value(column.name)}), not names of columns; "
                "write a line of names above it, such as text and label."
            )


def describe_column_counts(column: Column, *, most: int = 10) -> str:
    """Describe the classes of a label column with their numbers of examples, the most frequent one first.

    Args:
        column: the label column.
        most: number of classes that are named.

    Returns:
        Such as `negative (1,200), positive (1,200)`.
    """
    shown = [f"{shorten_value(name)[1:-1]} ({count:,})" for name, count in list(column.counts.items())[:most]]
    more = [f"{len(column.counts) - most} more"] if len(column.counts) > most else []
    return ", ".join(shown + more)


def describe_choice(kind: str, choice: Choice) -> str:
    """Describe which columns were chosen, and why.

    Args:
        kind: `Text` or `Label`.
        choice: the columns.

    Returns:
        A sentence.
    """
    names = " and ".join(shorten_value(name)[1:-1] for name in choice.names)
    return f"{kind} {'columns' if len(choice.names) > 1 else 'column'}: {names} ({choice.reason})."


def _may_hold_labels(column: Column) -> bool:
    """Not ids, and not texts that hardly repeat. A column of one value teaches nothing, but may be called `label`."""
    is_text = column.is_prose and not column.repeats
    is_count = column.is_numeric and not column.has_decimals and not column.repeats  # 1, 2, 3, ...
    named = _rank_label(column.name) is not None
    return bool(column.counts) and not is_text and (named or not (is_count or _is_id(column)))


def _may_hold_texts(column: Column) -> bool:
    return bool(column.texts) and not column.is_numeric and not _is_id(column)


def _is_id(column: Column) -> bool:
    return ID_NAMES.fullmatch(column.name.strip().casefold()) is not None


def _rank_label(name: str) -> int | None:
    """Place of a name among LABEL_NAMES; those that only end or begin with one come after all others."""
    words = [word.casefold() for word in re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))]
    if name.casefold() in LABEL_NAMES:
        return LABEL_NAMES.index(name.casefold())
    ends = [LABEL_NAMES.index(word) for word in words[-1:] if word in LABEL_NAMES]
    return len(LABEL_NAMES) + ends[0] if ends else None


def _sort_by_rank(column: Column) -> int:
    rank = _rank_label(column.name)
    return 2 * len(LABEL_NAMES) if rank is None else rank


def _find_pair(columns: Sequence[Column]) -> tuple[Column, Column] | None:
    by_name = {column.name.casefold(): column for column in columns}
    for first, second in PAIR_NAMES:
        if first in by_name and second in by_name:
            return by_name[first], by_name[second]
    for column, following in pairwise(columns):
        parts, others = (NUMBERED.fullmatch(each.name.casefold()) for each in (column, following))
        is_alike = parts and others and (parts[1], parts[3]) == (others[1], others[3])
        if parts and others and is_alike and (parts[2], others[2]) in (("1", "2"), ("a", "b")):
            return column, following
    return None


def _name_others(columns: Sequence[Column], chosen: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns if column not in chosen)
