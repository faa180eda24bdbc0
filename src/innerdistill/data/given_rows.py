"""Outputs of another model in the columns of a file: read, checked, and turned into logits. N rows, C labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logit

from innerdistill.data.given_columns import GivenColumns
from innerdistill.support.messages import join_names, shorten_value

GIVEN = "given_logits"  # column of a split: float32 logits in the order of the labels
SMALLEST = 1e-12  # probabilities are clipped to this and to 1 less this, so that their logits are finite
TOLERANCE = 1e-3  # by which the probabilities of a row may sum to more or less than 1


@dataclass(frozen=True)
class OutputRules:
    """What the probabilities of one problem type are.

    Attributes:
        to_logits: (probabilities (N, C)) -> logits (N, C).
        sum_to_one: whether the labels exclude one another.
    """

    to_logits: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    sum_to_one: bool


def compute_class_logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute logits whose softmax are these probabilities: their logarithms.

    Args:
        probabilities: of classes, each row sums to 1. (N, C)

    Returns:
        Logits; a probability of 0 counts as 1e-12. (N, C)

    >>> compute_class_logits(np.array([[0.5, 0.5], [0.0, 1.0]])).round(2).tolist()
    [[-0.69, -0.69], [-27.63, 0.0]]
    """
    return np.log(np.maximum(probabilities, SMALLEST))


def compute_label_logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute logits whose sigmoid are these probabilities: log(p / (1 - p)).

    Args:
        probabilities: of labels, each for itself. (N, C)

    Returns:
        Logits; 0 counts as 1e-12, and 1 as 1 - 1e-12. (N, C)

    >>> compute_label_logits(np.array([[0.5, 1.0]])).round(2).tolist()
    [[0.0, 27.63]]
    """
    return logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST))


CLASS_RULES = OutputRules(compute_class_logits, sum_to_one=True)
LABEL_RULES = OutputRules(compute_label_logits, sum_to_one=False)


def make_given_field(given: GivenColumns) -> pa.Field:
    """Make the field of a table that holds the logits.

    Args:
        given: the columns.

    Returns:
        Name and type.
    """
    return pa.field(GIVEN, pa.list_(pa.float32(), len(given.names)))


def read_given_rows(
    block: Mapping[str, list[Any]], given: GivenColumns, rules: OutputRules, *, where: str, first: int
) -> pa.FixedSizeListArray:
    """Read the outputs of some rows.

    Args:
        block: columns of some rows.
        given: which columns hold them.
        rules: what probabilities are.
        where: source of the rows, for messages.
        first: number of the first row.

    Returns:
        Logits of each row in float32, in the order of the labels. (N, C)

    Raises:
        ValueError: a value that is missing, no number or not finite; no probabilities; a list of another length. Names
            the row.
    """
    if given.are_lists:
        numbers = _read_lists(block[given.columns[0]], given, where, first)
    else:
        columns = [_read_column(block[name], name, where, first) for name in given.columns]
        numbers = np.stack(columns, axis=1)
    if given.kind == "probabilities":
        _check_probabilities(numbers, given, rules, where=where, first=first)
        numbers = rules.to_logits(numbers)
    with np.errstate(over="ignore"):
        logits = numbers.astype(np.float32)
    if len(wrong := np.flatnonzero(~np.isfinite(logits).all(axis=1))):
        found = f"{given.listed} hold a number that float32 cannot hold"
        raise ValueError(f"{where}: row {first + wrong[0]}: {found}.")
    return pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), len(given.names))


def _read_column(values: list[Any], name: str, where: str, first: int) -> NDArray[np.float64]:
    return np.array([_read_number(value, name, where, first + position) for position, value in enumerate(values)])


def _read_lists(values: list[Any], given: GivenColumns, where: str, first: int) -> NDArray[np.float64]:
    name, numbers = given.columns[0], np.empty((len(values), len(given.names)))
    for position, cells in enumerate(values):
        row = first + position
        if cells is None:
            raise ValueError(f"{where}: row {row} has no {shorten_value(name)}.")
        if not isinstance(cells, list | tuple):
            found = f"{shorten_value(name)} holds {shorten_value(cells)}, expected a list of numbers"
            hint = f"in a CSV or TSV file, give every label a column of its own in {given.key}"
            raise ValueError(f"{where}: row {row}: {found}; {hint}.")
        if len(cells) != len(given.names):
            expected = f"expected {len(given.names)}, one for each label ({join_names(given.names)})"
            raise ValueError(f"{where}: row {row}: {shorten_value(name)} holds {len(cells)} numbers, {expected}.")
        numbers[position] = [_read_number(value, name, where, row) for value in cells]
    return numbers


def _read_number(value: Any, name: str, where: str, row: int) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{where}: row {row} has no value in {shorten_value(name)}.")
    number = None
    if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = None
    if number is None or not np.isfinite(number):
        found = f"{shorten_value(name)} holds {shorten_value(value)}, expected a finite number"
        raise ValueError(f"{where}: row {row}: {found}.")
    return number


def _check_probabilities(
    numbers: NDArray[np.float64], given: GivenColumns, rules: OutputRules, *, where: str, first: int
) -> None:
    outside = (numbers < 0) | (numbers > 1)
    if outside.any():
        row, label = np.argwhere(outside)[0]
        name = given.columns[0 if given.are_lists else label]
        found = f"{shorten_value(name)} holds {numbers[row, label]:g}, expected a probability from 0 to 1"
        raise ValueError(f"{where}: row {first + row}: {found}; logits belong into data.logits.")
    sums = numbers.sum(axis=1)
    if rules.sum_to_one and len(wrong := np.flatnonzero(np.abs(sums - 1) > TOLERANCE)):
        raise ValueError(
            f"{where}: row {first + wrong[0]}: the probabilities in {given.listed} sum to {sums[wrong[0]]:.4g}, "
            "expected 1. If labels do not exclude one another, set data.problem_type=multi_label_classification."
        )
