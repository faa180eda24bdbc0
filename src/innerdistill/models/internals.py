"""capture: one forward pass that keeps what the losses need, and runs no layer more than they need.

Shapes: B examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from innerdistill.models.attention import Attention, AttentionMaps, first_token_only, record_attention
from innerdistill.models.families import encoder_layers, family_of, prepare

KINDS = ("attention", "cls", "hidden", "qkv")
_reads_first_token: WeakSet[PreTrainedModel] = WeakSet()  # models whose head was seen to read no other token


@dataclass
class LayerInternals:
    """What one layer showed.

    Attributes:
        attention: self-attention of the layer; kept maps where the teacher does not run.
        cls: activation of the first token ([CLS]) after the layer. (B, hidden)
        hidden: activations of all tokens after the layer. (B, L, hidden)
        qkv: self-attention with its queries, keys and values, which kept maps do not have.
    """

    attention: Attention | AttentionMaps | None = None
    cls: Tensor | None = None
    hidden: Tensor | None = None
    qkv: Attention | None = None


@dataclass
class Internals:
    """What one forward pass showed.

    Attributes:
        logits: output of the head, None if it was not asked for. (B, num_labels)
        layers: by 1-based layer; 0 are the embeddings.
    """

    logits: Tensor | None = None
    layers: dict[int, LayerInternals] = field(default_factory=dict)


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


def capture(
    model: nn.Module,
    inputs: Mapping[str, Any],
    *,
    layers: Mapping[int, Collection[str]],
    logits: bool = True,
    all_tokens: bool = False,
) -> Internals:
    """Run a model once and keep its internals.

    Without logits only the layers up to the highest one asked for are run, and of the highest one that runs only what
    the first token needs, unless `hidden` of it is asked for or the head reads other tokens (`probe` has tried).

    Args:
        model: prepared by `prepare`; may be wrapped for distributed training.
        inputs: what the tokenizer made: input_ids, attention_mask, ... (B, L)
        layers: for each 1-based layer which of attention, cls, hidden, qkv to keep; of layer 0, the embeddings as
            they enter layer 1, there are cls and hidden.
        logits: whether the output of the head is wanted.
        all_tokens: compute the highest layer for all tokens in any case: the same values, other random numbers.

    Returns:
        The internals, with gradients if they are enabled.

    Raises:
        ValueError: a layer that the model does not have, or a layer that showed nothing.
    """
    core = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(core, PreTrainedModel)
    stack, found = encoder_layers(core), Internals()
    if layers and not 0 <= min(layers) <= max(layers) <= len(stack):
        raise ValueError(f"layers {sorted(layers)} were asked for, but the model has layers 1 ... {len(stack)}.")
    with ExitStack() as context:
        recorders = {}
        for number, kinds in layers.items():
            kept = found.layers[number] = LayerInternals()
            if number == 0:
                hook = stack[0].register_forward_pre_hook(_keep_embeddings(kept, kinds))
                context.callback(hook.remove)
                continue
            layer = stack[number - 1]
            if {"attention", "qkv"} & set(kinds):
                recorders[layer.get_submodule(family_of(core.config).attention)] = _keep_attention(kept, kinds)
            if {"cls", "hidden"} & set(kinds):
                hook = layer.register_forward_hook(_keep_activations(kept, kinds))
                context.callback(hook.remove)
        context.enter_context(record_attention(recorders))
        top = len(stack) if logits else max([1, *layers]) if layers else 0  # what enters layer 1 is seen there
        if not logits:
            context.enter_context(first_layers(core, top))
        one_token_is_enough = "hidden" not in layers.get(top, ()) and (not logits or core in _reads_first_token)
        if top and one_token_is_enough and not all_tokens:
            context.enter_context(first_token_only(stack[top - 1]))
        output = model(**inputs)
    found.logits = output.logits if logits else None
    _check(found, layers)
    return found


@contextmanager
def first_layers(model: PreTrainedModel, num_layers: int) -> Iterator[None]:
    """While open, the model consists of its first layers only; what the head says then means nothing.

    Args:
        model: changed in place, restored at the end.
        num_layers: how many layers run.

    Yields:
        Nothing.
    """
    path = family_of(model.config).layers
    parent = model.base_model.get_submodule(path.rpartition(".")[0])
    name = path.rpartition(".")[2]
    full = encoder_layers(model)
    setattr(parent, name, full[:num_layers])
    try:
        yield
    finally:
        setattr(parent, name, full)


def train_first_layers(model: PreTrainedModel, num_layers: int | None) -> None:
    """Give gradients only to what the first layers' internals depend on, or to everything.

    The rest then has no optimiser state, is not decayed and is not averaged over processes.

    Args:
        model: changed in place.
        num_layers: embeddings and this many layers are trained; None trains everything.
    """
    model.requires_grad_(num_layers is None)
    if num_layers is None:
        return
    model.base_model.requires_grad_(True)
    if (pooler := getattr(model.base_model, "pooler", None)) is not None:
        pooler.requires_grad_(False)
    encoder_layers(model)[num_layers:].requires_grad_(False)


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

    _reads_first_token.discard(model)
    wanted = capture(model, inputs, layers={}).logits
    assert wanted is not None
    hook = encoder_layers(model)[-1].register_forward_hook(spoil)
    try:
        spoilt = capture(model, inputs, layers={}).logits
    finally:
        hook.remove()
    if spoilt is None or spoilt.isnan().any():
        return
    _reads_first_token.add(model)
    try:
        found = capture(model, inputs, layers={}).logits
        same = found is not None and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    except (RuntimeError, IndexError):  # it counts on the other tokens being there
        same = False
    if not same:
        _reads_first_token.discard(model)


def _keep_attention(kept: LayerInternals, kinds: Collection[str]) -> Callable[[Attention], None]:
    def recorder(attention: Attention) -> None:
        if "attention" in kinds:
            kept.attention = attention
        if "qkv" in kinds:
            kept.qkv = attention

    return recorder


def _keep_activations(kept: LayerInternals, kinds: Collection[str]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if "cls" in kinds:
            kept.cls = hidden[:, 0]
        if "hidden" in kinds:
            kept.hidden = hidden

    return hook


def _keep_embeddings(kept: LayerInternals, kinds: Collection[str]) -> Any:
    keep = _keep_activations(kept, kinds)
    return lambda module, inputs: keep(module, inputs, inputs[0])


def _check(found: Internals, layers: Mapping[int, Collection[str]]) -> None:
    for number, kinds in layers.items():
        for kind in kinds:
            if getattr(found.layers[number], kind) is None:
                raise ValueError(
                    f"layer {number} showed no {kind}: call innerdistill.prepare(model) once before capture, since the "
                    "model's own attention does not hand it out."
                )
