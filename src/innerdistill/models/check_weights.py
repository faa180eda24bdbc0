"""Checks of weights: a model uses all that its files hold, and they hold all that it uses.

transformers reports both when it loads a model. A difference means another model than the one that was saved, unless it
concerns a part that the model does not need.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from transformers import PreTrainedModel

from innerdistill.models.config_file import refuse_adapter
from innerdistill.models.families import family_of, has_family
from innerdistill.models.heads import HEAD_CLASSES
from innerdistill.support.messages import join_names

# What wraps a model while it is trained puts its own name before those of the weights: DataParallel and torch.compile.
WRAPPERS = {r"^(module\.|_orig_mod\.)+": "", r"\._orig_mod\.": "."}
# What peft puts before the names of the weights, and what it calls those of LoRA.
OF_ADAPTERS = re.compile(r"^base_model\.model\.|\.lora_[AB]\.|\.base_layer\.")
# Heads for pre-training, as transformers names them; a classifier does not have them.
LANGUAGE_MODEL_HEADS = (
    "cls.predictions.",
    "cls.seq_relationship.",
    "lm_head.",
    "decoder.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
    "generator_predictions.",
    "generator_lm_head.",
    "discriminator_predictions.",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model as transformers loaded it, with its report on what fitted.

    Attributes:
        name: folder or name of the model.
        model: model in eval mode; weights that its files lack are random.
        missing: names of the weights that its files lack.
        mismatched: weights of another shape in its files: name, shape in the files, shape by config.json.
        unused: names of the weights in its files that the model does not have.
        errors: sentences of transformers on what else went wrong.
    """

    name: str
    model: PreTrainedModel
    missing: Sequence[str]
    mismatched: Sequence[tuple[str, list[int], list[int]]]
    unused: Sequence[str] = ()
    errors: Sequence[str] = ()


def is_wrapped(names: Sequence[str]) -> bool:
    """Tell whether names of weights begin with that of a wrapper, such as `module.`.

    Args:
        names: names of weights.

    Returns:
        True if one does.
    """
    return any(re.search(pattern, name) for pattern in WRAPPERS for name in names)


def check_weights(loaded: LoadedModel, *, new_head: bool) -> None:
    """Check that a model has the weights of its files. Parts that it does not need are reported in one line.

    Args:
        loaded: the model as it was loaded.
        new_head: whether the model gets a new head, so that the one in its files, or none, is fine.

    Raises:
        ValueError: an adapter; relative positions, which transformers no longer computes; weights of a layer, the
            embeddings or the classification head that are missing, unused or of another shape.
    """
    name, model = loaded.name, loaded.model
    if loaded.errors:
        raise ValueError(f"{name}: its weights cannot be loaded ({loaded.errors[0]}).")
    _check_positions(loaded)
    if adapter := next(filter(OF_ADAPTERS.search, loaded.unused), None):
        raise ValueError(refuse_adapter(name, sign=f"its files hold {adapter}"))
    for key, shape, expected in loaded.mismatched:
        if not new_head or select_encoder_weights(model, [key]):
            raise ValueError(
                f"{name}: {key} is {shape} in its files and {expected} by its config.json; one of them is wrong."
            )
    _check_encoder(loaded)
    others = [key for key in loaded.unused if not _is_spare(model, key)]
    if not new_head:
        _check_head(loaded, others)
    unused, new = (
        _name_parts(model, loaded.unused),
        _name_parts(model, filter(partial(_is_spare, model), loaded.missing)),
    )
    if unused:
        _report_once(f"{name}: not needed and not used of its files: {join_names(unused)}")
    if new:
        _report_once(f"{name}: not in its files and therefore new: {join_names(new)}")


def select_encoder_weights(model: PreTrainedModel, names: Sequence[str]) -> list[str]:
    """Select the weights of the encoder, without its pooler, which base models often lack.

    Args:
        model: the model.
        names: names of weights, with the encoder's prefix or, as a base model is saved, without.

    Returns:
        Those inside the encoder.
    """
    prefix, parts = f"{model.base_model_prefix}.", dict(model.base_model.named_children())
    return [
        name
        for name in names
        if (name.startswith(prefix) or name.split(".")[0] in parts)
        and not name.removeprefix(prefix).startswith("pooler.")
    ]


@cache
def _report_once(sentence: str) -> None:
    """Log a sentence; not again where a run loads the same model twice, such as a source that is a teacher too."""
    logger.info(sentence)


def _check_positions(loaded: LoadedModel) -> None:
    """Refuse relative positions of BERT and its relatives: transformers 5 ignores the setting and its weights."""
    setting = str(getattr(loaded.model.config, "position_embedding_type", None))
    tables = [key for key in loaded.unused if key.endswith("distance_embedding.weight")]
    if setting.startswith("relative_key") or tables:
        raise ValueError(
            f"{loaded.name}: it was trained with relative positions (position_embedding_type), which this transformers "
            "ignores, so its predictions would be wrong; choose a model with absolute positions."
        )


def _check_encoder(loaded: LoadedModel) -> None:
    """Refuse weights of the encoder that are unused or missing."""
    name, model = loaded.name, loaded.model
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    if unused := select_encoder_weights(model, loaded.unused):
        in_files = max(_find_layers(model, unused), default=0)
        if in_files > layers:
            raise ValueError(
                f"{name}: its files hold {in_files} layers, config.json says {layers} ({len(unused)} weights would not "
                f"be used, {unused[0]} first); correct config.json, or save the smaller model again."
            )
        raise ValueError(
            f"{name}: its files hold weights that would not be used ({len(unused)}, {unused[0]} first), so its "
            "predictions would be wrong; correct config.json, or merge what was added to the model."
        )
    if missing := select_encoder_weights(model, loaded.missing):
        whole = _find_layers(model, [key for key in model.state_dict() if key not in set(loaded.missing)])
        hint = ""
        if 0 < len(whole) < layers:
            hint = f"they hold {len(whole)} layers, config.json says {layers}; "
        if not whole and loaded.unused:
            hint = f"they hold those of another model, such as {loaded.unused[0]}; "
        raise ValueError(
            f"{name}: its files do not hold all weights that its config.json asks for ({len(missing)} are missing, "
            f"{missing[0]} first); {hint}copy the whole model again."
        )


def _check_head(loaded: LoadedModel, unused: Sequence[str]) -> None:
    """Refuse a classifier whose head is missing, or has more parts than the model."""
    name, missing = loaded.name, loaded.missing
    if missing and all(_is_spare(loaded.model, key) for key in missing):
        raise ValueError(
            f"{name}: its files do not hold the pooler that its classification head reads ({missing[0]} is missing); "
            "copy the whole model again."
        )
    if missing:
        raise ValueError(
            f"{name}: this is {_name_kind(loaded)}, its classification head is missing ({', '.join(missing[:2])}): set "
            "teacher.base to it, so that it is fine-tuned first, or set teacher.path to a fine-tuned classifier."
        )
    if unused:
        raise ValueError(
            f"{name}: its files hold weights of another head ({len(unused)}, {unused[0]} first), which would not be "
            f"used, so its predictions would be wrong; save it as a {type(loaded.model).__name__}."
        )


def _name_kind(loaded: LoadedModel) -> str:
    """What a model was saved as: a base model, or one with another head, by its class."""
    saved = next(iter(loaded.model.config.architectures or ()), "")
    return f"a {saved}" if "For" in saved and not saved.endswith(HEAD_CLASSES) else "a base model"


def _find_layers(model: PreTrainedModel, names: Sequence[str]) -> set[int]:
    """Numbers of the layers, from 1, that some weights belong to; none of a family whose layers cannot be read."""
    if not has_family(model.config):
        return set()
    pattern = re.compile(rf"(?:{model.base_model_prefix}\.)?{re.escape(family_of(model.config).layers)}\.(\d+)\.")
    return {int(match[1]) + 1 for match in map(pattern.match, names) if match}


def _is_spare(model: PreTrainedModel, name: str) -> bool:
    """Tell whether a weight belongs to a pooler or to a head for pre-training."""
    name = name.removeprefix(f"{model.base_model_prefix}.")
    return name.startswith(("pooler.", *LANGUAGE_MODEL_HEADS))


def _name_parts(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """Names of the parts of a model that weights belong to, such as `pooler`."""
    return sorted({name.removeprefix(f"{model.base_model_prefix}.").split(".")[0] for name in names})
