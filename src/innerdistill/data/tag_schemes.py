"""Tag schemes: how tags of words, such as B-person and I-person, mark entities, and how entities are read from them.

Entities are read as the field scores them: as seqeval does by default, and conlleval before it. Every sequence has a
reading, also one that breaks its scheme. Shapes: W words of all sentences, N sentences, E entities, C tags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from innerdistill.support.messages import shorten_value

Array = NDArray[Any]
Scheme = Literal["IO", "BIO", "BIOES", "BILOU"]

OUTSIDE = "O"
UNTYPED = "_"  # type of the entities whose tags are letters alone, as seqeval names it
# The letters of each scheme beside O, the scheme with the fewest letters first.
LETTERS: dict[Scheme, str] = {"IO": "I", "BIO": "BI", "BIOES": "BIES", "BILOU": "BILU"}
SAME_LETTER = {"L": "E", "U": "S"}  # last and unit of BILOU are end and single of BIOES
TAG = re.compile(r"([BIESLU])(?:-(.*))?", re.DOTALL)


class Entity(NamedTuple):
    """An entity of one sentence.

    Attributes:
        type: its type, such as `person`.
        first: position of its first word.
        end: position of the word after its last.
    """

    type: str
    first: int
    end: int


@dataclass(frozen=True)
class TagSet:
    """What the tags of a label set mean, by id.

    Attributes:
        letters: O, B, I, E or S. (C,)
        types: position of the type in `type_names`; -1 for O. (C,)
        type_names: types of entities, sorted.
    """

    letters: Array
    types: Array
    type_names: tuple[str, ...]


@dataclass(frozen=True)
class Entities:
    """The entities of many sentences, in the order of their words.

    Attributes:
        sentences: number of the sentence. (E,)
        types: position of the type in `TagSet.type_names`. (E,)
        firsts: position of the first word among the words of all sentences. (E,)
        ends: position of the word after the last. (E,)
    """

    sentences: Array
    types: Array
    firsts: Array
    ends: Array


def is_tag(name: str) -> bool:
    """Tell whether a name is O or a tag of an entity.

    Args:
        name: any text.

    Returns:
        True for a tag of any scheme.

    >>> is_tag("O"), is_tag("U-person"), is_tag("NOUN")
    (True, True, False)
    """
    return name == OUTSIDE or TAG.fullmatch(name) is not None


def get_type(tag: str) -> str | None:
    """Get what a tag says of a word: the type of its entity, or the tag itself if it marks none.

    Args:
        tag: name of a tag.

    Returns:
        The type; None for O.

    >>> get_type("B-person"), get_type("O"), get_type("NOUN")
    ('person', None, 'NOUN')
    """
    return tag if not is_tag(tag) else _split_tag(tag)[1] or None


def find_scheme(names: Sequence[str]) -> Scheme | None:
    """Find the scheme that the names of a label set follow.

    Tags of I and O alone are IO. With B they are BIO, which IOB2 is too. E or S make BIOES, L or U make BILOU.

    Args:
        names: tag names, in any order.

    Returns:
        The scheme; None for tags that mark no entities, such as parts of speech.

    >>> find_scheme(["O", "B-person", "I-person"]), find_scheme(["O", "S", "B", "E"]), find_scheme(["NOUN", "VERB"])
    ('BIO', 'BIOES', None)
    """
    letters = set()
    for name in names:
        if name == OUTSIDE:
            continue
        if (tag := TAG.fullmatch(name)) is None:
            return None
        letters.add(tag[1])
    return next((scheme for scheme, known in LETTERS.items() if letters and letters <= set(known)), None)


def read_tag_set(names: Sequence[str]) -> TagSet:
    """Read the tags of a label set.

    Args:
        names: tag names by id, of any scheme. (C,)

    Returns:
        Letters and types by id. L and U of BILOU are E and S.

    Raises:
        ValueError: a name that is no tag of an entity.

    >>> read_tag_set(["O", "B-creative-work", "L-creative-work"])
    TagSet(letters=array(['O', 'B', 'E'], dtype='<U1'), types=array([-1,  0,  0]), type_names=('creative-work',))
    """
    pairs = [_split_tag(name) for name in names]
    type_names = sorted({type_name for letter, type_name in pairs if letter != OUTSIDE})
    types = [-1 if letter == OUTSIDE else type_names.index(type_name) for letter, type_name in pairs]
    letters = [letter for letter, _ in pairs]
    return TagSet(np.array(letters, dtype="<U1"), np.array(types, dtype=np.int64), tuple(type_names))


def locate_entities(tags: Array, lengths: Array, tag_set: TagSet) -> Entities:
    """Read the entities of many sentences.

    B and S start an entity. I and E start one too, unless they continue a B or I of their type.
    An entity ends before the next one, before O and with its sentence.

    Args:
        tags: tag ids of the words of all sentences, one sentence after the other. (W,)
        lengths: number of words of each sentence; their sum is W. (N,)
        tag_set: what the ids mean.

    Returns:
        The entities.
    """
    starts = _mark_starts(tags, lengths, tag_set)
    firsts = np.flatnonzero(starts)
    borders = np.append(np.flatnonzero(starts | (tag_set.letters[tags] == OUTSIDE)), len(tags))
    ends = borders[np.searchsorted(borders, firsts, side="right")]
    sentences = np.repeat(np.arange(len(lengths)), lengths)
    return Entities(sentences[firsts], tag_set.types[tags[firsts]], firsts, ends)


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Read the entities of one sentence.

    Args:
        tags: tags of its words, of any scheme.

    Returns:
        The entities in their order.

    Raises:
        ValueError: a word with a tag that is none of an entity.

    >>> find_entities(["B-person", "I-person", "O", "I-place"])
    [Entity(type='person', first=0, end=2), Entity(type='place', first=3, end=4)]
    """
    names, ids = np.unique(np.array(tags, dtype=object), return_inverse=True)
    tag_set = read_tag_set(names.tolist())
    found = locate_entities(ids, np.array([len(tags)]), tag_set)
    types = [tag_set.type_names[position] for position in found.types]
    return [Entity(*fields) for fields in zip(types, found.firsts.tolist(), found.ends.tolist(), strict=True)]


def find_broken_tags(tags: Array, lengths: Array, tag_set: TagSet, scheme: Scheme) -> NDArray[np.bool_]:
    """Find tags that break their scheme. They are scored all the same; a report says how many there are.

    - In BIO, BIOES and BILOU, I (and E or L) must continue a B or I of the same type.
    - In BIOES and BILOU, B and I must be continued by I, E or L of the same type.

    Args:
        tags: tag ids of the words of all sentences, one sentence after the other. (W,)
        lengths: number of words of each sentence; their sum is W. (N,)
        tag_set: what the ids mean.
        scheme: scheme of the tags. Nothing breaks IO.

    Returns:
        True for words with a tag that breaks it. (W,)

    >>> tag_set = read_tag_set(["O", "B-a", "I-a"])
    >>> find_broken_tags(np.array([0, 2, 2, 1, 2]), np.array([4, 1]), tag_set, "BIO")  # after O, and first of all
    array([False,  True, False, False,  True])
    """
    letters = tag_set.letters[tags]
    if scheme == "IO":
        return np.zeros(len(tags), dtype=np.bool_)
    starts = _mark_starts(tags, lengths, tag_set)
    is_broken = starts & np.isin(letters, ("I", "E"))
    if scheme in ("BIOES", "BILOU"):
        continues = (letters != OUTSIDE) & ~starts
        is_broken |= np.isin(letters, ("B", "I")) & ~np.append(continues[1:], False)[: len(tags)]
    return is_broken


def _mark_starts(tags: Array, lengths: Array, tag_set: TagSet) -> NDArray[np.bool_]:
    """Mark the words at which an entity starts."""
    assert lengths.sum() == len(tags)
    letters, types = tag_set.letters[tags], tag_set.types[tags]
    is_open = np.zeros(len(tags), dtype=np.bool_)  # whether the word before may be continued with this type
    is_open[1:] = np.isin(letters[:-1], ("B", "I")) & (types[:-1] == types[1:])
    is_open[(np.cumsum(lengths) - lengths)[lengths > 0]] = False
    return np.asarray((letters != OUTSIDE) & ~(np.isin(letters, ("I", "E")) & is_open))


def _split_tag(name: str) -> tuple[str, str]:
    if name == OUTSIDE:
        return OUTSIDE, ""
    if (tag := TAG.fullmatch(name)) is None:
        raise ValueError(
            f"{shorten_value(name)} is no tag of an entity; expected O, or B, I, E or S with a type, such as B-person."
        )
    return SAME_LETTER.get(tag[1], tag[1]), tag[2] or UNTYPED
