"""config.json of a model's folder, read as JSON: what is known of a model before torch is imported."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

CONFIG = "config.json"
MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"  # files of sentence-transformers
MODEL_TYPE = "SentenceTransformer"  # in the settings; CrossEncoder, SparseEncoder and others are other kinds of models
LAYER_KEYS = ("num_hidden_layers", "n_layers")  # the second one is DistilBERT's


def check_config_file(name: str) -> None:
    """Check that a folder is there, with a config.json and no adapter; a name on the Hugging Face Hub passes.

    Args:
        name: folder or name of the model.

    Raises:
        ValueError: a missing folder, an adapter, a file, or a folder without config.json.
    """
    refuse_missing_folder(name)
    if (Path(name) / "adapter_config.json").is_file():
        raise ValueError(refuse_adapter(name, sign="adapter_config.json"))
    if Path(name).exists() and not (Path(name) / CONFIG).is_file():
        raise ValueError(f"{name}: expected a model folder with a config.json.")


def is_sentence_encoder(name: str) -> bool:
    """Tell whether a folder is one of sentence-transformers that makes embeddings. Rankers have `modules.json` too.

    Args:
        name: folder or name of the model.

    Returns:
        True if its files say so; False for a name on the Hugging Face Hub, and for what cannot be read.
    """
    if not (Path(name) / MODULES).is_file():
        return False
    try:
        settings = json.loads((Path(name) / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:  # older versions wrote none
        return True
    except (OSError, ValueError, RecursionError):  # who loads it is told
        return False
    return isinstance(settings, dict) and settings.get("model_type", MODEL_TYPE) == MODEL_TYPE


def refuse_missing_folder(name: str) -> None:
    """Refuse a path where nothing is, before it is looked up on the Hugging Face Hub for minutes.

    A name is a path if it begins with `.`, `/` or `~`, has several slashes, or if the folder before its slash is here.

    Args:
        name: folder of a model or run, or name on the Hugging Face Hub.

    Raises:
        ValueError: nothing is there; the nearest folder beside it is named.
    """
    path = Path(name)
    is_path = name[:1] in (".", "/", "~") or name.count("/") > 1 or ("/" in name and path.parent.is_dir())
    if not is_path or path.exists():
        return
    wanted = path.expanduser() if name.startswith("~") else path
    if wanted.is_dir():  # a shell replaces ~, a recipe does not
        raise ValueError(f"{name}: no such folder; did you mean {wanted}?")
    folders = [other.name for other in wanted.parent.glob("*") if other.is_dir()]
    close = difflib.get_close_matches(wanted.name, folders, n=1)
    raise ValueError(f"{name}: no such folder" + (f"; did you mean {wanted.parent / close[0]}?" if close else "."))


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
