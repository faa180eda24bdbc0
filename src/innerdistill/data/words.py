"""Texts whose words are tagged: how words stand in a table, and which token stands for each of them.

A table holds such a text as text too: the JSON of the text and of where its words are. So splits, hashes and overlap
treat it as any text. Words that were given as a list are joined by spaces.

A text that is longer than the model becomes several overlapping windows, each a row of the tokenised split. Every word
is read in one of them only, the one in which it is furthest from a cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.windows import PART, PIECES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OVERLAP = 4  # neighbouring windows share one in so many of their tokens

Array = NDArray[Any]
Offsets = list[tuple[int, int]]


class Words(NamedTuple):
    """A text and its words.

    Attributes:
        text: the text.
        offsets: position of the first character of each word, and of the one after its last.
    """

    text: str
    offsets: Offsets

    @property
    def words(self) -> list[str]:
        """The words."""
        return [self.text[start:end] for start, end in self.offsets]


def join_words(words: Sequence[str]) -> Words:
    """Join words by spaces.

    Args:
        words: the words.

    Returns:
        The text, and where its words are.

    >>> join_words(["In", "Rome"])
    Words(text='In Rome', offsets=[(0, 2), (3, 7)])
    """
    ends = np.cumsum([len(word) + 1 for word in words]).tolist()
    offsets = [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]
    return Words(" ".join(words), offsets)


def pack_words(words: Words) -> str:
    """Write a text and its words as text.

    Args:
        words: the text and where its words are.

    Returns:
        One line of JSON.

    >>> pack_words(Words("In Rome", [(0, 2), (3, 7)]))
    '["In Rome", [0, 2, 3, 7]]'
    """
    return json.dumps([words.text, [position for offsets in words.offsets for position in offsets]], ensure_ascii=False)


def unpack_words(packed: str) -> Words:
    """Read a text and its words.

    Args:
        packed: from `pack_words`; empty for a text without words.

    Returns:
        The text and where its words are.
    """
    text, positions = json.loads(packed or '["", []]')
    return Words(text, list(zip(positions[::2], positions[1::2], strict=True)))


def encode_words(
    columns: Mapping[str, list[Any]], tokenizer: PreTrainedTokenizerBase, *, texts: Sequence[str], max_length: int
) -> dict[str, list[Any]]:
    """Encode texts whose words are tagged, in windows of at most `max_length` tokens.

    The first piece of a word stands for it. A word of which the tokenizer leaves nothing is read at the token before.

    Args:
        columns: columns of some examples by name. One is the packed text. `labels` are a tag id for each word, or none
            at all. The others are copied to all windows of an example.
        tokenizer: a fast tokenizer of transformers; it truncates on the right from now on.
        texts: name of the text column.
        max_length: tokens of a window, at most.

    Returns:
        By column, a value for each window: what the tokenizer makes, `length` in tokens, and `part`, its number in the
        example. `pieces` are the positions of the tokens that stand for the words read in it, and `labels` belong to
        these words. `truncated` says whether one of them is cut.

    Raises:
        ValueError: a slow tokenizer, which does not say where its tokens are.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"token classification needs a fast tokenizer, and {type(tokenizer).__name__} is none; save one with "
            "AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)."
        )
    examples = [unpack_words(packed) for packed in columns[texts[0]]]
    tokenizer.truncation_side = "right"  # the first window begins with the text
    stride = (max_length - tokenizer.num_special_tokens_to_add()) // OVERLAP
    encoded = tokenizer(
        [example.text for example in examples],
        truncation=True,
        max_length=max_length,
        stride=stride,
        padding=False,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    numbers_of: list[list[int]] = [[] for _ in examples]  # windows by example
    for number, index in enumerate(encoded["overflow_to_sample_mapping"]):
        numbers_of[index].append(number)
    kept = [name for name in columns if name not in (*texts, "labels")]
    names = [name for name in tokenizer.model_input_names if name in encoded]
    made = ("labels", PART, PIECES, "length", "truncated")
    rows: dict[str, list[Any]] = {name: [] for name in (*names, *kept, *made)}
    for index, (example, numbers) in enumerate(zip(examples, numbers_of, strict=True)):
        spans = [encoded["offset_mapping"][number] for number in numbers]
        special = [encoded["special_tokens_mask"][number] for number in numbers]
        labels = columns["labels"][index]
        windows = _share_words(example.offsets, spans, special, stride)
        for part, (number, window) in enumerate(zip(numbers, windows, strict=True)):
            for name in names:
                rows[name].append(encoded[name][number])
            for name in kept:
                rows[name].append(columns[name][index])
            # As arrays, of which `datasets` knows the type even if all are empty.
            tags = np.array(labels, dtype=np.int64)
            rows["labels"].append(tags[window.words] if len(tags) else tags)
            rows[PART].append(part)
            rows[PIECES].append(window.pieces)
            rows["length"].append(len(encoded["input_ids"][number]))
            rows["truncated"].append(window.cuts_word)
    return rows


class _Window(NamedTuple):
    """Words that are read in a window.

    Attributes:
        words: their numbers. (W,)
        pieces: position of the token that stands for each. (W,)
        cuts_word: whether one of them has tokens beyond the window.
    """

    words: Array
    pieces: Array
    cuts_word: bool


def _share_words(
    offsets: Offsets, spans: Sequence[Sequence[Any]], special: Sequence[Sequence[int]], stride: int
) -> list[_Window]:
    """Share out the words of a text among its windows.

    Window k holds the tokens of the text from k * step on, where step is the size of a window less the stride.

    Args:
        offsets: first character of each word, and the one after its last. (W,)
        spans: the same of each token, by window.
        special: 1 for tokens such as [CLS], by window.
        stride: tokens that neighbouring windows share.

    Returns:
        For each window, the words that are read in it.
    """
    places = [np.flatnonzero(np.array(marks) == 0) for marks in special]  # where the tokens of texts are, by window
    own = [np.array(of_window)[place].reshape(-1, 2) for of_window, place in zip(spans, places, strict=True)]
    tokens = np.concatenate([own[0], *(of_window[stride:] for of_window in own[1:])])
    if not len(tokens):  # nothing is left of the text
        return [_Window(np.arange(len(offsets)), np.zeros(len(offsets), dtype=np.int64), False)]
    first, last = _locate_words(np.array(offsets, dtype=np.int64).reshape(-1, 2), tokens)
    if len(places) == 1:
        return [_Window(np.arange(len(offsets)), places[0][first], False)]
    margins = []  # tokens between each word and the next cut, by window
    for number, place in enumerate(places):
        begin = number * (len(places[0]) - stride)
        end = begin + len(place) - 1
        left = first - begin if number else np.full_like(first, len(tokens))
        right = end - last if number + 1 < len(places) else np.full_like(first, len(tokens))
        margins.append(np.where((first >= begin) & (first <= end), np.minimum(left, right), -len(tokens)))
    owners = np.argmax(margins, axis=0)
    windows = []
    for number, place in enumerate(places):
        words = np.flatnonzero(owners == number)
        pieces = place[first[words] - number * (len(places[0]) - stride)]
        windows.append(_Window(words, pieces, bool((margins[number][words] < 0).any())))
    return windows


def _locate_words(offsets: Array, tokens: Array) -> tuple[Array, Array]:
    """Find the first and the last token of each word (W,), among tokens given by their characters (T, 2)."""
    first = np.searchsorted(tokens[:, 1], offsets[:, 0], side="right")  # the first that ends behind its start
    last = np.searchsorted(tokens[:, 0], offsets[:, 1], side="left") - 1  # the last that begins before its end
    is_left = first <= last
    before = np.clip(last, 0, None)
    # A token of the space before a word alone is its first piece, as with words that a tokenizer gets one by one.
    space, ends_before = np.clip(first - 1, 0, None), np.concatenate([[0], offsets[:-1, 1]])
    has_space = (first > 0) & (tokens[space, 1] == offsets[:, 0]) & (tokens[space, 0] >= ends_before)
    return np.where(is_left, np.where(has_space, space, first), before), np.where(is_left, last, before)


def show_words(packed: str) -> str:
    """Show a text whose words are tagged.

    Args:
        packed: from `pack_words`.

    Returns:
        The text alone.
    """
    return unpack_words(packed).text
