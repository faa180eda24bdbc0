"""Distances of layers as pages show them: small numbers, and remarks on layers whose [CLS] hardly differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from innerdistill.report.formatting import NOT_APPLICABLE
from innerdistill.report.record import Distances, RunRecord

NEARLY_THE_SAME = 1e-3  # mean cosine distance between the [CLS] of two examples; 0.1 and more is usual


def format_distance(distance: float | None) -> str:
    """Write a distance that may be very small.

    Args:
        distance: from 0; None where it was not measured.

    Returns:
        Three digits after the point, one digit and its power of ten below .001, or a dash.

    >>> format_distance(0.0421), format_distance(0.0000123), format_distance(0.0), format_distance(None)
    ('0.042', '1e-5', '0.000', '–')
    """
    if distance is None:
        return NOT_APPLICABLE
    if not 0 < distance < NEARLY_THE_SAME:
        return f"{distance:.3f}"
    digit, _, power = f"{distance:.0e}".partition("e")
    return f"{digit}e{int(power)}"


TITLES = {"attention_kl": "attention KL", "cls_cosine": "CLS cosine", "token_cosine": "token cosine"}


def list_kinds(distances: Distances) -> dict[str, str]:
    """List the distances that a page shows: the attention KL, and the cosine that matters if hidden sizes are equal.

    Args:
        distances: distances of all mapped layers.

    Returns:
        Titles by name of a field.
    """
    first = next(iter(distances.before.values()))
    names = ["attention_kl", *([] if first.cls_cosine is None else [first.cosine])]
    return {name: TITLES[name] for name in names}


def list_constant_layers(record: RunRecord) -> list[str]:
    """List the mapped layers whose [CLS] is nearly the same for every example.

    Args:
        record: what happened and what came out.

    Returns:
        A sentence for the teacher and for the model that the internal losses learned from, where there are such layers.
        None where the cosine of all tokens matters.
    """
    sentences: list[str] = []
    if record.distances is not None and "cls_cosine" not in list_kinds(record.distances):
        return sentences
    for name, model in (("teacher", record.teacher), ("internal teacher", record.internal_teacher)):
        spread = None if model is None else model.cls_spread
        sentence = describe_constant_layers(spread or {}, record.layer_map.values(), name=name)
        sentences += [sentence] if sentence else []
    return sentences


def describe_constant_layers(spread: Mapping[int, float], layers: Iterable[int], *, name: str) -> str:
    """Describe the layers of one model whose [CLS] is nearly the same for every example.

    Args:
        spread: mean cosine distance between the [CLS] of two examples, by layer.
        layers: layers that a student learns from.
        name: what the model is, such as `teacher`.

    Returns:
        A sentence; empty where there is no such layer.

    >>> describe_constant_layers({2: 1.2e-5, 4: 0.3}, [2, 4], name="teacher")
    'The [CLS] of teacher layer 2 is nearly the same for every example (1e-5): its cosine loss says nothing.'
    """
    constant = [layer for layer in sorted(set(layers)) if spread.get(layer, 1.0) < NEARLY_THE_SAME]
    if not constant:
        return ""
    noun, own = ("layer", "its cosine loss says") if len(constant) == 1 else ("layers", "their cosine losses say")
    numbers, distances = ", ".join(map(str, constant)), ", ".join(format_distance(spread[layer]) for layer in constant)
    return f"The [CLS] of {name} {noun} {numbers} is nearly the same for every example ({distances}): {own} nothing."
