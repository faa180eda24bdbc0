"""What the sentences about mistakes are made of: values and names of the user's, short and in one line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

# How a run refuses a teacher. A sweep knows the sentence by it and stops, since its other runs would be refused too.
USELESS_TEACHER = "teacher: nothing useful can be learned from it."
MANY = 30  # names that a sentence lists
SHORT = reprlib.Repr()
SHORT.maxstring, SHORT.maxother = 80, 80


@contextmanager
def name_key(key: str) -> Iterator[None]:
    """Put the name of a key before whatever is wrong with its value.

    Args:
        key: key of a recipe.

    Raises:
        ValueError: as what runs inside, with the key.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def suggest_name(name: str, known: Iterable[str], *, kind: str) -> str:
    """Sentences behind the one that refuses a name: the closest known one, and all of them or the first of many.

    Args:
        name: what was given.
        known: what would have been right.
        kind: what they are, in the plural.

    Returns:
        Whole sentences.

    >>> suggest_name("sidd", ["finetune", "pid", "sid"], kind="schedules")
    "Did you mean 'sid'? Schedules: finetune, pid, sid."
    >>> suggest_name("text", [], kind="columns")
    'There are no columns.'
    """
    known = sorted(known)
    if not known:
        return f"There are no {kind}."
    listed = f"{kind[0].upper()}{kind[1:]}: {join_names(known)}."
    return " ".join(filter(None, [suggest_closest(name, known), listed]))


def suggest_closest(name: str, known: Iterable[str]) -> str:
    """Ask whether the closest known name is meant.

    Args:
        name: what was given.
        known: what would have been right.

    Returns:
        The question; empty if none is close.

    >>> suggest_closest("learning_rte", ["learning_rate"]), suggest_closest("x", ["learning_rate"])
    ("Did you mean 'learning_rate'?", '')
    """
    first = [word for word in known if len(word) <= SHORT.maxstring][:1_000]
    close = difflib.get_close_matches(name[: SHORT.maxstring], first, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else ""


def join_names(names: Sequence[str]) -> str:
    """Join names for a sentence.

    Args:
        names: names that the user gave.

    Returns:
        The names, or the first of many.
    """
    more = [f"{len(names) - MANY} more"] if len(names) > MANY else []
    return ", ".join([shorten_value(name)[1:-1] for name in names[:MANY]] + more)


def shorten_value(value: object) -> str:
    """A value of the user's as it stands in a sentence.

    Args:
        value: of any kind and length.

    Returns:
        How Python writes it, without the middle of what is long.
    """
    try:
        return SHORT.repr(value)
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return "a number of very many digits"


def get_first_line(error: Exception) -> str:
    """What a library says, as part of a sentence.

    Args:
        error: from the library.

    Returns:
        Its first line, without the full stop.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten_value(lines[0].rstrip("."))[1:-1]


def format_count(count: float, noun: str) -> str:
    """Write a number with what it counts.

    Args:
        count: the number.
        noun: what is counted, in the singular; its plural ends in s.

    Returns:
        Such as `1 step` or `1,200 steps`.

    >>> format_count(1, "step"), format_count(1_200, "step"), format_count(1.0, "epoch"), format_count(0.5, "epoch")
    ('1 step', '1,200 steps', '1 epoch', '0.5 epochs')
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {noun}{'' if count == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Write a time that is only known roughly.

    Args:
        seconds: time in seconds.

    Returns:
        Such as `about 3 minutes`.

    >>> format_duration(20), format_duration(80), format_duration(170), format_duration(9_000)
    ('less than a minute', 'about a minute', 'about 3 minutes', 'about 2.5 hours')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return "about a minute" if seconds > 45 else "less than a minute"
    return f"about {minutes} minutes" if minutes < 100 else f"about {seconds / 3600:.1f} hours"


def describe_memory_problem(error: BaseException) -> str | None:
    """Describe what to do if memory ran out, on the CPU or on a GPU.

    Args:
        error: any.

    Returns:
        One sentence, or None for any other error.
    """
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if not isinstance(error, MemoryError) and not is_torchs:
        return None
    return (
        "there is not enough memory; lower trainer.per_device_train_batch_size (and raise "
        "trainer.gradient_accumulation_steps by as much) or data.max_length."
    )
