"""Labels as text, as a file has them: read, and numbered by value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from innerdistill.support.messages import shorten_value

UNLABELLED = -100  # class id of an example without a label; gold losses skip it


def read_label(value: Any, **_: Any) -> str | None:
    """Bring the value of a label column into one form: text, which is all that a CSV file knows.

    Args:
        value: name or number.

    Returns:
        The label; None where there is none. Whole numbers have no decimal point, truth values are lower case.

    Raises:
        ValueError: neither a name nor a number.

    >>> read_label(3.0), read_label(True), read_label("")
    ('3', 'true', None)
    """
    if not isinstance(value, str | bool | int | float | Decimal | None):
        raise ValueError(f"holds {shorten_value(value)}, expected a name or a number.")
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def sort_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort label names into the order of their ids.

    Args:
        names: names, each once.

    Returns:
        The names; digits are sorted as numbers.

    >>> sort_names(["10", "2", "neg"])
    ('2', '10', 'neg')
    """
    return tuple(
        sorted(names, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
    )


def number_labels(labels: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str | None]]:
    """Number labels by value, in the order in which they occur.

    Args:
        labels: labels as text, null where missing. (N,)

    Returns:
        Position of each label among the different ones (N,), and the different ones.
    """
    values = pc.unique(labels)
    return pc.index_in(labels, values).to_numpy().astype(np.int64), values.to_pylist()
