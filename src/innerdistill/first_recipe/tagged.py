"""choose_tagged: a column of words and one of their tags, or a column of texts and one of spans in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from innerdistill.first_recipe.columns import MOST_CLASSES, Choice, choose_text, find_column
from innerdistill.first_recipe.sample import Column, Sample
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.support.messages import join_names, shorten_value

# Usual names, the surest ones first.
WORD_NAMES = ("tokens", "words", "token", "word", "form", "text", "sentence")
TAG_NAMES = (
    *("tags", "ner_tags", "ner", "labels", "label", "entities", "entity", "tag", "bio", "bio_tags", "named_entities"),
    *("pos_tags", "pos", "upos", "upos_tags", "xpos", "chunk_tags", "chunks"),
)
ALIGNED = 0.9  # share of rows with as many tags as words; a run names the row in which they differ


def choose_tagged(
    sample: Sample, text: Sequence[str], label: str | None, *, outputs: Collection[str], is_known: bool
) -> tuple[Choice, Choice | None] | None:
    """Choose the columns of words and tags, or of texts and spans.

    Args:
        sample: first rows of the file.
        text: names of the text columns that the user gave.
        label: name of the label column that the user gave; None if it is to be found.
        outputs: names that the teacher gives its outputs; empty if it has none of its own.
        is_known: whether the examples are known to be tagged, since the teacher predicts tags.

    Returns:
        Texts and labels; no labels if no column looks like tags. None if the examples are not tagged.

    Raises:
        ValueError: no such column; two texts, or none, where the teacher predicts tags.
    """
    given = None if label is None else find_column(sample, label, option="--label")
    if len(text) > 1:
        if is_known:
            raise ValueError(f"--text: a tagger reads one column of words or texts, got {join_names(text)}.")
        return None
    spans = [given] if given else list(sample.columns.values())
    spans = [column for column in spans if column.holds_spans]
    chosen = [find_column(sample, name, option="--text") for name in text]
    words = [column for column in chosen or sample.columns.values() if column.holds_words and column is not given]
    for of_words in sorted(words, key=_sort_words):
        tags = [given] if given else _find_tags(sample, of_words, outputs, is_known=is_known)
        if tags and tags[0].holds_lists and not tags[0].holds_spans:
            known = "the teacher's tags" if _fits(tags[0], outputs) else "a tag for each word"
            label_choice = Choice((tags[0],), known, tuple(column.name for column in tags[1:]))
            return Choice((of_words,), "lists of words" if not chosen else "as given"), label_choice
    if spans:
        others = tuple(column.name for column in spans[1:])
        return choose_text(sample, text, label=spans[0]), Choice((spans[0],), "spans of text", others)
    if not is_known or given:
        return None
    if words:
        return Choice((min(words, key=_sort_words),), "lists of words"), None
    return choose_text(sample, text, label=None), None


def refuse_other_labels(column: Column, model: str) -> None:
    """Refuse a label column for a teacher that predicts tags.

    Args:
        column: a label column that holds neither tags nor spans.
        model: name of the teacher.

    Raises:
        ValueError: always.
    """
    value = next((value for value in column.values if value is not None), None)
    raise ValueError(
        f"it holds {shorten_value(value)}, but {model} predicts a tag for each word. Expected lists of tags beside "
        "lists of words, or spans with start, end and label. Name another column with --label, or another teacher."
    )


def refuse_words(sample: Sample, problem_type: ProblemType | None, model: str) -> None:
    """Refuse lists of words in a file without texts, where they are not tagged.

    Args:
        sample: first rows of the file.
        problem_type: what the teacher predicts; None for a model that is fine-tuned first.
        model: name of the teacher.

    Raises:
        ValueError: there are words, and no texts.
    """
    words = [column for column in sample.columns.values() if column.holds_words]
    if not words or any(column.is_prose for column in sample.columns.values()):
        return
    (name, columns) = shorten_value(min(words, key=_sort_words).name), sample.name_columns()
    reason = f"no column looks like tags of these words; name one with --label. Columns: {columns}."
    if problem_type is not None:
        reason = f"{model} predicts {problem_type.wording.outputs} of whole texts. Name a teacher that predicts tags."
    raise ValueError(f"{sample.path}: column {name} holds lists of words, but {reason}")


def _find_tags(sample: Sample, words: Column, outputs: Collection[str], *, is_known: bool) -> list[Column]:
    """Columns that may hold the tags of words, the likeliest first. Lists of labels have as few values as their ids."""
    found = []
    for column in sample.columns.values():
        is_list = column is not words and column.holds_lists and column.counts and not column.holds_spans
        if not is_list or column.share_aligned(words) < ALIGNED:
            continue
        is_named = column.name.casefold() in TAG_NAMES
        has_vocabulary = len(words.counts) > len(column.counts) or words.name.casefold() in WORD_NAMES
        is_few = 2 <= len(column.counts) <= MOST_CLASSES
        if (is_named or is_few or _fits(column, outputs)) and (has_vocabulary or is_known):
            found.append(column)

    names = [column for column in found if not column.is_numeric or column.name.casefold() in TAG_NAMES]

    def rank(column: Column) -> tuple[bool, int, int]:
        name = column.name.casefold()
        place = TAG_NAMES.index(name) if name in TAG_NAMES else len(TAG_NAMES)
        return not _fits(column, outputs), place, len(column.counts)

    return sorted(names or found, key=rank)


def _fits(column: Column, outputs: Collection[str]) -> bool:
    known = {name.casefold() for name in outputs}
    return {tag.casefold() for tag in column.counts} <= known


def _sort_words(column: Column) -> tuple[int, int]:
    name = column.name.casefold()
    return WORD_NAMES.index(name) if name in WORD_NAMES else len(WORD_NAMES), -len(column.counts)
