"""Labels that are tags of words. As text they are JSON lists, encoded as tag ids, one for each word.

Shapes: N examples, W_i words of example i.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.class_labels import (
    find_class_names,
    list_missing_labels,
    match_class_names,
    name_missing,
    warn_of_spellings,
)
from innerdistill.data.label_sets import group_label_sets
from innerdistill.data.labels import number_labels
from innerdistill.data.ragged import join_ragged, make_ragged
from innerdistill.data.spans import read_span_rows
from innerdistill.data.tag_schemes import (
    LETTERS,
    OUTSIDE,
    find_broken_tags,
    find_scheme,
    get_type,
    is_tag,
    read_tag_set,
)
from innerdistill.data.tagged_rows import read_tagged_rows
from innerdistill.data.tasks import Task
from innerdistill.data.words import Words, join_words, pack_words
from innerdistill.support.messages import format_count, shorten_value, suggest_name

Array = NDArray[Any]


def read_tagged_texts(
    block: Mapping[str, list[Any]],
    task: Task,
    *,
    where: str,
    first: int,
    labelled: bool | None,
    allow_null: bool = False,
) -> tuple[list[list[str | None]], list[str | None]]:
    """Read the texts and tags of some rows: lists of words and of tags, or texts and the spans of their entities.

    Args:
        block: columns of some rows.
        task: task that names the columns.
        where: source of the rows, for messages.
        first: number of the first row.
        labelled: True: every row needs tags. None: they may be missing. False: they are not read.
        allow_null: whether a text may be null or without words; null stays None.

    Returns:
        The text column, packed, and the tags of each row as a JSON list; None where there are none.

    Raises:
        ValueError: as `read_tagged_rows` and `read_span_rows`; also pairs of texts, and lists beside plain texts.
    """
    if len(task.text) != 1 or task.is_tokenised:
        raise ValueError(
            f"data.text: token classification reads one column of words or of texts, got {', '.join(task.text)}."
        )
    (name,) = task.text
    texts: list[str | None] = [None] * len(block[name])
    labels: list[str | None] = [None] * len(block[name])
    rows = []
    for position, value in enumerate(block[name]):
        if allow_null and _is_blank(value):
            texts[position] = None if value is None else pack_words(Words("", []))
        else:
            rows.append(position)
    are_lists = next((isinstance(block[name][position], list | tuple) for position in rows), False)
    for position in rows:  # row by row, so that a message names the right one
        value = block[name][position]
        if value is None:
            raise ValueError(f"{where}: row {first + position} has no text in {shorten_value(name)}.")
        if isinstance(value, list | tuple) != are_lists:
            raise ValueError(
                f"{where}: row {first + position}: {shorten_value(name)} holds {shorten_value(value)}; expected "
                f"{'a list of words' if are_lists else 'text'}, as in the rows before."
            )
        row = {column: [values[position]] for column, values in block.items()}
        options: dict[str, Any] = {"where": where, "first": first + position, "labelled": labelled}
        if are_lists:
            ((words, tags),) = read_tagged_rows(row, tokens=name, tags=task.label, **options)
            texts[position] = pack_words(join_words(words))
        else:
            (tagged,) = read_span_rows(row, text=name, spans=task.label, **options)
            texts[position], tags = pack_words(Words(value, tagged.offsets)), tagged.tags
        labels[position] = None if tags is None else json.dumps(tags, ensure_ascii=False)
    return [texts], labels


def _is_blank(value: Any) -> bool:
    return value is None or not "".join(map(str, value)).strip()


def find_tag_names(labels: Sequence[str | None], task: Task) -> tuple[str, ...]:
    """Tag names in the order of their ids: from the task or, sorted, from the training tags.

    Tags of entities are completed: where B-person occurs in BIO, I-person may occur in other splits.

    Args:
        labels: tags of sentences of the training split, as text.
        task: names them if it knows them.

    Returns:
        The names; digits are sorted as numbers.

    Raises:
        ValueError: fewer than two tags.
    """
    found = {tag for text in labels for tag in _parse(text)}
    scheme = find_scheme(sorted(found)) if task.labels is None else None
    if scheme is not None:
        entities = sorted(found - {OUTSIDE})
        endings = {tag[1:] for tag in entities}  # with the hyphen: tags without a type have none
        found |= {f"{letter}{ending}" for letter in LETTERS[scheme] for ending in endings} | {OUTSIDE}
    return find_class_names(found, task)


def match_tag_names(names: Sequence[str], outputs: Sequence[str], *, declared: bool) -> tuple[str, ...]:
    """The data's tags in the order of a model's outputs, as `match_class_names` finds it.

    A tag that a model lacks, but of whose type it has others, may only complete the scheme. It is left out;
    `encode_tags` refuses it where it occurs. Without any B, as in IO, the model has another scheme.

    Args:
        names: the data's tags, from `find_tag_names`.
        outputs: names of the model's outputs by id.
        declared: whether the order of `names` was stated by data.labels.

    Returns:
        One name per output, written as the data writes them where they agree.

    Raises:
        ValueError: as `match_class_names`.

    >>> match_tag_names(["B-a", "B-b", "I-a", "I-b", "O"], ["O", "B-a", "I-a", "B-b"], declared=False)
    ('O', 'B-a', 'I-a', 'B-b')
    """
    if not declared and find_scheme(names) is not None:
        known, types = {name.casefold() for name in outputs}, {(get_type(name) or "").casefold() for name in outputs}
        letters = {name[:1] for name in outputs if is_tag(name)}
        names = [
            name
            for name in names
            if name.casefold() in known
            or (name[0] == "B" and "B" not in letters)
            or (get_type(name) or name).casefold() not in types
        ]
    return match_class_names(names, outputs, declared=declared)


def encode_tags(
    labels: pa.ChunkedArray, task: Task, *, names: Sequence[str], where: str, rows: pa.ChunkedArray
) -> Array:
    """Tags of one split as ids. Numbers are positions in `data.labels`, as with classes.

    Args:
        labels: tags of each example as text, null where missing. (N,)
        task: the task.
        names: tag names in the order of the model's ids, as the data writes them.
        where: source of the tags, for messages.
        rows: number of each row in its file, for messages. (N,)

    Returns:
        Tag ids of the words of each example, empty where there are none. (N,)

    Raises:
        ValueError: a tag that is not known, with its row.
    """
    codes, values = number_labels(labels)
    tags_of = [_parse(text) for text in values]
    ids = {name: index for index, name in enumerate(names)}
    if task.labels is not None and all(tag.isdecimal() for tags in tags_of for tag in tags):
        ids = {**{str(position): ids[name] for position, name in enumerate(task.labels)}, **ids}
    encoded = []
    for code, tags in enumerate(tags_of):
        unknown = next((tag for tag in tags if tag not in ids), None)
        if unknown is not None:
            row = rows[int(np.argmax(codes == code))]
            hint = suggest_name(unknown, names, kind="tags")
            raise ValueError(f"{where}: row {row}: unknown tag {shorten_value(unknown)}. {hint}")
        encoded.append(np.array([ids[tag] for tag in tags], dtype=np.int64))
    return make_ragged(encoded[code] for code in codes.tolist())


def has_tags(tags: Array) -> NDArray[np.bool_]:
    """Which examples have tags.

    Args:
        tags: tag ids of the words of each example. (N,)

    Returns:
        True for those that do. (N,)
    """
    return np.array([len(of_example) > 0 for of_example in tags], dtype=np.bool_)


def group_tags(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """Groups for stratified splits: the rarest type of entity of an example, or its rarest tag.

    Args:
        labels: tags of each example as text, none missing. (N,)

    Returns:
        Number of the group; examples without entities are one too. (N,)
    """
    codes, values = number_labels(labels)
    sets = []
    for text in values:
        types = {get_type(tag) for tag in _parse(text)}
        sets.append(json.dumps(sorted(name for name in types if name is not None), ensure_ascii=False))
    return group_label_sets(pa.chunked_array([pa.array(sets, pa.string()).take(pa.array(codes))]))


def warn_of_tags(train: Array, validation: Array, names: Sequence[str]) -> list[str]:
    """Find types of entities without an example, and tags that break their scheme.

    Args:
        train: tag ids of the training split. (N,)
        validation: tag ids of the validation split. (N,)
        names: tag names by id.

    Returns:
        A sentence for each split and fault, with the next step.
    """
    warnings = []
    for split, tags in (("train", train), ("validation", validation)):
        if any(map(len, tags)):
            warnings += _warn_of_missing_types(split, join_ragged(tags)[0], names)
            warnings += warn_of_broken_tags(split, tags, names)
    return warnings


def _warn_of_missing_types(split: str, values: Array, names: Sequence[str]) -> list[str]:
    types = [get_type(name) for name in names]
    occurs = Counter(types[value] for value in np.unique(values).tolist())
    known = [name for name in dict.fromkeys(types) if name is not None]
    missing = list_missing_labels(np.array([occurs[name] > 0 for name in known]), known)
    if not missing:
        return []
    subject, it = name_missing(missing)
    effect = f"labels teach nothing about {it}" if split == "train" else f"the scores say nothing about {it}"
    return [f"{subject} in {split}, so {effect}. Give {split} examples of {it}."]


def warn_of_broken_tags(split: str, tags: Array, names: Sequence[str]) -> list[str]:
    """Find tags that break their scheme.

    Args:
        split: name of the split.
        tags: tag ids of the words of each example. (N,)
        names: tag names by id.

    Returns:
        At most one sentence.
    """
    values, lengths = join_ragged(tags)
    if (scheme := find_scheme(names)) is None:
        return []
    broken = int(find_broken_tags(values, lengths, read_tag_set(names), scheme).sum())
    if not broken:
        return []
    return [
        f"{format_count(broken, 'tag')} of {split} {'breaks' if broken == 1 else 'break'} the scheme {scheme}, as I "
        "after O does. Such tags are read as in seqeval: an entity begins there."
    ]


def warn_of_tag_spellings(labels: pa.ChunkedArray) -> list[str]:
    """Find tags that differ only by upper and lower case or by spaces.

    Args:
        labels: tags of each example as text, null where missing. (N,)

    Returns:
        At most one sentence, with the number of words of each tag.
    """
    codes, values = number_labels(labels)
    tags_of = [_parse(text) for text in values]
    each = [tag for code in codes.tolist() for tag in tags_of[code]]
    return warn_of_spellings(pa.chunked_array([each], pa.string()), noun="words")


def _parse(text: str | None) -> list[str]:
    return [] if text is None else list(json.loads(text))
