"""probe: prepare a model, and try on a small input what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from innerdistill.models.capture import capture, reads_first_token
from innerdistill.models.families import encoder_layers, prepare


@dataclass(frozen=True)
class Architecture:
    """The measures that teacher and student must agree on.

    Attributes:
        num_layers: number of encoder layers.
        hidden_size: width of the activations after a layer.
        num_heads: attention heads per layer.
    """

    num_layers: int
    hidden_size: int
    num_heads: int


def probe(model: PreTrainedModel) -> Architecture:
    """Prepare a model and check on a small input that every layer shows clean internals.

    Args:
        model: of a supported family; `prepare` is applied.

    Returns:
        Number of layers, width and heads, as measured.

    Raises:
        ValueError: the family is not supported, or its layers do not show what they should.
    """
    prepare(model)
    num_layers, training = len(encoder_layers(model)), model.training
    device, vocabulary = model.device, model.config.vocab_size
    ids = (torch.arange(12, device=device).view(2, 6) + (model.config.pad_token_id or 0) + 1) % vocabulary
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2], device=device)
    inputs = {"input_ids": ids, "attention_mask": mask}
    everything = dict.fromkeys(range(1, num_layers + 1), ("attention", "cls"))
    model.eval()
    with torch.no_grad():
        found = capture(model, inputs, layers=everything)
        _try_first_token(model, inputs)
    model.train(training)
    heads, widths = set(), set()
    for number, layer in found.layers.items():
        assert layer.attention is not None and layer.cls is not None
        rows = layer.attention.probabilities()
        real = rows[1, :, :4, :4].sum(-1)
        if rows.shape[-2:] != (6, 6) or not torch.allclose(real, torch.ones_like(real), atol=1e-3):
            raise ValueError(
                f"layer {number} of {type(model).__name__}: attention rows over real tokens do not sum to 1."
            )
        heads.add(rows.shape[1])
        widths.add(layer.cls.shape[-1])
    if len(heads) != 1 or len(widths) != 1:
        raise ValueError(f"{type(model).__name__} has layers of different widths {widths} or heads {heads}.")
    return Architecture(num_layers, widths.pop(), heads.pop())


def _try_first_token(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
    """Find out whether the head needs more of the top layer than the first token, as one that averages does."""

    def spoil(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, 1:] = torch.nan  # goes through whatever reads it, weights of 0 included
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    reads_first_token.discard(model)
    wanted = capture(model, inputs, layers={}).logits
    assert wanted is not None
    hook = encoder_layers(model)[-1].register_forward_hook(spoil)
    try:
        spoilt = capture(model, inputs, layers={}).logits
    finally:
        hook.remove()
    if spoilt is None or spoilt.isnan().any():
        return
    reads_first_token.add(model)
    try:
        found = capture(model, inputs, layers={}).logits
        same = found is not None and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    except (RuntimeError, IndexError):  # it counts on the other tokens being there
        same = False
    if not same:
        reads_first_token.discard(model)
