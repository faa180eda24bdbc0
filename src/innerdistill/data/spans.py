"""Entities as spans of raw text, turned into tags of words and back.

A span is `{"start": 0, "end": 5, "label": "person"}`: the character that it starts at, the one after its last, and its
type. Words are those of BERT's pre-tokenizer: split at white space, with every punctuation mark and every Chinese
character alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from tokenizers import Regex, pre_tokenizers

from innerdistill.data.labels import read_label
from innerdistill.data.tag_schemes import OUTSIDE, find_entities
from innerdistill.data.text_files import find_broken_text
from innerdistill.support.messages import shorten_value

SPLITTER = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.BertPreTokenizer()]
)
KEYS = ("start", "end", "label")


class Span(NamedTuple):
    """An entity in a text.

    Attributes:
        start: position of its first character.
        end: position of the character after its last.
        label: its type.
    """

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class TaggedWords:
    """The words of a text. Shapes: W words.

    Attributes:
        words: the words. (W,)
        offsets: position of the first character of each word, and of the character after its last. (W,)
        tags: BIO tags; None for a text without spans that are known. (W,)
    """

    words: list[str]
    offsets: list[tuple[int, int]]
    tags: list[str] | None


def read_span_rows(
    block: Mapping[str, list[Any]],
    *,
    text: str,
    spans: str,
    where: str,
    first: int,
    labelled: bool | None = True,
) -> list[TaggedWords]:
    """Split the texts of some rows into words, and tag the words by the spans.

    Args:
        block: columns of some rows, as the readers give them.
        text: name of the column of texts.
        spans: name of the column of spans, a list of objects per row; an empty one says that there is no entity. The
            column may be missing unless every row needs spans.
        where: source of the rows, for messages.
        first: number of the first row.
        labelled: True: every row needs spans. None: spans may be missing. False: spans are not read.

    Returns:
        Words, offsets and tags of each row.

    Raises:
        ValueError: a text without words, or spans that are empty, overlap, leave the text or split a word. The message
            names the row and the span.
    """
    count = len(block[text])
    given = block.get(spans, [None] * count) if labelled is not False else [None] * count
    rows = []
    for row, (content, of_text) in enumerate(zip(block[text], given, strict=True), start=first):
        if labelled and of_text is None:
            raise ValueError(
                f"{where}: row {row} has no {shorten_value(spans)}; give rows without spans as data.unlabelled, or "
                "leave them out. A text without entities has an empty list."
            )
        try:
            words, offsets = split_words(content, name=text)
            tags = None if of_text is None else tag_words(content, offsets, _read_spans(of_text, spans))
        except ValueError as error:
            raise ValueError(f"{where}: row {row}: {error}") from None
        rows.append(TaggedWords(words, offsets, tags))
    return rows


def split_words(text: Any, *, name: str = "text") -> tuple[list[str], list[tuple[int, int]]]:
    """Split a text into words.

    Args:
        text: the text.
        name: name of its column, for messages.

    Returns:
        Words, and for each the position of its first character and of the one after its last.

    Raises:
        ValueError: no text, a text that is not UTF-8, or one without words.

    >>> split_words("Zoë's co-op")
    (['Zoë', "'", 's', 'co', '-', 'op'], [(0, 3), (3, 4), (4, 5), (6, 8), (8, 9), (9, 11)])
    """
    if not isinstance(text, str):
        raise ValueError(f"{shorten_value(name)} holds {shorten_value(text)}, expected text.")
    if find_broken_text([text]) is not None:
        raise ValueError(f"{shorten_value(name)} is not UTF-8 text ({shorten_value(text)}); save the file as UTF-8.")
    pieces = SPLITTER.pre_tokenize_str(text)
    if not pieces:
        raise ValueError(f"{shorten_value(name)} holds {shorten_value(text)}, expected words.")
    return [word for word, _ in pieces], [offsets for _, offsets in pieces]


def tag_words(text: str, offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """Tag the words of a text: B- and the label for the first word of a span, I- for the others, O for the rest.

    White space at the ends of a span is allowed.

    Args:
        text: the text.
        offsets: offsets of its words, in their order. (W,)
        spans: the spans, in any order.

    Returns:
        BIO tags. (W,)

    Raises:
        ValueError: a span that is empty, leaves the text, holds no word or splits one; two spans that overlap.

    >>> text = "Ada Lovelace wrote"
    >>> tag_words(text, split_words(text)[1], [Span(0, 12, "person")])
    ['B-person', 'I-person', 'O']
    """
    tags = [OUTSIDE] * len(offsets)
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    ordered = sorted(spans)
    for span in ordered:
        _check_span(text, span)
        first, end = bisect_right(ends, span.start), bisect_left(starts, span.end)  # words that it touches
        if first >= end:
            raise ValueError(f"{_describe_span(text, span)} holds no word.")
        for word in (first, end - 1):
            if starts[word] < span.start or ends[word] > span.end:
                whole = text[starts[word] : ends[word]]
                raise ValueError(f"{_describe_span(text, span)} splits the word {shorten_value(whole)}.")
        tags[first:end] = [f"B-{span.label}", *[f"I-{span.label}"] * (end - first - 1)]
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise ValueError(f"{_describe_span(text, before)} overlaps with {_describe_span(text, after)}.")
    return tags


def find_spans(tags: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[Span]:
    """Find the spans that tags of words mark.

    Args:
        tags: tags of the words, of any scheme: BIO, BIOES, BILOU or IO. (W,)
        offsets: position of the first character of each word, and of the one after its last. (W,)

    Returns:
        The spans in their order.

    Raises:
        ValueError: a tag that is none of an entity.

    >>> find_spans(["B-person", "E-person", "O"], [(0, 3), (4, 12), (13, 18)])
    [Span(start=0, end=12, label='person')]
    """
    entities = find_entities(tags)
    return [Span(offsets[entity.first][0], offsets[entity.end - 1][1], entity.type) for entity in entities]


def _read_spans(value: Any, name: str) -> list[Span]:
    example = '[{"start": 0, "end": 5, "label": "person"}]'
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shorten_value(name)} holds {shorten_value(value)}, expected a list such as {example}.")
    spans = []
    for number, span in enumerate(value, start=1):
        if not isinstance(span, Mapping) or any(span.get(key) is None for key in KEYS):
            raise ValueError(
                f"span {number} of {shorten_value(name)} is {shorten_value(span)}, expected start, end and label, as "
                f"in {example}."
            )
        for key in ("start", "end"):
            if type(span[key]) is not int:
                raise ValueError(
                    f"span {number} of {shorten_value(name)}: {key} is {shorten_value(span[key])}, expected a whole "
                    "number of characters."
                )
        try:
            label = read_label(span["label"])
        except ValueError as error:
            raise ValueError(f"span {number} of {shorten_value(name)}: label {error}") from None
        if label is None or find_broken_text([label]) is not None:
            raise ValueError(
                f"span {number} of {shorten_value(name)}: label is {shorten_value(span['label'])}, expected a name."
            )
        spans.append(Span(span["start"], span["end"], label))
    return spans


def _check_span(text: str, span: Span) -> None:
    if span.start >= span.end:
        raise ValueError(f"{_describe_span(text, span)} is empty; end is the position after the last character.")
    if span.start < 0 or span.end > len(text):
        raise ValueError(f"{_describe_span(text, span)} leaves the text, which has {len(text):,} characters.")


def _describe_span(text: str, span: Span) -> str:
    shown = f" ({shorten_value(text[span.start : span.end])})" if 0 <= span.start < span.end <= len(text) else ""
    return f"the span from {span.start} to {span.end}{shown}"
