"""ExampleType: how examples are read and turned into numbers, which depends on the problem type.

`problem_types` has one for each problem type. The functions of this room get it as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.batches import Collator
from innerdistill.data.given_rows import OutputRules
from innerdistill.data.tasks import Task

Names = tuple[str, ...] | None  # class names by id; None where labels are numbers


@dataclass(frozen=True)
class ExampleType:
    """How the examples of one problem type are read, encoded and split. Shapes: N examples.

    Attributes:
        read_rows: (columns of some rows, task, where=, first=, labelled=, allow_null=) -> texts of each column that
            `task.text` names and labels, as text (N,). A label with parts is JSON; a missing label is None. Raises
            ValueError that names the row and says what was expected. `first` is the number of the first row;
            `labelled` is True if every row needs a label, None if it may be missing, False if it is not read.
        find_names: (labels that occur in train, task) -> class names by id; None for a type without classes.
        encode_labels: (labels as text (N,), task, names=, where=, rows=) -> what the model learns from (N,) or (N, C).
            Where examples have any number of labels it is ragged, an array for each example (N,). Raises ValueError
            that names the row, if a label could be read but is not known.
        has_label: (encoded labels) -> True for examples with a label. (N,)
        group_labels: (labels as text (N,), none missing) -> number of a group, for stratified splits. (N,)
        needs_every_group: whether a split without examples of a group lacks something, as with classes.
        encode_texts: (columns by name, tokenizer=, texts=, max_length=) -> token ids, masks, length and whether
            truncated, by column. `texts` are the names of the text columns. For a head with outputs per token also
            `pieces`: the positions of the tokens whose logits are read. Where an example may become several rows of
            the tokenised split, one after the other, it returns all columns, `labels` among them: those of the pieces
            of each row. And `part`: the number of a row of its example, by which labels and logits are joined again.
        has_windows: whether texts that are too long are read in windows, as rows of their own, instead of truncated.
        pairs_apart: whether the two texts of a pair are rows of their own, which are compared afterwards. Labels belong
            to pairs then, and `data.pairs` may name the columns of those that are scored.
        reads_words: whether the text of an example may be a list of words.
        show_text: (text of a table) -> the text for people.
        make_collator: (tokenizer, pad_to=) -> function that makes a padded batch of examples: what the model reads,
            `labels` (B, ...), perhaps `word_mask` (B, L), `groups` (B,) and `parts` (B, 3). Losses get nothing else.
        match_names: (names, names of a model's outputs, declared=) -> names in the order of the outputs; None for a
            type without classes. Without any label, `names` are those of the outputs. Raises ValueError if they do not
            belong together.
        refuse_names: (names, task) -> None. Raises ValueError if the names are probably not meant as such.
        warn_of_missing: (encoded labels of train, of validation, names) -> sentences on labels that do not occur.
        warn_of_spellings: (labels as text (N,)) -> sentences on labels that differ only by case or spaces.
        given_outputs: how outputs of another model are read from columns; a sentence says why they cannot be given.
        gather: (table of a file's rows, task, where=) -> table of its examples, where an example may be several rows
            of a file. None where each row is one. Predictions are of the rows.
    """

    read_rows: Callable[..., tuple[list[list[str | None]], list[str | None]]]
    find_names: Callable[[list[str | None], Task], Any]
    encode_labels: Callable[..., NDArray[Any]]
    has_label: Callable[[NDArray[Any]], NDArray[np.bool_]]
    group_labels: Callable[[pa.ChunkedArray], NDArray[np.int64]]
    needs_every_group: bool
    encode_texts: Callable[..., dict[str, list[Any]]]
    has_windows: bool
    pairs_apart: bool
    reads_words: bool
    show_text: Callable[[str], str]
    make_collator: Callable[..., Collator]
    match_names: Callable[..., Names]
    refuse_names: Callable[[Any, Task], None]
    warn_of_missing: Callable[[NDArray[Any], NDArray[Any], Any], list[str]]
    warn_of_spellings: Callable[[pa.ChunkedArray], list[str]]
    given_outputs: OutputRules | str
    gather: Callable[..., pa.Table] | None = None

    @property
    def has_parts(self) -> bool:
        """Whether an example may be several rows of a tokenised split."""
        return self.has_windows or self.pairs_apart or self.gather is not None

    def count_together(self, texts: int) -> int:
        """Count the texts that a model reads together, in one row of a tokenised split.

        Args:
            texts: texts of an example, 1 or 2.

        Returns:
            As many; 1 if they are rows of their own.
        """
        return 1 if self.pairs_apart else texts
