"""Heads of models: which class loads them, and what a head for classes or for scores is in a configuration.

`problem_types` has a Head for each problem type. `load_base` and `load_classifier` get it as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.support.messages import shorten_value

# Ends of the names of transformers' classes with a head. A new kind of head is one more.
TEXT_CLASS = "ForSequenceClassification"  # classes, label sets or scores of a whole text
TAG_CLASS = "ForTokenClassification"
HEAD_CLASSES = (TEXT_CLASS, TAG_CLASS)
LABEL_SETS = "multi_label_classification"  # value of `problem_type` in a configuration
SENTENCE_ENCODER = "sentence_encoder"  # key in the configuration of a model that makes one embedding of a text


class Save(Protocol):
    """Writes a model into a folder, without its tokenizer."""

    def __call__(self, model: PreTrainedModel, folder: Path, *, max_length: int | None = None) -> None:
        """Write the files.

        Args:
            model: the model.
            folder: folder to write into.
            max_length: most tokens of a text, for files that say it; None keeps what the model was loaded with.
        """


def save_model_files(model: PreTrainedModel, folder: Path, *, max_length: int | None = None) -> None:
    """Write a model as transformers does: its weights and its configuration.

    Args:
        model: the model.
        folder: folder to write into.
        max_length: not written here; the tokenizer's files say it.
    """
    model.save_pretrained(folder)


def adopt_nothing(student: PretrainedConfig, teacher: PretrainedConfig) -> None:
    """Leave the configuration of a student as `configure` makes it.

    Args:
        student: configuration of the student.
        teacher: configuration of its teacher.
    """


@dataclass(frozen=True)
class Head:
    """Head of a model: class that loads it, and what its configuration says.

    Attributes:
        auto_class: Auto class of transformers that loads a model with such a head. Its models return `logits`; several,
            such as `start_logits` and `end_logits`, are stacked along a new last dimension.
        configure: (class names) -> keys of the configuration of a new head: `num_labels` and `problem_type`, which is
            None where transformers has no name for the type. A type without class names gets None for a base model,
            and for a student the names of its teacher's outputs.
        fits: (configuration of a model) -> whether the model has such a head. Two types fit only where a configuration
            leaves it open. HEAD_CLASSES says which heads are none of whole texts.
        name_outputs: (configuration of a model) -> names of its outputs by id, `num_labels` of them.
        reads: tokens of the top layer that the head reads. `probe` tries it out, since some heads read more.
        outputs: `per text`, logits (B, C); or `per token`, logits (B, L, C). Those are read at the tokens that stand in
            the column `pieces` of a tokenised split.
        save: writes a model into a folder. The Trainer's checkpoints are written by transformers in any case.
        adopt: (configuration of a student, that of its teacher) -> None. Gives the student what the teacher's says of
            its head beyond `configure`.
        find_activation: (configuration of a model) -> function of outputs, which `predict` applies; None for none.
    """

    auto_class: Any
    configure: Callable[[Any], dict[str, Any]]
    fits: Callable[[PretrainedConfig], bool]
    name_outputs: Callable[[PretrainedConfig], tuple[str, ...]]
    reads: Literal["first token", "all tokens"]
    outputs: Literal["per text", "per token"] = "per text"
    save: Save = save_model_files
    adopt: Callable[[PretrainedConfig, PretrainedConfig], None] = adopt_nothing
    find_activation: Callable[[PretrainedConfig], Callable[[NDArray[Any]], NDArray[Any]]] | None = None


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


def configure_label_set_head(names: Sequence[str]) -> dict[str, Any]:
    """Configuration of a new head that predicts any number of labels.

    Args:
        names: label names in the order of their ids.

    Returns:
        Keys of the model's configuration.
    """
    return {**configure_class_head(names), "problem_type": LABEL_SETS}


def configure_tag_head(names: Sequence[str]) -> dict[str, Any]:
    """Configuration of a new head that predicts a tag for every token.

    Args:
        names: tag names in the order of their ids.

    Returns:
        Keys of the model's configuration. transformers has no `problem_type` for tags.
    """
    return {**configure_class_head(names), "problem_type": None}


def has_tag_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head predicts a tag for every token.

    Args:
        config: configuration of the model.

    Returns:
        True if the class that it was saved with does.
    """
    return _is_saved_as(config, TAG_CLASS)


def _is_saved_as(config: PretrainedConfig, *ends: str) -> bool:
    return any(name.endswith(ends) for name in config.architectures or ())


def may_read_texts(config: PretrainedConfig) -> bool:
    """Tell whether a model's head may be one for whole texts.

    Args:
        config: configuration of the model.

    Returns:
        True if it was not saved with a class that has another head.
    """
    others = (end for end in HEAD_CLASSES if end != TEXT_CLASS)
    return not _is_saved_as(config, *others) and not has_embedding_head(config)


def configure_embedding_head(*_: Any) -> dict[str, Any]:
    """Configuration of a sentence encoder. It has no head that could be new: its modules say what it puts out.

    Returns:
        Keys of the model's configuration.
    """
    return {"problem_type": None}


def has_embedding_head(config: PretrainedConfig) -> bool:
    """Tell whether a model makes one embedding of a text.

    Args:
        config: configuration of the model, from `read_config`.

    Returns:
        True if its files are those of a sentence-transformers model.
    """
    return getattr(config, SENTENCE_ENCODER, None) is not None


def name_embedding(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of the outputs of a sentence encoder. A single number of an embedding means nothing.

    Args:
        config: configuration of the model.

    Returns:
        `dimension`, once for each.
    """
    return ("dimension",) * int(config.num_labels)


def has_label_set_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head may predict any number of labels. A head of several outputs may, unless it says else.

    Args:
        config: configuration of the model.

    Returns:
        True if it may.
    """
    return config.num_labels > 1 and config.problem_type in (None, LABEL_SETS) and may_read_texts(config)


def read_thresholds(config: PretrainedConfig) -> NDArray[np.float64] | None:
    """Read the probabilities from which a model predicts its labels.

    Args:
        config: configuration of the model.

    Returns:
        One per label (C,); None if the configuration has none, or is of another problem type.

    Raises:
        ValueError: not one probability for each label.
    """
    stored = getattr(config, "thresholds", None)
    if stored is None or config.problem_type != LABEL_SETS:
        return None
    try:
        thresholds = np.array(stored, dtype=np.float64)
    except (TypeError, ValueError):
        thresholds = np.zeros(0)
    if thresholds.shape != (config.num_labels,) or not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError(
            f"{config.name_or_path}: thresholds in its config.json are {shorten_value(stored)}; expected "
            f"{config.num_labels} numbers between 0 and 1, one for each label."
        )
    return thresholds


def store_thresholds(config: PretrainedConfig, thresholds: NDArray[np.float64] | None) -> None:
    """Store thresholds in the configuration of a model.

    Args:
        config: configuration of the model; changed in place.
        thresholds: probabilities (C,); None removes those that are there.
    """
    if thresholds is not None:
        config.thresholds = thresholds.tolist()
    elif hasattr(config, "thresholds"):
        del config.thresholds


def compute_cutoffs(config: PretrainedConfig) -> NDArray[np.float32]:
    """Compute the logits from which a model predicts its labels: log(t / (1 - t)) for a threshold t.

    Args:
        config: configuration of the model.

    Returns:
        One per output, 0 without thresholds. (C,)
    """
    thresholds = read_thresholds(config)
    return np.zeros(config.num_labels, np.float32) if thresholds is None else logit(thresholds).astype(np.float32)


def has_class_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head predicts one of several classes.

    Args:
        config: configuration of the model.

    Returns:
        True if it does.
    """
    return config.num_labels > 1 and config.problem_type != LABEL_SETS and may_read_texts(config)


def has_label_names(config: PretrainedConfig) -> bool:
    """Tell whether the outputs of a model have names. That of a single score or of a dimension means nothing.

    Args:
        config: configuration of the model.

    Returns:
        True for several outputs that are no embedding.
    """
    return bool(config.num_labels > 1) and not has_embedding_head(config)


def has_score_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head predicts a score.

    Args:
        config: configuration of the model.

    Returns:
        True if it does.
    """
    return config.num_labels == 1 and config.problem_type != LABEL_SETS and may_read_texts(config)


def has_ranking_head(config: PretrainedConfig) -> bool:
    """Tell whether a model's head may score documents: it has one output, and is not said to be of another kind.

    Args:
        config: configuration of the model.

    Returns:
        True if it may.
    """
    return config.num_labels == 1 and config.problem_type is None and may_read_texts(config)


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
