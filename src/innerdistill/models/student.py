"""build_student: fewer layers, started from the layers of another model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from transformers import PretrainedConfig, PreTrainedModel

from innerdistill.models.families import encoder_layers, family_of, has_family
from innerdistill.models.layer_map import choose_layers
from innerdistill.models.other_families import explain_refusal
from innerdistill.models.probe import measure_model
from innerdistill.models.sentence_encoder import SentenceEncoder

HEADS = ("pooler.", "contact_head.")  # parts of `base_model` that follow its layers; ESM's second one weighs each layer


def build_student(
    source: PreTrainedModel,
    num_layers: int,
    *,
    layers: str | Sequence[int] = "uniform",
    head: PreTrainedModel | None = None,
    random: bool = False,
    seed: int = 1,
) -> PreTrainedModel:
    """A model of the same architecture with fewer layers.

    Embeddings come from the source together with the chosen layers. Head and pooler are random from the seed, or a
    copy of another model's. The student shares no tensor, module or configuration with its source. ModernBERT's first
    layer has no attention norm, so a layer copied into that place loses its own. The modules after a sentence encoder
    are copied, unless everything is random: they belong to the space of its embeddings. A model outside FAMILIES can
    only be copied as a whole.

    Args:
        source: classifier; teacher, pre-trained model or another checkpoint.
        num_layers: layers of the student, 1 ... the source's.
        layers: `uniform`, `first`, `last` or an explicit list of 1-based source layers.
        head: model whose head and pooler are copied; None draws them from the seed.
        random: leave everything random (the seed's), copy nothing but a head that is given.
        seed: random seed of the parts that are not copied.

    Returns:
        The student, in eval mode, on the source's device.

    Raises:
        ValueError: more layers than the source has, or a layer out of range; fewer layers of a model whose layers
            cannot be read.
    """
    if isinstance(source, SentenceEncoder) and not random:
        head = head or source
    chosen = choose_layers(layers, num_layers, count_layers(source), key="student.layers")
    config = _configure_layers(source, list(chosen.values()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = type(source)(config)
    if not random:
        weights = _encoder_weights(source, chosen) if has_family(config) else source.base_model.state_dict()
        weights = {name: tensor for name, tensor in weights.items() if not _is_head(name)}
        missing, _ = student.base_model.load_state_dict(weights, strict=False)
        assert all(_is_head(name) for name in missing), missing
    if head is not None:
        own = {id(tensor) for tensor in head.base_model.state_dict(keep_vars=True).values()}
        weights = {
            name: tensor
            for name, tensor in head.state_dict(keep_vars=True).items()
            if id(tensor) not in own or _is_head(name.removeprefix(f"{head.base_model_prefix}."))
        }
        student.load_state_dict(weights, strict=False)
    return student.to(source.device).eval()


def count_layers(source: PreTrainedModel) -> int:
    """Count the layers of which a student may have some.

    Args:
        source: model that it is made from.

    Returns:
        Number of layers; of a model outside FAMILIES, those that its configuration names.
    """
    if has_family(source.config):
        return len(encoder_layers(source))
    return measure_model(source).num_layers


def _configure_layers(source: PreTrainedModel, chosen: Sequence[int]) -> PretrainedConfig:
    """Configuration of a model with some layers of another one."""
    config = copy.deepcopy(source.config)
    if not has_family(config):
        if len(chosen) != count_layers(source):
            raise ValueError(
                f"student.num_layers: a student of the family {config.model_type!r} has all layers of its source, "
                f"since {explain_refusal(config)}; leave it out."
            )
        return config
    config.num_hidden_layers = len(chosen)
    for key in family_of(config).per_layer_config:
        setattr(config, key, [getattr(config, key)[number - 1] for number in chosen])
    return config


def _encoder_weights(source: PreTrainedModel, chosen: Mapping[int, int]) -> dict[str, torch.Tensor]:
    prefix = f"{family_of(source.config).layers}."
    target = {deep: [k for k, layer in chosen.items() if layer == deep] for deep in chosen.values()}
    weights = {}
    for name, tensor in source.base_model.state_dict().items():
        if not name.startswith(prefix):
            weights[name] = tensor
            continue
        number, _, rest = name.removeprefix(prefix).partition(".")
        for k in target.get(int(number) + 1, []):
            weights[f"{prefix}{k - 1}.{rest}"] = tensor
    return weights


def _is_head(name: str) -> bool:
    return name.startswith(HEADS)
