"""Heads of rankers: how the files of a CrossEncoder of sentence-transformers say that a model is one.

Its score is an activation of the only output. The library says which one in config.json, under the key
`sentence_transformers`, or in config_sentence_transformers.json. Models of older versions have another key. Here all
become the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from transformers import PretrainedConfig

from innerdistill.models.config_file import SETTINGS
from innerdistill.models.heads import TEXT_CLASS, has_ranking_head
from innerdistill.models.sentence_files import find_file, read_object
from innerdistill.support.messages import join_names, shorten_value

RANKER = "sentence_transformers"  # key in the configuration of a CrossEncoder
ACTIVATION, OLD_ACTIVATION = "activation_fn", "sbert_ce_default_activation_function"
SIGMOID = "torch.nn.modules.activation.Sigmoid"  # CrossEncoders with one output have it unless they say another
ACTIVATIONS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Sigmoid": expit,
    "Identity": np.asarray,
    "Tanh": np.tanh,
}


def mark_ranker(name: str, config: PretrainedConfig) -> None:
    """Mark the configuration of a model whose files make it a CrossEncoder with one output.

    Args:
        name: folder or name of the model.
        config: its configuration; gets the key `sentence_transformers` if they do.
    """
    has_head = any(each.endswith(TEXT_CLASS) for each in config.architectures or ())
    if not has_head or not has_ranking_head(config) or hasattr(config, RANKER):
        return
    if (activation := getattr(config, OLD_ACTIVATION, None)) is not None:
        setattr(config, RANKER, {ACTIVATION: activation})
    elif (path := find_file(name, SETTINGS)) is not None:
        settings = read_object(path)
        if settings.get("model_type") == "CrossEncoder":
            setattr(config, RANKER, {ACTIVATION: settings.get(ACTIVATION) or SIGMOID})


def is_ranker(config: PretrainedConfig) -> bool:
    """Tell whether a model was saved as a CrossEncoder with one output. It may still have been made for other scores.

    Args:
        config: configuration of the model, from `read_config`.

    Returns:
        True if its files say so.
    """
    return getattr(config, RANKER, None) is not None and has_ranking_head(config)


def configure_ranking_head(*_: Any) -> dict[str, Any]:
    """Configuration of a new head that scores a document for a query.

    Returns:
        Keys of the model's configuration. The score is between 0 and 1, as the library has it where nobody says more.
    """
    return {"num_labels": 1, "problem_type": None, RANKER: {ACTIVATION: SIGMOID}}


def adopt_activation(student: PretrainedConfig, teacher: PretrainedConfig) -> None:
    """Give a student the activation of its teacher, and no other kind of it that the copied configuration has.

    Args:
        student: configuration of the student; changed in place.
        teacher: configuration of its teacher.

    Raises:
        ValueError: an activation that is not known, which `predict` could not apply.
    """
    find_activation(teacher)
    setattr(student, RANKER, {ACTIVATION: _name_activation(teacher)})
    if hasattr(student, OLD_ACTIVATION):
        delattr(student, OLD_ACTIVATION)


def find_activation(config: PretrainedConfig) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Find the activation of a ranker's score.

    Args:
        config: configuration of the model.

    Returns:
        Function of outputs.

    Raises:
        ValueError: one that is not known.
    """
    name = _name_activation(config)
    kind = name.rpartition(".")[2]
    if kind not in ACTIVATIONS:
        raise ValueError(
            f"{config.name_or_path}: the activation of its score is {shorten_value(name)}; expected one of "
            f"{join_names(list(ACTIVATIONS))}."
        )
    return ACTIVATIONS[kind]


def _name_activation(config: PretrainedConfig) -> str:
    """As the library finds it: a class that is not of torch is not loaded."""
    name = (getattr(config, RANKER, None) or {}).get(ACTIVATION) or SIGMOID
    return str(name) if str(name).startswith("torch.") else SIGMOID
