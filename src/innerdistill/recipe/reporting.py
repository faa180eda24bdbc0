"""The `trainer` keys that report on a run: trackers and the upload. They change no student, so no identity has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from innerdistill.support.extras import list_missing_packages, require_extra
from innerdistill.support.messages import shorten_value, suggest_name

TENSORBOARD = "tensorboard"
TRACKERS = (TENSORBOARD, "wandb", "mlflow", "trackio")  # as transformers names them
TRACKER_KEYS = ("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
HUB_KEYS = ("push_to_hub", "hub_model_id", "hub_private_repo")
REPORTING_KEYS = (*TRACKER_KEYS, *HUB_KEYS)


def drop_reporting(options: Mapping[str, Any], keys: Collection[str] = REPORTING_KEYS) -> dict[str, Any]:
    """Drop keys that report on a run and change no result.

    Args:
        options: `trainer` keys of a recipe.
        keys: those that are dropped: all, or HUB_KEYS alone for training itself, since the upload comes after it.

    Returns:
        The other ones.
    """
    return {key: value for key, value in options.items() if key not in keys}


def choose_trackers(options: Mapping[str, Any], *, section: str = "trainer") -> list[str]:
    """Choose what a run reports to: TensorBoard files by default, if tensorboard is installed.

    Args:
        options: `trainer` keys of a recipe.
        section: name of the recipe section, for messages.

    Returns:
        Names of trackers.

    Raises:
        ValueError: an unknown tracker, or one that is not installed.
    """
    report_to = options.get("report_to")
    if report_to is None:
        return [] if list_missing_packages(TENSORBOARD) else [TENSORBOARD]
    names = [report_to] if isinstance(report_to, str) else report_to
    if not isinstance(names, list | tuple):
        raise ValueError(f"{section}.report_to: expected a tracker or a list, got {shorten_value(report_to)}.")
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in TRACKERS:
            hint = suggest_name(str(name), [*TRACKERS, "none"], kind="trackers")
            raise ValueError(f"{section}.report_to: {shorten_value(name)} is not supported. {hint}")
    for name in names:
        require_extra(name, key=f"{section}.report_to: {name}")
    return list(dict.fromkeys(names))
