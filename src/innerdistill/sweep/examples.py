"""What the students of a sweep show on single examples: attention maps, the explorer, the worst disagreements."""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from innerdistill.report.explorer import build_explorer, compute_overall_kl, read_examples
from innerdistill.report.figures import draw_attention_maps
from innerdistill.sweep.groups import Group


def examples_of(group: Group) -> dict[str, Any]:
    """What the methods' students of the first seed that all have show on examples, where their runs kept any.

    Args:
        group: runs that differ in method and seed; of several teachers only the first one's students are shown.

    Returns:
        seed; by method its disagreements; maps, an SVG of the methods that were declared to be compared, or of all; the
        explorer's data. Empty what no run has kept.
    """
    seeds = group.shared_seeds(*group.methods)
    shown = seeds and (group.beside is None or group is group.beside.groups[0])
    kept = {
        name: examples
        for name, method in group.methods.items()
        if shown and (examples := read_examples(method.folders[seeds[0]])) is not None
    }
    facts = {
        "seed": seeds[0] if seeds else None, "maps": "", "explorer": None, "kept": bool(kept) or not shown,
        "disagreements": {name: rows for name, of_one in kept.items() if (rows := of_one["disagreements"])},
    }  # fmt: skip
    found = {name: of_one["attention"] for name, of_one in kept.items() if of_one["attention"]}
    if not found or not (explorer := build_explorer(found))["examples"]:
        return facts
    row = explorer["examples"][0]["row"]
    examples = {name: next(e for e in attention if e["row"] == row) for name, attention in found.items()}
    return {**facts, "maps": _maps(group, examples), "explorer": explorer}


def _maps(group: Group, examples: dict[str, Any]) -> Markup:
    """The pair of layers that most methods map, of several the highest."""
    pairs = ((one.against, one.method) for one in (group.beside or group).comparisons)
    declared = dict.fromkeys(name for pair in pairs for name in pair if name in examples)
    layers = {name: examples[name]["layers"] for name in declared or examples}
    mapped = Counter((k, layer["teacher_layer"]) for of_one in layers.values() for k, layer in of_one.items())
    if not mapped:
        return Markup()
    layer, teacher_layer = max(mapped, key=lambda pair: (mapped[pair], int(pair[0])))
    chosen = {
        name: {layer: of_one[layer]}
        for name, of_one in layers.items()
        if layer in of_one and of_one[layer]["teacher_layer"] == teacher_layer
    }
    example = {**next(iter(examples.values())), "layers": next(iter(chosen.values()))}
    overall = {name: compute_overall_kl(of_one) for name, of_one in layers.items()}
    return Markup(draw_attention_maps(example, chosen, overall=overall))  # noqa: S704 - made by matplotlib, which escapes
