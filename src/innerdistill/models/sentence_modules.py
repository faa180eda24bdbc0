"""Modules of sentence-transformers after an encoder: Pooling, Dense and Normalize, built by the library itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from innerdistill.models.config_file import CONFIG
from innerdistill.models.sentence_files import ModelFilesError, SentenceFiles, SentenceModule, find_file
from innerdistill.support.messages import get_first_line, join_names, shorten_value

TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"  # names of what the modules read and write
ACTIVATION = "activation_function"  # option of Dense: its class


def read_options(name: str, module: SentenceModule) -> SentenceModule:
    """Read the options of a module as the installed library reads them: older versions had other names for some.

    Args:
        name: folder or name of the model.
        module: the module.

    Returns:
        The module with its options.

    Raises:
        ModelFilesError: options that the library does not have.
    """
    kind = _get_class(module.kind)
    where = f"{name}: {module.path}/{CONFIG}"
    if module.kind != "Normalize" and find_file(name, f"{module.path}/{CONFIG}") is None:
        raise ModelFilesError(f"{where} is missing; copy the whole model again.")
    options = kind.load_config(name, subfolder=module.path)
    if module.kind != "Pooling":  # the library leaves out what these classes do not know
        known = inspect.signature(kind.__init__).parameters
        options = {key: value for key, value in options.items() if key in known}
    if ACTIVATION in options and not _is_activation(options[ACTIVATION]):
        raise ModelFilesError(
            f"{where} names the activation function {shorten_value(options[ACTIVATION])}, which is not supported; "
            "expected a module of torch, such as torch.nn.modules.activation.Tanh."
        )
    try:
        build_module(module.kind, options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelFilesError(f"{where} cannot be used ({get_first_line(error)}).") from None
    return replace(module, options=options)


def build_module(kind: str, options: Mapping[str, Any]) -> Any:
    """Build a module. Its weights, if it has some, are random.

    Args:
        kind: class of the module: Pooling, Dense or Normalize.
        options: from `read_options`.

    Returns:
        The module of the library.
    """
    from sentence_transformers.util import import_from_string  # noqa: PLC0415 - an extra brings it

    options = dict(options)
    if ACTIVATION in options:
        options[ACTIVATION] = import_from_string(options[ACTIVATION])()
    return _get_class(kind)(**options)


def describe_pooling(mode: str, *, hidden_size: int) -> tuple[SentenceModule, dict[str, Any]]:
    """Describe the pooling of an encoder whose files say nothing of it.

    Args:
        mode: pooling mode of the library.
        hidden_size: size of the activations of a token.

    Returns:
        The module, and the entry of the encoder in modules.json.

    Raises:
        ModelFilesError: unknown mode.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer  # noqa: PLC0415

    if mode not in Pooling.POOLING_MODES:
        raise ModelFilesError(
            f"teacher.pooling: unknown mode {shorten_value(mode)}; expected one of {join_names(Pooling.POOLING_MODES)}."
        )
    options = Pooling(hidden_size, mode).get_config_dict()
    module = SentenceModule("1", f"1_{Pooling.__name__}", _name_class(Pooling), options, options)
    return module, {"idx": 0, "name": "0", "path": "", "type": _name_class(Transformer)}


def check_sizes(name: str, files: SentenceFiles, *, hidden_size: int) -> int:
    """Check that every module reads as many numbers as the one before it gives.

    Args:
        name: folder or name of the model.
        files: its modules, with their options.
        hidden_size: size of the activations of a token.

    Returns:
        Dimensions of an embedding.

    Raises:
        ModelFilesError: sizes that do not fit, or no module that makes one embedding of those of the tokens.
    """
    sizes = {TOKENS: hidden_size}
    for module in files.modules:
        where, options = f"{name}: {module.path}/{CONFIG}", module.options
        reads = TOKENS if module.kind == "Pooling" else str(options.get("module_input_name") or SENTENCE)
        if reads not in sizes:
            raise ModelFilesError(
                f"{where} reads {reads}, which no module before it gives; expected a Pooling before it."
            )
        built = build_module(module.kind, options)
        wanted = {"Pooling": "embedding_dimension", "Dense": "in_features"}.get(module.kind)
        if wanted is not None and options[wanted] != sizes[reads]:
            raise ModelFilesError(
                f"{where} says that it reads {options[wanted]} numbers ({wanted}), but what comes before it gives "
                f"{sizes[reads]}; one of them is wrong."
            )
        size = sizes[reads] if module.kind == "Normalize" else built.get_embedding_dimension()
        sizes[SENTENCE if module.kind == "Pooling" else str(options.get("module_output_name") or reads)] = size
    if SENTENCE not in sizes:
        raise ModelFilesError(f"{name}: none of its modules pools the tokens of a text; expected a Pooling.")
    return sizes[SENTENCE]


def _get_class(kind: str) -> Any:
    from sentence_transformers.sentence_transformer import modules  # noqa: PLC0415 - an extra brings it

    return getattr(modules, kind)


def _name_class(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


def _is_activation(name: Any) -> bool:
    """Whether a name is that of a module of torch. Anything else could run code of others."""
    from sentence_transformers.util import import_from_string  # noqa: PLC0415

    if not isinstance(name, str) or not name.startswith("torch."):
        return False
    try:
        found = import_from_string(name)
    except (ImportError, AttributeError, ValueError):
        return False
    return inspect.isclass(found) and issubclass(found, nn.Module)
