"""Heads of models: which class loads them, and what a head for classes or for scores is in a configuration.

`problem_types` has a Head for each problem type. `load_base` and `load_classifier` get it as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PretrainedConfig


@dataclass(frozen=True)
class Head:
    """Head of a model: class that loads it, and what its configuration says.

    Attributes:
        auto_class: Auto class of transformers that loads a model with such a head.
        configure: (class names, None where there are none) -> keys of the configuration of a new head.
        fits: (configuration of a model) -> whether the model has such a head.
        name_outputs: (configuration of a model) -> names of its outputs by id.
        reads: tokens of the top layer that the head reads. `probe` tries it out, since some heads read more.
    """

    auto_class: Any
    configure: Callable[[Any], dict[str, Any]]
    fits: Callable[[PretrainedConfig], bool]
    name_outputs: Callable[[PretrainedConfig], tuple[str, ...]]
    reads: Literal["first token", "all tokens"]


def configure_class_head(names: Sequence[str]) -> dict[str, Any]:
    """Configuration of a new head that predicts one of several classes.

    Args:
        names: class names in the order of their ids.

    Returns:
        Keys of the model's configuration.
    """
    id2label = dict(enumerate(names))
    return {
        "num_labels": len(names),
        "id2label": id2label,
        "label2id": {label: index for index, label in id2label.items()},
        "problem_type": "single_label_classification",
    }


def configure_score_head(*_: Any) -> dict[str, Any]:
    """Configuration of a new head that predicts a score.

    Returns:
        Keys of the model's configuration.
    """
    return {"num_labels": 1, "problem_type": "regression"}


def has_class_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head predicts one of several classes.

    Args:
        config: configuration of the model.

    Returns:
        True if it does.
    """
    return config.num_labels > 1 and config.problem_type != "multi_label_classification"


def has_label_names(config: PretrainedConfig) -> bool:
    """Tell whether the outputs of a model have names. The name of a single score means nothing.

    Args:
        config: configuration of the model.

    Returns:
        True for several outputs.
    """
    return bool(config.num_labels > 1)


def has_score_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head predicts a score.

    Args:
        config: configuration of the model.

    Returns:
        True if it does.
    """
    return config.num_labels == 1 and config.problem_type != "multi_label_classification"


def name_classes(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of the outputs of a model that predicts classes.

    Args:
        config: configuration of the model.

    Returns:
        Class names by id.
    """
    return tuple(config.id2label[index] for index in range(config.num_labels))


def name_scores(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of the outputs of a model that predicts scores. Its id2label means nothing.

    Args:
        config: configuration of the model.

    Returns:
        `score`, once for each output.
    """
    return ("score",) * int(config.num_labels)
