"""Gradient checkpointing: transformers computes layers again in the backward pass, so their activations take no memory.

Captured layers work too: what the losses read stays in memory, and the second forward pass captures nothing. The
highest layer that runs is computed once: `capture` may compute it for [CLS] alone, and the second pass would not.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, TrainingArguments

from innerdistill.models.families import encoder_layers, has_family


def check_recomputation(model: PreTrainedModel, arguments: TrainingArguments, *, section: str = "trainer") -> None:
    """Check that the layers of a model can be recomputed, if the options ask for it.

    Args:
        model: student, or another model of its family.
        arguments: arguments of a stage.
        section: name of the recipe section that the options are from, for messages.

    Raises:
        ValueError: transformers cannot recompute layers of this family.
    """
    if arguments.gradient_checkpointing and not model.supports_gradient_checkpointing:
        family = model.config.model_type
        raise ValueError(
            f"{section}.gradient_checkpointing is not supported: transformers cannot recompute layers of {family}."
        )


def keep_highest_layer(model: PreTrainedModel, number: int | None) -> None:
    """Compute the highest layer that runs only once.

    Args:
        model: model whose layers are recomputed; changed in place. One outside FAMILIES is left as it is: all of it
            runs, and nothing is captured.
        number: number of the layer, 1-based; None for the last one.
    """
    if has_family(model.config):
        _switch_off(encoder_layers(model)[-1 if number is None else number - 1])


def stop_recomputing(model: PreTrainedModel) -> None:
    """Undo what the Trainer does to a model for gradient checkpointing.

    Args:
        model: model that was trained; changed in place.
    """
    _switch_off(model)
    model.disable_input_require_grads()


def _switch_off(model: Any) -> None:
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.gradient_checkpointing = False
