"""Models and tokenizers from a folder or a name, checked: safetensors only, no code from a repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.models.families import family_of, max_positions
from innerdistill.models.heads import Head
from innerdistill.support.messages import get_first_line, shorten_value


def read_config(name: str) -> PretrainedConfig:
    """Read the configuration of a model.

    Args:
        name: folder or name of the model.

    Returns:
        The configuration.

    Raises:
        ValueError: not found, or family not supported.
    """
    if Path(name).exists() and not (Path(name) / "config.json").is_file():
        raise ValueError(f"{name}: expected a model folder with a config.json.")
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        raise ValueError(f"{name}: no model found there ({get_first_line(error)}).") from None
    family_of(config)
    return config


def load_classifier(name: str, head: Head) -> PreTrainedModel:
    """Load a fine-tuned model.

    Args:
        name: folder or name of the model.
        head: head that it has.

    Returns:
        The model in eval mode, in float32.

    Raises:
        ValueError: not found, family not supported, a base model whose head would be new, weights that are missing, of
            another shape than config.json says or no numbers, or two outputs of one name.
    """
    model, missing, mismatched = _load(name, head)
    for key, found, wanted in mismatched:
        raise ValueError(
            f"{name}: {key} is {found} in its files and {wanted} by its config.json; one of them is wrong."
        )
    if inside := _of_encoder(model, missing):
        raise ValueError(
            f"{name}: its files do not hold all weights that its config.json asks for ({len(inside)} are missing, "
            f"{inside[0]} first); copy the whole model again."
        )
    if missing:
        raise ValueError(
            f"{name}: this is a base model, its classification head is missing ({', '.join(missing[:2])}): give it as "
            "teacher.base to have it fine-tuned first, or give a fine-tuned classifier as teacher.path."
        )
    if bad := next((key for key, value in model.named_parameters() if not value.isfinite().all()), None):
        raise ValueError(f"{name}: {bad} holds values that are no numbers, so its answers are none either.")
    names = list(model.config.id2label.values())
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise ValueError(
            f"{name}: two outputs are called {shorten_value(twice)}; give each a name of its own (id2label)."
        )
    return model


def default_device() -> torch.device:
    """The accelerator, if there is one, as the training loop chooses it; else the processor."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_base(name: str, head: Head, *, names: Sequence[str] | None, seed: int = 1) -> PreTrainedModel:
    """Load a pre-trained model with a new head.

    Args:
        name: folder or name of the model.
        head: head that it gets.
        names: class names in the order of their ids; None where labels are numbers.
        seed: random seed of the new head.

    Returns:
        The model in eval mode, in float32. A head that the files hold is not used.

    Raises:
        ValueError: not found, family not supported, or files without the encoder's weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, missing, mismatched = _load(name, head, **head.configure(names))
        missing = sorted({*missing, *(key for key, *_ in mismatched)})
        inside = f"{model.base_model_prefix}."
        old_head = [key for key in model.state_dict() if not key.startswith(inside) and key not in missing]
        if old_head:
            fresh = type(model)(model.config).state_dict()
            model.load_state_dict({key: fresh[key] for key in old_head}, strict=False)
    if encoder := _of_encoder(model, missing):
        raise ValueError(
            f"{name}: its files do not hold the weights of a {type(model).__name__} ({len(encoder)} are missing "
            f"or of another shape, {encoder[0]} first), so it would start from random ones."
        )
    return model


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model.

    Args:
        name: folder or name of the model.

    Returns:
        The tokenizer; it pads on the right.

    Raises:
        ValueError: not found, or files without words: transformers would make up a tokenizer that knows none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="right", trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        raise ValueError(f"{name}: no tokenizer could be loaded ({get_first_line(error)}).") from None
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise ValueError(f"{name}: its tokenizer knows no words; copy the model's tokenizer.json or vocabulary there.")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"{name}: the tokenizer has no padding token.")
    return tokenizer


def longest_input(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, wanted: int | None) -> int:
    """Tokens that an example may have.

    Args:
        tokenizer: knows its own limit.
        model: has a table of positions.
        wanted: limit given by the user, or None.

    Returns:
        The smallest of the three.

    Raises:
        ValueError: the user wants more than the model has positions for.
    """
    limit = min(max_positions(model.config), tokenizer.model_max_length)
    if wanted is not None and wanted > limit:
        raise ValueError(f"data.max_length: {wanted} tokens were asked for, but the model allows {limit}.")
    return wanted or limit


def _of_encoder(model: PreTrainedModel, keys: Sequence[str]) -> list[str]:
    """Weights of the encoder, but for a pooler, which base models often lack."""
    inside = f"{model.base_model_prefix}."
    return [key for key in keys if key.startswith(inside) and not key.startswith(f"{inside}pooler.")]


def _load(
    name: str, head: Head, **options: Any
) -> tuple[PreTrainedModel, list[str], list[tuple[str, list[int], list[int]]]]:
    """The model, the keys that its files lack, and those of another shape with both shapes."""
    read_config(name)
    pickled = [file.name for file in Path(name).glob("*.bin") if file.name.startswith("pytorch_model")]
    if pickled and not any(Path(name).glob("*.safetensors")):
        raise ValueError(
            f"{name}: {pickled[0]} is a pickle, which may run code when it is read; only model.safetensors is read. If "
            f"you trust the file, convert it: {head.auto_class.__name__}.from_pretrained(folder, "
            "use_safetensors=False).save_pretrained(folder)."
        )
    try:
        model, info = head.auto_class.from_pretrained(
            name,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            ignore_mismatched_sizes=True,  # they are looked at by who loads
            **options,
        )
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        raise ValueError(f"{name}: the model cannot be loaded ({get_first_line(error)}).") from None
    mismatched = [(key, list(found), list(wanted)) for key, found, wanted in info["mismatched_keys"]]
    return model.eval(), sorted(info["missing_keys"]), sorted(mismatched)
