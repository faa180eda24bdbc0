"""capture: one forward pass that keeps what the losses need, and runs no layer more than they need.

Shapes: B examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from innerdistill.models.attention import Attention, AttentionMaps
from innerdistill.models.clean_attention import first_token_only, record_attention
from innerdistill.models.families import encoder_layers, family_of

T = TypeVar("T")
KINDS = ("attention", "cls", "hidden", "qkv")
reads_first_token: WeakSet[PreTrainedModel] = WeakSet()  # models whose head was seen to read no other token


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
    return capture_then(model, inputs, lambda found: found, layers=layers, logits=logits, all_tokens=all_tokens)


def capture_then(
    model: nn.Module,
    inputs: Mapping[str, Any],
    then: Callable[[Internals], T],
    *,
    layers: Mapping[int, Collection[str]],
    logits: bool = True,
    all_tokens: bool = False,
) -> T:
    """As `capture`, and do something with the internals before the forward pass returns.

    What a wrapper for distributed training gets back is then what came of them, the losses, and not the logits: from
    that it finds out which parameters get a gradient.

    Args:
        model: as in `capture`.
        inputs: as in `capture`.
        then: called with the internals; gives tensors, alone or in containers.
        layers: as in `capture`.
        logits: as in `capture`.
        all_tokens: as in `capture`.

    Returns:
        What `then` returned.

    Raises:
        ValueError: as `capture`.
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
        one_token_is_enough = "hidden" not in layers.get(top, ()) and (not logits or core in reads_first_token)
        if top and one_token_is_enough and not all_tokens:
            context.enter_context(first_token_only(stack[top - 1]))

        def finish(_module: nn.Module, _inputs: Any, output: Any) -> T:
            found.logits = output.logits if logits else None
            _check(found, layers)
            return then(found)

        context.callback(core.register_forward_hook(finish).remove)
        made: T = model(**inputs)
    return made


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
