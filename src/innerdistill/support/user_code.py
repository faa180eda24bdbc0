"""Functions and classes of the user's own: named in records, and blamed in one sentence where they fail."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from innerdistill.support.messages import describe_memory_problem, get_first_line, shorten_value

HOW_TO_RESUME = (
    "With the same {} the run resumes from its last checkpoint, if it has one. With a corrected one it starts again: "
    "set overwrite=True."
)


class UserCodeError(ValueError):
    """A function of the user's own failed; the sentence names it."""


def call_user_code(name: str, function: Callable[..., Any], *args: Any, hint: str = "") -> Any:
    """Call a function of the user's own.

    Args:
        name: name of the function in a recipe, such as `metrics.cost`.
        function: the function.
        *args: its arguments.
        hint: sentence behind the one on its failure.

    Returns:
        What it returns.

    Raises:
        UserCodeError: it raised. Where memory ran out, that is raised as it is.
    """
    try:
        return function(*args)
    except Exception as error:
        if describe_memory_problem(error) is not None:
            raise
        raise UserCodeError(f"{name} raised {type(error).__name__}: {get_first_line(error)}.{hint}") from error


def describe_code(code: Any) -> str:
    """Name a function or class, with a hash of its source, by which a changed one is recognised.

    Args:
        code: function, class or other callable.

    Returns:
        Such as `my_project.metrics.cost 3fa9c1d2`. The hash of code without a source, as in an interactive shell, is
        that of its instructions.
    """
    while hasattr(code, "wraps"):
        code = code.wraps
    named = code if hasattr(code, "__qualname__") else type(code)
    try:
        source = inspect.getsource(named)
    except (OSError, TypeError):
        source = repr(getattr(getattr(code, "__code__", None), "co_code", None))
    return f"{named.__module__}.{named.__qualname__} {hashlib.sha256(source.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class CheckedFunction:
    """A function of the user's, whose faults are told in one sentence.

    Attributes:
        name: name in a recipe, such as `losses.mine`.
        wraps: the function.
    """

    name: str
    wraps: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """Call the function; UserCodeError if it raises."""
        return call_user_code(self.name, self.wraps, *args)


@dataclass(frozen=True)
class CheckedScore:
    """A score function of the user's, whose faults are told in one sentence.

    Attributes:
        name: name in a recipe, such as `metrics.cost`.
        wraps: function (labels, predictions) -> score.
    """

    name: str
    wraps: Callable[..., Any]

    def __call__(self, labels: Any, predictions: Any) -> float:
        """Score predictions; UserCodeError if the function raises or returns no finite number."""
        hint = " It is called with labels and predictions."
        score = call_user_code(self.name, self.wraps, labels, predictions, hint=hint)
        with suppress(TypeError, ValueError):
            if math.isfinite(number := float(score)):
                return number
        raise UserCodeError(f"{self.name} returned {shorten_value(score)}, expected a finite number.")
