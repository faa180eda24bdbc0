"""load_task: the splits of a task as text, from the `data` section of a recipe."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.arrow import iterate_blocks, select_rows
from innerdistill.data.example_groups import number_groups
from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.formats import read_blocks
from innerdistill.data.given_rows import GIVEN
from innerdistill.data.in_memory import wrap_rows
from innerdistill.data.label_columns import LABELLED, list_label_columns
from innerdistill.data.labels import number_labels
from innerdistill.data.pair_columns import choose_task
from innerdistill.data.searches import read_search, select_queries
from innerdistill.data.sources import Sources, find_sources
from innerdistill.data.split_files import needs_groups
from innerdistill.data.splits import (
    choose_number,
    choose_stratified,
    find_hashes,
    hash_texts,
    list_text_columns,
    mark_shared_texts,
)
from innerdistill.data.tables import read_file, read_rows, read_split
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import name_key

PART_OF_TRAIN = "a stratified tenth of train, at most 10,000 rows, chosen by a hash of the {text}"
PART_WITHOUT_LABELS = "a tenth of train, at most 10,000 rows, chosen by a hash of the {text}"
SCORED = ("selection", "validation", "test")  # splits that models are scored on
OVERLAP = "validation_rows_that_are_also_in_train"
SELECTION_OVERLAP = "selection_rows_also_in"
DROPPED = "{split}_rows_dropped_because_they_share_a_text_with_train"
# Held out of train for `selection`, and for `validation` where none is given: a tenth. Of more rows than this, the
# standard error of an accuracy would fall below half a point.
HELD_OUT, MOST_HELD_OUT = 0.1, 10_000
LEAST_HELD_OUT = 200  # of fewer, with data.train_rows, the standard error of an accuracy would exceed 3.5 points

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskData:
    """The splits of a task as text. The tables are on disk and may be larger than memory.

    Attributes:
        task: columns, labels and metric.
        splits: train, selection, validation and, where given, test and unlabelled. Columns row, text1, [text2], label.
            With `data.pairs`, the splits that have its columns are pairs, the others texts. Those that are queries with
            documents have the column role. With `data.group`, the splits that are scored also have the number of each
            example's group, `group`. Splits with the outputs of another model have them as `given_logits`.
        names: class names in the order of their ids; None where labels are numbers, or where no split has labels.
        notes: counts and decisions, for run.json.
    """

    task: Task
    splits: dict[str, pa.Table]
    names: Names
    notes: dict[str, Any] = field(default_factory=dict)

    def has_labels(self, split: str) -> bool:
        """Tell whether any example of a split has a label.

        Args:
            split: name of the split.

        Returns:
            False for a split without labels, and for one that is not there.
        """
        table = self.splits.get(split)
        return table is not None and table["label"].null_count < table.num_rows

    @property
    def against_teacher(self) -> tuple[str, ...]:
        """Splits that are scored against the teacher's predictions: those without labels, if train has none either."""
        if self.has_labels("train"):
            return ()
        without = [name for name in SCORED if name in self.splits and not self.has_labels(name)]
        return tuple(name for name in without if self.has_outputs(name))

    def has_outputs(self, split: str) -> bool:
        """Tell whether teacher outputs are to be had for a split: always, unless they are columns that it lacks.

        Args:
            split: name of the split.

        Returns:
            False for a split without the columns that the task names.
        """
        return self.task.given is None or GIVEN in self.splits[split].column_names

    def fingerprint(self) -> str:
        """Compute SHA-256 over texts, labels and columns of all splits. Runs of the same data have the same one.

        Groups are left out: they change neither a teacher nor a student.
        """
        digest = hashlib.sha256(repr((self.task, self.names)).encode())
        for name in sorted(self.splits):
            digest.update(name.encode())
            table = self.splits[name]
            add_table(digest, table.drop_columns("group") if "group" in table.column_names else table)
        return digest.hexdigest()


def add_table(digest: hashlib._Hash, table: pa.Table) -> None:
    """Add the content of a table to a hash, a block at a time.

    Args:
        digest: hash of hashlib; updated in place.
        table: table from `read_file` or `read_split`.
    """
    for block in iterate_blocks(table):
        digest.update(repr(block.to_pydict()).encode())


def load_task(
    recipe: DataRecipe,
    examples: ExampleType,
    *,
    metric: str | None = None,
    objects: Mapping[str, Any] | None = None,
    sources: Sources | None = None,
) -> TaskData:
    """Read all splits that a recipe names. Without `selection`, a tenth of train, at most 10,000 rows, is held out.

    On the selection split, checkpoints, thresholds and learning rates may be chosen. Validation is for reporting only.
    With `train_rows`, a held-out selection split has at most a tenth of that, or 200 examples if that is more.
    Held-out splits and `train_rows` depend on the hash of the texts, not on a seed. With `data.group`, held-out splits
    depend on the hash of that column, so that examples of one group are never on two sides. Of a rare class, one text
    goes to train first, then one to validation if that is held out, then one to selection.

    If train has no label column, the teacher labels it. Then no split needs labels, and none is stratified.

    Args:
        recipe: the `data` section of a recipe.
        examples: how examples of its problem type are read.
        metric: primary metric; None means the one that recipe or task name.
        objects: Python objects by key of the section, where the recipe says IN_MEMORY: rows of a split, or a
            DatasetDict as `path`.
        sources: from `find_sources`, if it was called before.

    Returns:
        The splits as text.

    Raises:
        ValueError: missing file or column, empty split, unknown label, outputs of another model that cannot be read or
            used; the sentence names file and row.
    """
    task, sources = resolve_task(recipe), sources or find_sources(recipe, objects)
    task = task if metric is None else replace(task, metric=metric)
    if task.given is not None and isinstance(examples.given_outputs, str):
        raise ValueError(f"{task.given.key}: {examples.given_outputs}")
    splits, searches = _read_splits(sources, task, examples, objects or {})
    part_of_train = (PART_OF_TRAIN if sources.has_labels else PART_WITHOUT_LABELS).format(text=task.group or "text")
    names = _find_names(splits, task, examples)
    if sources.has_labels:  # finds wrong labels
        examples.encode_labels(splits["train"]["label"], task, names=names, where="train", rows=splits["train"]["row"])
    notes: dict[str, Any] = {"rows_read": {name: table.num_rows for name, table in splits.items()}}
    notes |= {"searches": searches} if searches else {}
    if "validation" not in splits:
        splits["train"], splits["validation"] = _hold_out(splits["train"], examples, salt="validation")
        notes["validation"] = part_of_train
    if task.drop_overlap:
        _drop_overlap(splits, "validation", notes)
    notes[OVERLAP] = _count_equal(splits["validation"], splits["train"])
    is_held_out = "selection" not in splits
    if is_held_out:
        splits["train"], splits["selection"] = _hold_out(splits["train"], examples, salt="selection")
    notes["selection"] = part_of_train if is_held_out else f"{recipe.selection}; nothing is held out of train for it"
    if task.drop_overlap:
        _drop_overlap(splits, "selection", notes)
    if not is_held_out:
        others = ("train", "validation")
        notes[SELECTION_OVERLAP] = {other: _count_equal(splits["selection"], splits[other]) for other in others}
    if recipe.train_rows is not None:
        splits["train"] = _reduce(splits["train"], recipe.train_rows, examples, salt="train_rows")
    if recipe.train_rows is not None and is_held_out:
        limit = max(LEAST_HELD_OUT, int(HELD_OUT * recipe.train_rows))
        splits["selection"] = _reduce(splits["selection"], limit, examples, salt="selection")
        notes["selection"] = f"{part_of_train}; of these at most {limit:,}, because of data.train_rows"
    for name, table in splits.items():
        if table.num_rows == 0:
            raise ValueError(
                f"nothing is left for the {name} split: {sum(notes['rows_read'].values())} rows were read, and rows of "
                "equal text stay together; give more rows with different texts."
            )
    notes["rows"] = {name: table.num_rows for name, table in splits.items()}
    if task.group is not None:
        notes["groups"] = number_groups(splits, task.group, scored=None if sources.has_labels else SCORED)
    return TaskData(task, splits, names, notes)


def read_first_values(sources: Sources, task: Task) -> tuple[Any, Any]:
    """Read the first text and the first label of the training examples, which may be lists. No iterator is advanced.

    Args:
        sources: where the splits are read from.
        task: task that names the columns.

    Returns:
        Text and label; None where there is none. Of several label columns None.
    """
    try:
        rows = _find_first_rows(sources, task)
    except (ValueError, KeyError):  # told in full when the data is read
        return None, None
    columns = (task.text[0], "" if task.label_columns else task.label)
    text, label = (next((value for value in rows.get(name, ()) if value is not None), None) for name in columns)
    return _read_array(text), _read_array(label)


def _read_array(value: Any) -> Any:
    """An array as a list; pandas has arrays in the place of lists that it reads from Parquet."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _find_first_rows(sources: Sources, task: Task) -> Mapping[str, Sequence[Any]]:
    """Columns of the first training examples."""
    place = sources.places["train"]
    if isinstance(place, Path):
        columns, optional, header = task.text[:1], list_label_columns(task), task.get_header("train")
        return next(read_blocks(place, columns=columns, optional=optional, header=header), {})
    if sources.dataset is not None and isinstance(place, str):
        place = sources.dataset[place]
    return wrap_rows(place).first


def describe_missing_labels(against_teacher: Sequence[str], *, has_teacher: bool = True) -> str:
    """Say that train has no labels, and what scores are therefore.

    Args:
        against_teacher: splits that are scored against the teacher's predictions.
        has_teacher: False if its outputs are given.

    Returns:
        A sentence or two.

    >>> describe_missing_labels(["selection", "validation"])
    'No labels were given: scores on selection and validation are agreement with the teacher.'
    """
    if not against_teacher:
        place = "the teacher labelled it" if has_teacher else "given outputs take their place"
        return f"No labels were given for train: {place}."
    *others, last = against_teacher
    names = f"{', '.join(others)} and {last}" if others else last
    split = "" if "validation" in against_teacher else " for train"
    return f"No labels were given{split}: scores on {names} are agreement with the teacher."


def _find_names(splits: Mapping[str, pa.Table], task: Task, examples: ExampleType) -> Names:
    """Class names from the labels of train; if it has none, from those of other splits, or from the teacher later.

    Columns with the outputs of another model say what they are.
    """
    if task.given is not None:
        return task.given.names
    labels = number_labels(splits["train"]["label"])[1]
    if labels == [None]:
        others = [splits[name]["label"] for name in SCORED if name in splits]
        labels = [label for column in others for label in number_labels(column)[1]]
        if task.labels is None and not any(label is not None for label in labels):
            return None
    names: Names = examples.find_names(labels, task)
    return names


def _read_splits(
    sources: Sources, task: Task, examples: ExampleType, objects: Mapping[str, Any]
) -> tuple[dict[str, pa.Table], dict[str, dict[str, int]]]:
    """All splits as tables, and what is counted of those that are queries with documents."""
    tables: dict[str, pa.Table] = {}
    counts: dict[str, dict[str, int]] = {}
    places, dataset = sources.places, sources.dataset
    for split in filter(places.__contains__, LABELLED):
        source, where = places[split], f"data.{split}"
        if split in sources.searches:
            with name_key(where):
                search = read_search(sources.searches[split])
            tables[split], counts[split] = search.table, search.counts
            continue
        of_split = choose_task(task, is_paired=sources.paired[split])
        options: dict[str, Any] = {"labelled": sources.labelled[split], "given": sources.given[split]}
        options["grouped"] = needs_groups(split, places)
        if split in objects:
            tables[split] = read_rows(source, of_split, examples=examples, where=where, **options)
            continue
        with name_key(where):
            if dataset is not None:
                tables[split] = read_split(dataset, source, of_split, examples=examples, **options)
            else:
                tables[split] = read_file(source, of_split, examples=examples, split=split, **options)
    return tables, counts


def _drop_overlap(splits: dict[str, pa.Table], split: str, notes: dict[str, Any]) -> None:
    """Leave out the rows of a split that share a text with train, and note how many."""
    overlap = mark_shared_texts(splits[split], splits["train"])
    notes[DROPPED.format(split=split)] = int(overlap.sum())
    splits[split] = select_rows(splits[split], ~overlap)


def _count_equal(table: pa.Table, other: pa.Table) -> int:
    """Number of rows whose texts are also those of a row of another split; of pairs, those with a text of it.

    Of searches only queries count: documents may well be searched for several splits, and be trained on.
    """
    table, other = (select_queries(each) for each in (table, other))
    if list_text_columns(table) != list_text_columns(other):
        return int(mark_shared_texts(table, other).sum())
    hashes = hash_texts(table)
    is_there = np.zeros(len(hashes), dtype=bool)
    for block in iterate_blocks(other):  # train may be large
        is_there |= find_hashes(hashes, hash_texts(block))
    return int(is_there.sum())


def _hold_out(table: pa.Table, examples: ExampleType, *, salt: str) -> tuple[pa.Table, pa.Table]:
    """Take a part out of train. A rare class keeps an example in train, then gets one in the part that is taken out."""
    strata = _find_strata(table, examples)
    size = HELD_OUT if HELD_OUT * table.num_rows <= MOST_HELD_OUT else MOST_HELD_OUT
    together = "group" if "group" in table.column_names else None
    from_each = examples.needs_every_group
    apart = choose_stratified(table, strata, size=size, salt=salt, from_each=from_each, together=together)
    return select_rows(table, ~apart), select_rows(table, apart)


def _find_strata(table: pa.Table, examples: ExampleType) -> NDArray[np.int64]:
    """Group of each row by its label; without labels, one for all."""
    if table["label"].null_count == table.num_rows:
        return np.zeros(table.num_rows, np.int64)
    return examples.group_labels(table["label"])


def _reduce(table: pa.Table, number: int, examples: ExampleType, *, salt: str) -> pa.Table:
    """Reduce a split to a number of rows, stratified by label where there are labels."""
    if table.num_rows <= number:
        return table
    chosen = choose_number(table, _find_strata(table, examples), number=number, salt=salt)
    if chosen.sum() < number:
        logger.warning("data.train_rows: %d of %d rows are used, since equal texts stay together", chosen.sum(), number)
    return select_rows(table, chosen)
