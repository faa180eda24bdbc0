"""What the students of a sweep show on single examples: attention maps, the explorer, the worst disagreements."""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from innerdistill.report.explorer import build_explorer, compute_overall_kl
from innerdistill.report.figures import draw_attention_maps
from innerdistill.sweep.groups import Group


def select_examples(group: Group) -> dict[str, Any]:
    """Select what the page shows of single examples: of the students of the first seed that all methods have.

    Args:
        group: runs that differ in method and seed; of several teachers only the first one's students are shown.

    Returns:
        `seed`; `disagreements` by method; `maps`, an SVG of the methods that were declared to be compared, or of all;
        data of the `explorer`; `stored`, whether there is anything to show. Empty what no run has stored.
    """
    seeds = group.list_shared_seeds(*group.methods)
    shown = bool(seeds) and (group.beside is None or group is group.beside.groups[0])
    stored: dict[str, Any] = {}
    for name, method in group.methods.items():
        if shown and (examples := method.runs[seeds[0]].read_examples()) is not None:
            stored[name] = examples
    facts: dict[str, Any] = {"seed": seeds[0] if seeds else None, "stored": bool(stored) or not shown}
    facts |= {"disagreements": {}, "maps": "", "explorer": None}
    attention = {}
    for name, examples in stored.items():
        if examples["disagreements"]:
            facts["disagreements"][name] = examples["disagreements"]
        if examples["attention"]:
            attention[name] = examples["attention"]
    explorer = build_explorer(attention) if attention else {"examples": []}
    if explorer["examples"]:
        row = explorer["examples"][0]["row"]
        of_row = {name: _find_row(examples, row) for name, examples in attention.items()}
        facts |= {"maps": _draw_maps(group, of_row), "explorer": explorer}
    return facts


def _find_row(examples: list[dict[str, Any]], row: int) -> dict[str, Any]:
    return next(example for example in examples if example["row"] == row)


def _draw_maps(group: Group, examples: dict[str, Any]) -> Markup:
    """The pair of layers that most methods map, of several the highest."""
    declared: list[str] = []
    for comparison in (group.beside or group).comparisons:
        declared += [comparison.against, comparison.method]
    names = [name for name in dict.fromkeys(declared) if name in examples] or list(examples)
    layers = {name: examples[name]["layers"] for name in names}
    mapped: Counter[tuple[str, int]] = Counter()
    for by_layer in layers.values():
        mapped.update((layer, facts["teacher_layer"]) for layer, facts in by_layer.items())
    if not mapped:
        return Markup()
    layer, teacher_layer = max(mapped, key=lambda pair: (mapped[pair], int(pair[0])))
    chosen = {}
    for name, by_layer in layers.items():
        if layer in by_layer and by_layer[layer]["teacher_layer"] == teacher_layer:
            chosen[name] = {layer: by_layer[layer]}
    example = {**next(iter(examples.values())), "layers": next(iter(chosen.values()))}
    overall = {name: compute_overall_kl(by_layer) for name, by_layer in layers.items()}
    return Markup(draw_attention_maps(example, chosen, overall=overall))  # noqa: S704 - drawn by matplotlib, which escapes
