"""capture: one forward pass that brings what the losses need, and runs no layer more than they need.

Shapes: B examples, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from innerdistill.models.attention import Attention, AttentionMaps
from innerdistill.models.clean_attention import first_token_only, record_attention
from innerdistill.models.families import encoder_layers, family_of, find_layer_output, has_family
from innerdistill.support.messages import suggest_name

T = TypeVar("T")
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")  # columns of a batch that a model reads
KINDS = ("attention", "cls", "hidden", "qkv")
OF_EMBEDDINGS = ("cls", "hidden")  # parts of layer 0
# What `probe` measured: models whose head reads no other token than the first, and models whose top layer can be
# computed for the first token alone, whichever layer that is.
reads_first_token: WeakSet[PreTrainedModel] = WeakSet()
runs_first_token: WeakSet[PreTrainedModel] = WeakSet()


class MissingInternalsError(ValueError):
    """A layer did not hand out what was asked of it.

    Attributes:
        layer: its number, 1-based.
        part: what was asked for.
    """

    def __init__(self, layer: int, part: str) -> None:
        """Write the sentence.

        Args:
            layer: number of the layer.
            part: what was asked for.
        """
        super().__init__(
            f"layer {layer} handed out no {part}: call innerdistill.prepare(model) once before capture, since the "
            "model's own attention does not hand it out."
        )
        self.layer, self.part = layer, part


@dataclass
class LayerInternals:
    """Internal representations of one layer.

    Attributes:
        attention: self-attention of the layer; cached maps where the teacher does not run.
        cls: activation of the first token ([CLS]) after the layer. (B, hidden)
        hidden: activations of all tokens after the layer. (B, L, hidden)
        qkv: self-attention with its queries, keys and values, which cached maps do not have.
    """

    attention: Attention | AttentionMaps | None = None
    cls: Tensor | None = None
    hidden: Tensor | None = None
    qkv: Attention | None = None


@dataclass
class Internals:
    """Internal representations and output of one forward pass.

    Attributes:
        logits: output of the head; None if it was not asked for. (B, num_labels), or of a head that reads every token
            (B, L, num_labels).
        layers: internals by 1-based layer; 0 are the embeddings.
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
    """Run a model once and return its internals.

    Without logits, only the layers up to the highest one asked for are run. Of the highest layer that runs, only the
    part of the first token is computed, unless its `hidden` is asked for or the head reads other tokens.

    Args:
        model: model that `prepare` or `probe` has prepared; may be wrapped for distributed training. Of a model outside
            FAMILIES, only the logits can be asked for.
        inputs: output of the tokenizer: input_ids, attention_mask, ... (B, L)
        layers: which of attention, cls, hidden, qkv to return, by 1-based layer; layer 0, the embeddings as they enter
            layer 1, has cls and hidden.
        logits: whether to return the output of the head.
        all_tokens: whether to compute the highest layer for all tokens in any case: the same values, other random
            numbers.

    Returns:
        The internals, with gradients if they are enabled.

    Raises:
        ValueError: the model does not have such a layer, there is no such part, or the layer hands out nothing. Also
            logits of a model without a head.
    """
    return capture_then(model, inputs, lambda internals: internals, layers=layers, logits=logits, all_tokens=all_tokens)


def capture_then(
    model: nn.Module,
    inputs: Mapping[str, Any],
    then: Callable[[Internals], T],
    *,
    layers: Mapping[int, Collection[str]],
    logits: bool = True,
    all_tokens: bool = False,
) -> T:
    """Run a model once and apply a function to its internals before the forward pass returns.

    A wrapper for distributed training looks at the output of the forward pass to learn which parameters get a gradient.
    So that output has to be the losses, not the logits.

    Args:
        model: as in `capture`.
        inputs: as in `capture`.
        then: function of the internals; returns tensors, alone or in containers.
        layers: as in `capture`.
        logits: as in `capture`.
        all_tokens: as in `capture`.

    Returns:
        The result of `then`.

    Raises:
        ValueError: as `capture`.
    """
    core = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(core, PreTrainedModel)
    needs_layers = bool(layers) or not logits or has_family(core.config)
    stack, internals = encoder_layers(core) if needs_layers else nn.ModuleList(), Internals()
    if layers and not 0 <= min(layers) <= max(layers) <= len(stack):
        raise ValueError(f"layers {sorted(layers)} were asked for, but the model has layers 1 ... {len(stack)}.")
    _check_names_of_parts(layers)
    with ExitStack() as context:
        recorders = {}
        for number, kinds in layers.items():
            of_layer = internals.layers[number] = LayerInternals()
            if number == 0:
                hook = stack[0].register_forward_pre_hook(_record_embeddings(of_layer, kinds))
                context.callback(hook.remove)
                continue
            layer = stack[number - 1]
            if {"attention", "qkv"} & set(kinds):
                recorders[layer.get_submodule(family_of(core.config).attention)] = _record_attention(of_layer, kinds)
            if {"cls", "hidden"} & set(kinds):
                output = find_layer_output(core, number)
                hook = output.register_forward_hook(_record_activations(of_layer, kinds))
                context.callback(hook.remove)
        context.enter_context(record_attention(recorders))
        top = len(stack) if logits else max([1, *layers]) if layers else 0  # a hook of layer 1 sees the embeddings
        if not logits:
            context.enter_context(first_layers(core, top))
        one_token_is_enough = "hidden" not in layers.get(top, ()) and (
            core in (reads_first_token if logits else runs_first_token)
        )
        if top and one_token_is_enough and not all_tokens:
            context.enter_context(first_token_only(stack[top - 1]))

        def finish(_module: nn.Module, _inputs: Any, output: Any) -> T:
            internals.logits = read_logits(core, output) if logits else None
            _check_layers(internals, layers)
            return then(internals)

        context.callback(core.register_forward_hook(finish).remove)
        result: T = model(**inputs)
    return result


def read_logits(model: PreTrainedModel, output: Mapping[str, Any]) -> Tensor:
    """Read the logits of a forward pass.

    Args:
        model: the model, for the message.
        output: what it returned.

    Returns:
        `logits`; where a head has several, as `start_logits` and `end_logits`, they are stacked along a new last
        dimension.

    Raises:
        ValueError: the model has no head.
    """
    parts = [value for name, value in output.items() if name.endswith("logits") and value is not None]
    if not parts:
        raise ValueError(f"{type(model).__name__} returns no logits; ask for its layers with logits=False.")
    return parts[0] if len(parts) == 1 else torch.stack(parts, dim=-1)


@contextmanager
def first_layers(model: PreTrainedModel, num_layers: int) -> Iterator[None]:
    """While open, the model consists of its first layers only, and the output of its head means nothing.

    Args:
        model: model of a supported family; changed in place, restored at the end.
        num_layers: number of layers that run.

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
    """Give gradients only to the parameters that the first layers depend on, or to all.

    The others then have no optimiser state, no weight decay and no average over processes.

    Args:
        model: model of a supported family; changed in place.
        num_layers: number of layers that are trained, with the embeddings; None trains everything.
    """
    model.requires_grad_(num_layers is None)
    if num_layers is None:
        return
    model.base_model.requires_grad_(True)
    if (pooler := getattr(model.base_model, "pooler", None)) is not None:
        pooler.requires_grad_(False)
    encoder_layers(model)[num_layers:].requires_grad_(False)


def _record_attention(of_layer: LayerInternals, kinds: Collection[str]) -> Callable[[Attention], None]:
    def recorder(attention: Attention) -> None:
        if "attention" in kinds:
            of_layer.attention = attention
        if "qkv" in kinds:
            of_layer.qkv = attention

    return recorder


def _record_activations(of_layer: LayerInternals, kinds: Collection[str]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if "cls" in kinds:
            of_layer.cls = hidden[:, 0]
        if "hidden" in kinds:
            of_layer.hidden = hidden

    return hook


def _record_embeddings(of_layer: LayerInternals, kinds: Collection[str]) -> Any:
    record = _record_activations(of_layer, kinds)
    return lambda module, inputs: record(module, inputs, inputs[0])


def _check_names_of_parts(layers: Mapping[int, Collection[str]]) -> None:
    for number, kinds in layers.items():
        if isinstance(kinds, str):
            raise ValueError(f"layers: expected a list of parts for layer {number}, such as ['cls'], got {kinds!r}.")
        known = KINDS if number else OF_EMBEDDINGS
        for kind in kinds:
            if kind not in known:
                raise ValueError(
                    f"layers: layer {number} has no part {kind!r}. {suggest_name(kind, known, kind='parts')}"
                )


def _check_layers(internals: Internals, layers: Mapping[int, Collection[str]]) -> None:
    for number, kinds in layers.items():
        for kind in kinds:
            if getattr(internals.layers[number], kind) is None:
                raise MissingInternalsError(number, kind)
