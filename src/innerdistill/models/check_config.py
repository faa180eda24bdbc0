"""Checks of a configuration: quantised weights, attention of another package, and code of its own."""

from __future__ import annotations

import difflib
import json
import logging
from functools import cache
from pathlib import Path

from transformers import CONFIG_MAPPING, PretrainedConfig

COMPUTED_HERE = (None, "eager", "sdpa")  # implementations of attention that need no other package

logger = logging.getLogger(__name__)


def check_config(name: str, config: PretrainedConfig) -> None:
    """Refuse a configuration with which the model would not be the one that was trained, or could not be loaded.

    Args:
        name: folder or name of the model.
        config: its configuration.

    Raises:
        ValueError: quantised weights, or an implementation of attention that another package brings.
    """
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is not None:
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else type(quantisation).__name__
        raise ValueError(
            f"{name}: its weights are quantised ({method}, quantization_config in its config.json), and innerdistill "
            "computes in float32; use the model from before that, or model.dequantize().save_pretrained(folder)."
        )
    attention = getattr(config, "_attn_implementation_internal", None)
    if attention not in COMPUTED_HERE:
        raise ValueError(
            f"{name}: its config.json asks for the attention implementation {attention!r}, and innerdistill chooses "
            "its own; take _attn_implementation out of it."
        )
    if getattr(config, "auto_map", None):
        _report_own_code(name, config.model_type)


@cache
def _report_own_code(name: str, family: str) -> None:
    logger.warning(
        "Warning: %s names code of its own (auto_map in its config.json), which is never run. It is read as a model of "
        "transformers' family %r. Compare a few of its predictions with what you know.",
        name,
        family,
    )


def explain_own_code(name: str) -> str | None:
    """Explain that a model needs code of its own, where transformers has no family of its name.

    Args:
        name: folder of the model.

    Returns:
        One sentence with the nearest family of transformers; None for another problem.
    """
    try:
        content = json.loads((Path(name) / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not content.get("auto_map") or content.get("model_type") in CONFIG_MAPPING:
        return None
    family = str(content.get("model_type"))
    close = difflib.get_close_matches(family, list(CONFIG_MAPPING), n=1)
    hint = f" transformers has the family {close[0]!r}; there may be a version of the model for it." if close else ""
    return (
        f"{name}: this model needs code of its own (auto_map in its config.json), which is never run, and transformers "
        f"has no family {family!r}.{hint}"
    )
