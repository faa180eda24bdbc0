"""Padding of models whose layers cannot be read: a text must get the same outputs alone and in a padded batch.

Models of FAMILIES are tried by `probe`, which needs no tokenizer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.models.capture import INPUT_NAMES, capture
from innerdistill.support.messages import get_first_line

TEXTS = ("A short text.", "A longer text, so that the short one is padded when both are in one batch.")
TOLERANCE = 1e-3  # share of the largest output: rounding stays far below it, a pad that is read far above

logger = logging.getLogger(__name__)


def choose_padding_token(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Give tokenizer and model a padding token where they have none: the end token, as transformers advises.

    Heads that read the last token of a text find it by the padding token in the model's configuration.

    Args:
        tokenizer: tokenizer of the model; changed in place.
        model: model whose configuration is changed in place.
    """
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
        logger.info("The tokenizer has no padding token; its end token %s pads instead.", tokenizer.eos_token)
    for config in (model.config, model.config.get_text_config()):
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id


def check_padded_outputs(name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, *, texts: int) -> None:
    """Check that padding changes nothing: a short text alone, and beside a longer one, gets the same outputs.

    Args:
        name: folder or name of the model.
        tokenizer: tokenizer that pads as it will in training.
        model: model in eval mode.
        texts: texts of an example, 1 or 2.

    Raises:
        ValueError: the outputs differ or are not finite, or the model cannot run on tokens alone.
    """
    short, longer = ((text,) * texts for text in TEXTS)
    options = {"padding": True, "return_tensors": "pt"}
    alone, padded = (tokenizer(*zip(*rows, strict=True), **options) for rows in ([short], [short, longer]))
    try:
        with torch.no_grad():
            wanted, got = (_predict(model, inputs) for inputs in (alone, padded))
    except Exception as error:  # noqa: BLE001 - many kinds; the user needs one sentence
        raise ValueError(f"{name}: the model does not run on tokens alone ({get_first_line(error)}).") from None
    if not (wanted.isfinite().all() and got.isfinite().all()):
        raise ValueError(f"{name}: its outputs are not finite, as where its weights overflow.")
    if (wanted - got).abs().max() > TOLERANCE * max(1.0, float(wanted.abs().max())):
        raise ValueError(
            f"{name}: padding changes the outputs of this model, so its answers would depend on the batch. Its "
            f"tokenizer pads on the {tokenizer.padding_side} with {tokenizer.pad_token} (id {tokenizer.pad_token_id}), "
            f"and pad_token_id in its config.json is {model.config.pad_token_id}; correct the two."
        )


def _predict(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Tensor:
    """The outputs of the first text (C,)."""
    read = {name: inputs[name].to(model.device) for name in INPUT_NAMES if name in inputs}
    logits = capture(model, read, layers={}).logits
    assert logits is not None
    return logits[0].float()
