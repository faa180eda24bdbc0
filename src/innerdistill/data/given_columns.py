"""Columns with the outputs of a model that is not here: which ones a recipe names, and which splits have them.

They take the teacher's place. Imports neither torch nor `datasets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from innerdistill.data.labels import sort_names
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import join_names, shorten_value

NEEDED_BY = ("train", "unlabelled")  # splits that a student learns from
SCORED_BY = ("validation", "selection")  # splits that need labels or outputs


@dataclass(frozen=True)
class GivenColumns:
    """Columns with a probability or a logit for each label.

    Attributes:
        kind: what they hold.
        names: label names by id.
        columns: column of each label, in this order; or one column of lists in this order.
    """

    kind: Literal["probabilities", "logits"]
    names: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """Key of the recipe that names them."""
        return f"data.{self.kind}"

    @property
    def are_lists(self) -> bool:
        """Whether one column holds a list for each row."""
        return len(self.columns) == 1

    @property
    def listed(self) -> str:
        """Names of the columns, in quotes, for a sentence."""
        return join_names([shorten_value(name) for name in self.columns])


def find_given_columns(recipe: DataRecipe, declared: Sequence[str] | None) -> GivenColumns | None:
    """Find the columns that a recipe names, and the order of the labels.

    Args:
        recipe: the `data` section of a recipe.
        declared: label names in the order of their ids, where the recipe or its task says it.

    Returns:
        The columns; None if the recipe names none.

    Raises:
        ValueError: both keys, an unknown or missing label, a column for two labels, or lists in no declared order.
    """
    if recipe.probabilities is not None and recipe.logits is not None:
        raise ValueError("data: both data.probabilities and data.logits are set; leave one of them out.")
    kind: Literal["probabilities", "logits"] = "logits" if recipe.probabilities is None else "probabilities"
    given = recipe.logits if recipe.probabilities is None else recipe.probabilities
    if given is None:
        return None
    if isinstance(given, str):
        if declared is None:
            raise ValueError(
                f"data.{kind}: {shorten_value(given)} is one column of lists, so name the labels in the order of the "
                f"lists with data.labels; or name a column for each label, such as data.{kind}.positive=p_positive."
            )
        return GivenColumns(kind, tuple(declared), (given,))
    _check_columns(f"data.{kind}", given, declared)
    names = tuple(declared) if declared is not None else sort_names(given)
    return GivenColumns(kind, names, tuple(given[name] for name in names))


def _check_columns(key: str, given: Mapping[str, str], declared: Sequence[str] | None) -> None:
    if len(given) < 2:
        raise ValueError(f"{key}: expected a column for each of two or more labels, got {len(given)}.")
    for label, column in given.items():
        others = [other for other in given if other != label and given[other] == column]
        if others:
            raise ValueError(
                f"{key}: the column {shorten_value(column)} is named for {shorten_value(label)} and for "
                f"{shorten_value(others[0])}; every label needs a column of its own."
            )
    for label in given:
        if declared is not None and label not in declared:
            raise ValueError(f"{key}: {shorten_value(label)} is not one of the labels ({join_names(declared)}).")
    for label in declared or ():
        if label not in given:
            raise ValueError(f"{key}: no column is named for the label {shorten_value(label)}.")


def choose_given(
    given: GivenColumns | None, has_columns: Mapping[str, bool], labelled: Mapping[str, bool | None]
) -> dict[str, bool]:
    """Decide from which splits the columns are read: from train and unlabelled, and from others that have any of them.

    Args:
        given: the columns; None if the recipe names none.
        has_columns: whether a split has any of them, by split.
        labelled: from `choose_labelled`.

    Returns:
        Whether every row of a split needs its outputs, by split.

    Raises:
        ValueError: a split that has nothing to learn from, or nothing to score against.
    """
    if given is None:
        return dict.fromkeys(has_columns, False)
    columns = f"{'the column' if given.are_lists else 'the columns'} {given.listed} of {given.key}"
    for split, is_there in has_columns.items():
        if split == "unlabelled" and not is_there:
            raise ValueError(f"data.unlabelled: there is no teacher for its texts, so it needs {columns} too.")
        if split in SCORED_BY and not is_there and labelled[split] is False:
            raise ValueError(
                f"data.{split}: it has no labels and lacks {columns}, so nothing can be scored on it; give it either."
            )
    return {split: is_there or split in NEEDED_BY for split, is_there in has_columns.items()}
