"""Checks of label names: a config.json gives each output one name, and its two label maps say the same."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from innerdistill.support.messages import join_names, shorten_value

STOCK_NAME = re.compile(r"LABEL_\d+")  # transformers adds such a map where config.json has none
EXAMPLE = '{"0": "negative", "1": "positive"}'
EXPECTED = {"id2label": EXAMPLE, "label2id": "a mapping from label to number, or none at all"}

logger = logging.getLogger(__name__)


def check_label_maps(name: str) -> None:
    """Find out whether label maps are the reason why transformers cannot read a folder's config.json.

    Args:
        name: folder or name of the model. Only a folder is looked at.

    Raises:
        ValueError: a label map that is not a mapping, or an id2label whose keys are not numbers.
    """
    try:
        config = json.loads((Path(name) / "config.json").read_bytes())
    except (OSError, ValueError):
        return
    if not isinstance(config, dict):
        return
    for key in ("id2label", "label2id"):
        value = config.get(key)
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{name}: {key} in its config.json is {shorten_value(value)}; expected {EXPECTED[key]}.")
    id2label = config.get("id2label") or {}
    words = [key for key in id2label if not _is_whole_number(key)]
    if words and all(_is_whole_number(value) for value in id2label.values()):
        raise ValueError(f"{name}: id2label and label2id in its config.json are swapped; id2label is like {EXAMPLE}.")
    if words:
        raise ValueError(
            f"{name}: id2label in its config.json has the key {shorten_value(words[0])}; expected the number of an "
            f"output, as in {EXAMPLE}."
        )


def read_label_names(name: str, config: PretrainedConfig) -> dict[int, str]:
    """Read the names of a classifier's outputs, and check that its two label maps say the same.

    Args:
        name: folder or name of the model.
        config: configuration of the model.

    Returns:
        Names by id. Numbers and truth values become text, as they do in data.

    Raises:
        ValueError: outputs without a name, with the same name, or not numbered from 0; maps that contradict each other.
    """
    id2label: dict[int, Any] = config.id2label
    if sorted(id2label) != list(range(len(id2label))):
        numbers = join_names([str(index) for index in sorted(id2label)])
        raise ValueError(
            f"{name}: id2label in its config.json numbers the {len(id2label)} outputs {numbers}; number them from 0 to "
            f"{len(id2label) - 1}, in the order of the model's outputs."
        )
    labels = {}
    for index, label in sorted(id2label.items()):
        if not isinstance(label, str | bool | int | float):
            raise ValueError(
                f"{name}: id2label in its config.json calls output {index} {json.dumps(label)}; write the name of its "
                "label there."
            )
        labels[index] = label if isinstance(label, str) else json.dumps(label)
    texts = list(labels.values())
    for text in texts:
        if texts.count(text) > 1:
            raise ValueError(
                f"{name}: two outputs are called {shorten_value(text)}; give each a name of its own (id2label)."
            )
    _check_reverse_map(name, labels, config.label2id)
    return labels


def _check_reverse_map(name: str, labels: dict[int, str], label2id: Any) -> None:
    """Refuse a label2id that says something else than id2label. Names that only label2id has are reported."""
    if label2id is not None and not isinstance(label2id, dict):
        raise ValueError(
            f"{name}: label2id in its config.json is {shorten_value(label2id)}; expected {EXPECTED['label2id']}."
        )
    for label, index in (label2id or {}).items():
        if not _is_whole_number(index):
            raise ValueError(
                f"{name}: label2id in its config.json gives {shorten_value(label)} the id {shorten_value(index)}, "
                "expected a number; are id2label and label2id swapped?"
            )
    known = {label.lower() for label in labels.values()}
    names = [str(label) for label in label2id or {}]
    unknown = [label for label in names if label.lower() not in known and not STOCK_NAME.fullmatch(label)]
    if unknown:
        logger.warning(
            "Warning: %s: label2id in its config.json has names that id2label does not have; they are not used: %s",
            name,
            join_names(unknown),
        )
    for index, label in labels.items():
        other = (label2id or {}).get(label, index)
        if int(other) != index:
            raise ValueError(
                f"{name}: id2label and label2id in its config.json contradict each other: the id of "
                f"{shorten_value(label)} is {index} in the one and {other} in the other; correct the wrong one."
            )


def _is_whole_number(value: Any) -> bool:
    """Tell whether a value is a whole number, or the text of one."""
    return not isinstance(value, bool | float) and str(value).strip().isdecimal()
