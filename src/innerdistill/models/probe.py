"""probe: prepare a model, and check on small batches that it shows the attention that it computes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from innerdistill.models.capture import Internals, MissingInternalsError, capture, reads_first_token, runs_first_token
from innerdistill.models.families import encoder_layers, has_family, prepare, use_own_attention

LENGTH, REAL = 6, 4  # tokens of the texts, and of the second text where it is padded
TOLERANCE = 1e-2  # share of the largest activation: rounding stays far below it, another attention far above


@dataclass(frozen=True)
class Architecture:
    """The measures that teacher and student must agree on.

    Attributes:
        num_layers: number of encoder layers.
        hidden_size: size of the activations after a layer.
        num_heads: attention heads per layer.
    """

    num_layers: int
    hidden_size: int
    num_heads: int


def probe(model: PreTrainedModel) -> Architecture:
    """Prepare a model, and check that its layers show clean internals and that its outputs are the same as before.

    Both are checked on a padded and on an unpadded batch, because transformers leaves the mask of the second out. Then
    a loss of each layer's attention, and of its activations, must give the layer a gradient. No random number is drawn.

    Args:
        model: model of a supported family; `prepare` is applied.

    Returns:
        Number of layers, hidden size and heads, as measured.

    Raises:
        ValueError: the family is not supported; the sentence says why.
    """
    prepare(model)
    num_layers = len(encoder_layers(model))
    if num_layers != model.config.num_hidden_layers:
        raise _refuse(model, f"its entry in FAMILIES finds {num_layers} of {model.config.num_hidden_layers} layers")
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for padded in (True, False):
                inputs = _make_batch(model, padded=padded)
                internals = _check_batch(model, inputs)
            _try_first_token_of_layers(model, inputs, internals)
            _try_first_token_of_head(model, _make_batch(model, padded=True))
        _check_gradients(model, inputs)
    finally:
        model.train(training)
    return _measure(model, internals)


def measure_model(model: PreTrainedModel) -> Architecture:
    """Probe a model; measure one whose layers cannot be read by its configuration, and leave it as it is.

    Args:
        model: any model.

    Returns:
        As `probe`. A number that a configuration does not have is 0.

    Raises:
        ValueError: as `probe`, for a model of FAMILIES.
    """
    if has_family(model.config):
        return probe(model)
    config = model.config.get_text_config()
    keys = ("num_hidden_layers", "hidden_size", "num_attention_heads")
    return Architecture(*(int(getattr(config, key, None) or 0) for key in keys))


def _make_batch(model: PreTrainedModel, *, padded: bool) -> dict[str, Tensor]:
    vocabulary, padding = model.config.vocab_size, model.config.pad_token_id or 0
    ids = (torch.arange(2 * LENGTH, device=model.device).view(2, LENGTH) + padding + 1) % vocabulary
    mask = torch.ones_like(ids)
    if padded:
        ids[1, REAL:], mask[1, REAL:] = padding, 0
    return {"input_ids": ids, "attention_mask": mask}


def _check_batch(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Internals:
    """Capture all layers; refuse the model if attention or outputs are not those of the unprepared model."""
    numbers, token_mask = range(1, len(encoder_layers(model)) + 1), inputs["attention_mask"].bool()
    try:
        internals = capture(model, inputs, layers=dict.fromkeys(numbers, ("attention", "cls", "hidden")))
    except MissingInternalsError as error:
        raise _refuse(
            model,
            f"the {error.part} of layer {error.layer} cannot be recorded, since it does not go through transformers' "
            "AttentionInterface and FAMILIES has no `replacement` for it",
        ) from None
    for number, layer in internals.layers.items():
        assert layer.attention is not None
        if (fault := _find_fault(layer.attention.probabilities(), token_mask)) is not None:
            raise _refuse(model, f"in layer {number} {fault}")
    with use_own_attention(model):
        own = capture(model, inputs, layers=dict.fromkeys(numbers, ("hidden",)))
    if (changed := _find_change(internals, own, token_mask)) is not None:
        reason = f"{changed} changes on {'unpadded' if token_mask.all() else 'padded'} texts"
        if _is_causal(model, inputs):
            raise _refuse(
                model,
                "its own attention looks at earlier tokens only, but innerdistill's attends to later tokens too "
                f"({reason})",
            )
        raise _refuse(model, f"with innerdistill's attention {reason}")
    return internals


@torch.enable_grad()
def _check_gradients(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
    """Refuse the model if a loss of what a layer shows does not reach the layer, or the layer before it."""
    frozen = [each for each in model.parameters() if each.is_floating_point() and not each.requires_grad]
    layers = encoder_layers(model)
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        parts = dict.fromkeys(range(1, len(layers) + 1), ("attention", "hidden"))
        shown = capture(model, inputs, layers=parts, logits=False).layers
        for number, layer in shown.items():
            assert layer.attention is not None and layer.hidden is not None
            parameters = list(layers[number - 1].parameters())
            if not _reaches(layer.attention.probabilities(), parameters):
                raise _refuse(model, f"a loss of the attention of layer {number} gives the layer no gradient")
            if not _reaches(layer.hidden, parameters):
                raise _refuse(model, f"a loss of the activations of layer {number} gives the layer no gradient")
            below = shown[number - 1].hidden if number > 1 else None
            if below is not None and not _reaches(layer.hidden, [below]):
                reason = f"a loss of the activations of layer {number} gives layer {number - 1} no gradient"
                raise _refuse(model, reason)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _reaches(values: Tensor, tensors: Sequence[Tensor]) -> bool:
    """Whether a loss of the values depends on one of the tensors, at least.

    A gradient of 0 is one: an attention that is saturated has no other.
    """
    if not values.requires_grad:
        return False
    gradients = torch.autograd.grad(values.sum(), tensors, retain_graph=True, allow_unused=True)
    return any(gradient is not None for gradient in gradients)


def _find_fault(probabilities: Tensor, token_mask: Tensor) -> str | None:
    """What is wrong with a captured attention (B, H, L, L)."""
    if probabilities.shape[-2:] != (LENGTH, LENGTH):
        shape = " x ".join(map(str, probabilities.shape[-2:]))
        return f"the attention of {LENGTH} tokens is {shape}"
    rows = probabilities.transpose(1, 2)[token_mask]  # of real tokens: (real, H, L)
    if not torch.allclose(rows.sum(-1), torch.ones_like(rows.sum(-1)), atol=1e-3):
        return "rows of the attention do not sum to 1"
    on_padding = (probabilities * ~token_mask[:, None, None]).transpose(1, 2)[token_mask].sum(-1)
    if on_padding.max() > 1e-3:
        return "real tokens attend to padding"
    return None


def _find_change(internals: Internals, own: Internals, token_mask: Tensor) -> str | None:
    """The first layer whose activations differ, or the output."""
    for number, layer in internals.layers.items():
        hidden, own_hidden = layer.hidden, own.layers[number].hidden
        assert hidden is not None and own_hidden is not None
        if _differ(hidden[token_mask], own_hidden[token_mask]):
            return f"the output of layer {number}"
    assert internals.logits is not None and own.logits is not None
    return "the output of the head" if _differ(internals.logits, own.logits) else None


def _differ(ours: Tensor, own: Tensor) -> bool:
    tolerance = max(TOLERANCE, torch.finfo(own.dtype).eps ** 0.5)
    return not (ours - own).abs().max() <= tolerance * own.abs().max()  # NaN differs


def _is_causal(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> bool:
    """Whether the first token's activation does not depend on the last token, in the model as transformers has it."""
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][0, -1] = inputs["input_ids"][0, 0]
    top = len(encoder_layers(model))
    with use_own_attention(model):
        first, second = (
            capture(model, batch, layers={top: ("hidden", "cls")}).layers[top] for batch in (inputs, other)
        )
    assert first.cls is not None and second.cls is not None
    return torch.equal(first.cls[0], second.cls[0])


def _refuse(model: PreTrainedModel, reason: str) -> ValueError:
    return ValueError(f"models of the family {model.config.model_type!r} are not supported: {reason}.")


def _measure(model: PreTrainedModel, internals: Internals) -> Architecture:
    heads, sizes = set(), set()
    for layer in internals.layers.values():
        assert layer.attention is not None and layer.cls is not None
        heads.add(layer.attention.probabilities().shape[1])
        sizes.add(layer.cls.shape[-1])
    if len(heads) != 1 or len(sizes) != 1:
        raise _refuse(model, f"its layers differ in hidden size ({sizes}) or heads ({heads})")
    return Architecture(len(internals.layers), sizes.pop(), heads.pop())


def _try_first_token_of_layers(model: PreTrainedModel, inputs: Mapping[str, Tensor], internals: Internals) -> None:
    """Find out whether every layer gives the same first token if it is the top one and computes no other."""
    runs_first_token.add(model)
    for number, layer in internals.layers.items():
        try:
            cls = capture(model, inputs, layers={number: ("cls",)}, logits=False).layers[number].cls
        except (RuntimeError, IndexError):  # it counts on the other tokens being there
            cls = None
        assert layer.cls is not None
        if cls is None or _differ(cls, layer.cls):
            runs_first_token.discard(model)
            return


def _try_first_token_of_head(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
    """Find out whether the head needs more of the top layer than the first token, as one that averages does."""

    def spoil(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, 1:] = torch.nan  # reaches whatever reads it, weights of 0 included
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    reads_first_token.discard(model)
    wanted = capture(model, inputs, layers={}).logits
    assert wanted is not None
    hook = encoder_layers(model)[-1].register_forward_hook(spoil)
    try:
        spoilt = capture(model, inputs, layers={}).logits
    finally:
        hook.remove()
    if spoilt is None or spoilt.isnan().any() or model not in runs_first_token:
        return
    reads_first_token.add(model)
    try:
        logits = capture(model, inputs, layers={}).logits
        same = logits is not None and torch.allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    except (RuntimeError, IndexError):  # it counts on the other tokens being there
        same = False
    if not same:
        reads_first_token.discard(model)
