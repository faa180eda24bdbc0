"""Loading models and tokenizers from a folder or a name: safetensors only, no code from a repository."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import find_adapter_config_file

from innerdistill.models.check import (
    check_base,
    check_classifier,
    check_files,
    check_tokenizer,
)
from innerdistill.models.check_config import check_config, explain_own_code
from innerdistill.models.check_labels import check_label_maps
from innerdistill.models.check_weights import WRAPPERS, LoadedModel, is_wrapped
from innerdistill.models.config_file import check_config_file, refuse_adapter
from innerdistill.models.families import has_family, max_positions
from innerdistill.models.heads import Head, has_label_names
from innerdistill.models.padding import check_padded_outputs, choose_padding_token
from innerdistill.models.rankers import mark_ranker
from innerdistill.models.sentence_encoder import SentenceEncoder, adjust_tokenizer, save_sentence_encoder
from innerdistill.models.sentence_files import ModelFilesError, mark_sentence_encoder
from innerdistill.recipe.recipe import IN_MEMORY
from innerdistill.support.messages import get_first_line

logger = logging.getLogger(__name__)


def read_config(name: str) -> PretrainedConfig:
    """Read the configuration of a model.

    Args:
        name: folder or name of the model.

    Returns:
        The configuration; of a sentence-transformers model with the key `sentence_encoder`, of a CrossEncoder with the
        key `sentence_transformers`.

    Raises:
        ValueError: not found, not a configuration that transformers can read, or one that `check_config` refuses.
    """
    check_config_file(name)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        if (Path(name) / "config.json").is_file():
            check_label_maps(name)
            if (sentence := explain_own_code(name)) is not None:
                raise ValueError(sentence) from None
            reason = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise ValueError(f"{name}: its config.json cannot be read ({get_first_line(reason)}).") from None
        if _is_adapter_on_hub(name):
            raise ValueError(refuse_adapter(name, sign="adapter_config.json")) from None
        raise ValueError(f"{name}: no model found there ({get_first_line(error)}).") from None
    check_config(name, config)
    mark_sentence_encoder(name, config)
    mark_ranker(name, config)
    return config


def read_config_with_head(given: str | PreTrainedModel) -> PretrainedConfig:
    """Read the configuration of a model, which names the class that it was saved with, and thus its head.

    Args:
        given: folder or name of the model; or a model in memory, which need never have been saved.

    Returns:
        The configuration; a model in memory keeps its own as it is.

    Raises:
        ValueError: as `read_config`.
    """
    if isinstance(given, str):
        return read_config(given)
    config = copy.copy(given.config)
    config.architectures = [type(given).__name__]
    return config


def _is_adapter_on_hub(name: str) -> bool:
    """Whether a name on the Hugging Face Hub without a config.json is that of an adapter."""
    try:
        return find_adapter_config_file(name) is not None
    except (OSError, ValueError):  # there is nothing of that name, or no such name is possible
        return False


@contextmanager
def open_as_folder(given: Any) -> Iterator[str]:
    """Open a model or tokenizer as a folder. One in memory is written into a temporary folder, so it is not changed.

    So an object and its saved files take the same way, and give the same run.

    Args:
        given: folder or name; or a model or tokenizer of transformers.

    Yields:
        The folder or name.

    Raises:
        ValueError: as what runs inside, without the temporary folder's name.
    """
    if isinstance(given, str):
        yield given
        return
    if isinstance(given, PreTrainedModel) and given.device.type == "meta":
        raise ValueError(f"the {type(given).__name__} is on the device meta, so it has no weights; load it first.")
    with TemporaryDirectory() as folder, _restore_config(given):
        try:
            if isinstance(given, SentenceEncoder):
                save_sentence_encoder(given, Path(folder))
            else:
                given.save_pretrained(folder)
            yield folder
        except OSError as error:
            raise ValueError(
                f"the {type(given).__name__} cannot be written into {folder} ({error.strerror})."
            ) from None
        except ValueError as error:
            raise ValueError(str(error).replace(folder, f"the {type(given).__name__}")) from None


@contextmanager
def _restore_config(given: Any) -> Iterator[None]:
    """Leave the configuration of a model as it is: saving the model writes some keys into it."""
    config = vars(given.config) if isinstance(given, PreTrainedModel) else {}
    before = dict(config)
    try:
        yield
    finally:
        config.clear()
        config.update(before)


def load_classifier(name: str | PreTrainedModel, head: Head, **options: Any) -> PreTrainedModel:
    """Load a fine-tuned model.

    Args:
        name: folder or name of the model; or a model in memory, of which a copy is loaded.
        head: head that it has.
        **options: further options of its class, such as `pooling` of a sentence encoder.

    Returns:
        The model in eval mode, in float32.

    Raises:
        ValueError: not found, family not supported, or not complete (`check_classifier`).
    """
    loaded = _load(name, head, **options)
    config = loaded.model.config
    config.id2label = check_classifier(loaded)
    if has_label_names(config):
        config.label2id = {label: index for index, label in config.id2label.items()}
    return loaded.model


def default_device() -> torch.device:
    """The accelerator, if there is one, as the training loop chooses it; else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_base(
    name: str | PreTrainedModel, head: Head, *, names: Sequence[str] | None, seed: int = 1, **options: Any
) -> PreTrainedModel:
    """Load a pre-trained model with a new head.

    Args:
        name: folder or name of the model; or a model in memory, of which a copy is loaded.
        head: head that it gets.
        names: class names in the order of their ids; None where labels are numbers.
        seed: random seed of the new head.
        **options: further options of its class, such as `like` of a sentence encoder.

    Returns:
        The model in eval mode, in float32. A head that the files hold is not used.

    Raises:
        ValueError: not found, family not supported, or files without the encoder's weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        keys = head.configure(names)
        known = {key: value for key, value in keys.items() if hasattr(PretrainedConfig(), key)}
        loaded = _load(name, head, **known, **options)
        model = loaded.model
        model.config.update(keys)  # a key that transformers does not know would go to the model's class
        new = {*loaded.missing, *(key for key, *_ in loaded.mismatched)}
        prefix = f"{model.base_model_prefix}."
        old_head = [key for key in model.state_dict() if not key.startswith(prefix) and key not in new]
        if old_head and not isinstance(model, SentenceEncoder):  # whose modules are never new
            fresh = type(model)(model.config).state_dict()
            model.load_state_dict({key: fresh[key] for key in old_head}, strict=False)
    check_base(loaded)
    return model


def load_tokenizer(
    name: str | PreTrainedTokenizerBase, model: PreTrainedModel, *, texts: int
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model, and check that the model can read what it gives.

    Args:
        name: folder or name of the model; or a tokenizer in memory, of which a copy is loaded.
        model: model loaded from there.
        texts: texts of an example, 1 or 2.

    Returns:
        The tokenizer. It pads on the right; that of a model outside FAMILIES on its own side.

    Raises:
        ValueError: not found, without words or a padding token, or with tokens that the model does not have; a model
            outside FAMILIES whose outputs depend on padding.
    """
    is_readable = has_family(model.config)
    side = {"padding_side": "right"} if is_readable else {}
    with open_as_folder(name) as folder:
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **side)
        except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
            raise ValueError(f"{folder}: no tokenizer could be loaded ({get_first_line(error)}).") from None
        if not is_readable:
            choose_padding_token(tokenizer, model)
        check_tokenizer(folder, tokenizer, model, texts=texts)
        if not is_readable and model.device.type != "meta":
            check_padded_outputs(folder, tokenizer, model, texts=texts)
    if isinstance(model, SentenceEncoder):
        adjust_tokenizer(tokenizer, model)
    return tokenizer


def longest_input(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, wanted: int | None) -> int:
    """Find the most tokens that an example may have.

    Args:
        tokenizer: tokenizer with its own limit.
        model: model with a table of positions.
        wanted: limit that the user sets, in tokens; None for no limit.

    Returns:
        What the user wants. Without that, the smaller one of the other two.

    Raises:
        ValueError: the user wants more than the model has positions for.
    """
    limit = max_positions(model)
    if wanted is not None and wanted > limit:
        raise ValueError(f"data.max_length: {wanted} tokens were asked for, but the model allows {limit}.")
    return wanted or min(limit, tokenizer.model_max_length)


def _load(given: str | PreTrainedModel, head: Head, **options: Any) -> LoadedModel:
    """Load a model that need not be complete; `options` change its configuration."""
    with open_as_folder(given) as name:
        loaded = _load_folder(name, head, options)
    if isinstance(given, str):
        return loaded
    loaded.model.config.name_or_path = loaded.model.name_or_path = IN_MEMORY
    return replace(loaded, name=f"the {type(given).__name__}")


def _load_folder(name: str, head: Head, options: dict[str, Any]) -> LoadedModel:
    check_files(name, head)
    read_config(name)
    options |= {"dtype": "float32", "use_safetensors": True, "trust_remote_code": False}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # the report is checked afterwards
    try:
        model, report = head.auto_class.from_pretrained(name, **options)
        if is_wrapped(report["unexpected_keys"]):
            logger.info("%s: the names of its weights begin with module. or _orig_mod.; read without that", name)
            model, report = head.auto_class.from_pretrained(name, key_mapping=WRAPPERS, **options)
    except ModelFilesError:
        raise
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        raise ValueError(f"{name}: the model cannot be loaded ({get_first_line(error)}).") from None
    mark_ranker(name, model.config)
    mismatched = [(key, list(shape), list(expected)) for key, shape, expected in report["mismatched_keys"]]
    return LoadedModel(
        name,
        model.eval(),
        missing=sorted(report["missing_keys"]),
        mismatched=sorted(mismatched),
        unused=sorted(report["unexpected_keys"]),
        errors=report["error_msgs"],
    )
