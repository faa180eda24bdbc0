"""Are runs alike enough for one table? Numbers of different data, teachers, starts or versions are not compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from innerdistill.recipe.identity import select_shared_keys
from innerdistill.report.record import RunRecord
from innerdistill.sweep.store import CellRun, name_block

START = "starting weights, so in student.source or the CPU type"
SHOWN = 12  # characters of a fingerprint in a message


def check_alike(finished: Iterable[CellRun]) -> None:
    """Check that runs that belong together had the same data, teacher, start and package versions.

    Tuning runs share teacher and start inside their block only. Blocks may come from machines of several CPU types,
    whose teachers of the same seed differ in the last bits. Methods are compared at the same value, so inside a block.

    Args:
        finished: finished cells of one sweep.

    Raises:
        ValueError: two runs that differ; the sentence names both, what differs, and both values.
    """
    known: dict[tuple[str, str], tuple[str, Any]] = {}
    for entry in finished:
        run, block = entry.run, name_block(entry.cell) if entry.cell.is_tuning else ""
        for key, value in _collect_facts(run.record, block=block).items():
            if value is None:
                continue
            first, expected = known.setdefault(key, (run.place, value))
            if value != expected:
                raise ValueError(
                    f"{run.place} and {first} differ in {key[0]} ({_describe(value, expected)}); delete "
                    "the one that is out of date and run the sweep again."
                )


def identify_teacher(record: RunRecord) -> str | None:
    """Identify the teacher of a run.

    Args:
        record: record of the run.

    Returns:
        Fingerprint of its weights; None for a fine-tuning, which has no teacher.
    """
    return None if record.teacher is None else record.teacher.fingerprint


def identify_internal_teacher(record: RunRecord) -> str | None:
    """Identify the model that the internal losses of a run learned from.

    Args:
        record: record of the run.

    Returns:
        Fingerprint of its weights; None if it is the teacher, or without such losses.
    """
    return None if record.internal_teacher is None else record.internal_teacher.fingerprint


def _collect_facts(record: RunRecord, *, block: str) -> dict[tuple[str, str], Any]:
    """Facts that are equal for runs of one sweep, by their name and by what they follow from."""
    recipe = record.recipe
    data = repr(recipe.data.model_dump(exclude={"note"}))
    asked = repr((block, select_shared_keys(recipe)))
    begun = repr((asked, recipe.student.model_dump(), recipe.seed))
    return {
        ("data", data): record.data.fingerprint,
        ("teacher", asked): identify_teacher(record),
        ("model of the internal losses", repr((asked, recipe.teacher.internal))): identify_internal_teacher(record),
        (START, begun): record.student.start,  # older runs do not say
        ("versions", ""): record.versions,
    }


def _describe(value: Any, expected: Any) -> str:
    """Both values: of versions those that differ, of fingerprints the first characters."""
    if not isinstance(value, dict):
        return f"{value[:SHOWN]} and {expected[:SHOWN]}"
    names = [name for name in {**value, **expected} if value.get(name) != expected.get(name)]
    return ", ".join(f"{name} {value.get(name)} and {expected.get(name)}" for name in names)
