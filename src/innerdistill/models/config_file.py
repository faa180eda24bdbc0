"""config.json of a model's folder, read as JSON: what is known of a model before torch is imported."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG = "config.json"
LAYER_KEYS = ("num_hidden_layers", "n_layers")  # the second one is DistilBERT's


def check_config_file(name: str) -> None:
    """Check that a folder holds a model with a config.json and no adapter; a name on the Hugging Face Hub passes.

    Args:
        name: folder or name of the model.

    Raises:
        ValueError: an adapter, a file, or a folder without config.json.
    """
    if (Path(name) / "adapter_config.json").is_file():
        raise ValueError(refuse_adapter(name, sign="adapter_config.json"))
    if Path(name).exists() and not (Path(name) / CONFIG).is_file():
        raise ValueError(f"{name}: expected a model folder with a config.json.")


def refuse_adapter(name: str, *, sign: str) -> str:
    """Say that an adapter cannot be loaded as a model, and how it becomes one.

    Args:
        name: folder or name of the adapter.
        sign: what it was recognised by.

    Returns:
        One sentence.
    """
    return (
        f"{name}: this is an adapter ({sign}), which would not be used; merge it first: "
        f"peft.AutoPeftModelForSequenceClassification.from_pretrained({name!r}).merge_and_unload()"
        ".save_pretrained(folder), and copy the tokenizer there."
    )


def read_num_layers(name: str) -> int | None:
    """Read the number of layers of a model from its folder.

    Args:
        name: folder or name of the model.

    Returns:
        Number of layers; None for a name on the Hugging Face Hub, or where config.json does not say it.
    """
    try:
        content = json.loads((Path(name) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a damaged file is refused by the one who loads the model
        return None
    numbers = [content.get(key) for key in LAYER_KEYS] if isinstance(content, dict) else []
    return next((number for number in numbers if type(number) is int and number > 0), None)
