"""Data of a page's attention explorer: maps of teacher and students as numbers, which the browser draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.layer_distances import replace_infinity
from innerdistill.report.run_folder import EXAMPLES
from innerdistill.support.files import read_json


def read_examples(folder: Path) -> dict[str, Any] | None:
    """Read examples.json of a run.

    Args:
        folder: folder of the run.

    Returns:
        `attention` and `disagreements`; None without the file.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / EXAMPLES
    if not path.is_file():
        return None
    examples: dict[str, Any] = read_json(path)
    if not isinstance(examples, dict) or not {"attention", "disagreements"} <= set(examples):
        raise ValueError(f"{path}: these are not the examples of a run.")
    return examples


def build_explorer(students: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Build the explorer's data: attention of one teacher and several students of it on the same examples.

    Args:
        students: by title, `attention` of examples.json.

    Returns:
        students: titles. examples: row, tokens and layers. A layer is a pair of student's and teacher's layer. It has
        the teacher's maps and, for every student with this pair, its maps, the KL of each head and the KL over all its
        layers. Maps are per mille, one flat list per head. Only examples that all students saw, token by token.
    """
    examples = []
    for example in next(iter(students.values())):
        layers = {title: _find_layers(attention, example) for title, attention in students.items()}
        shared = {title: by_layer for title, by_layer in layers.items() if by_layer is not None}
        if len(shared) == len(students):
            examples.append({"row": example["row"], "tokens": example["tokens"], "layers": _pair_layers(shared)})
    return {"students": list(students), "examples": examples}


def compute_overall_kl(layers: Mapping[str, Mapping[str, Any]]) -> float:
    """Compute the KL over all heads of all mapped layers of one student on one example.

    Args:
        layers: `layers` of the example.

    Returns:
        Nats per row; may be infinite.
    """
    return float(np.mean([get_divergences(layer).mean() for layer in layers.values()]))


def get_divergences(layer: Mapping[str, Any]) -> NDArray[np.float64]:
    """Get the KL of every head of a mapped layer on one example.

    Args:
        layer: one layer of the example; its `kl` has None for infinity, which JSON does not know.

    Returns:
        Nats per row, by head.
    """
    return np.array([np.inf if kl is None or replace_infinity(kl) is None else kl for kl in layer["kl"]])


def _find_layers(attention: Sequence[Mapping[str, Any]], example: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Layers of one student on an example; None if the student did not see it."""
    for seen in attention:
        if seen["row"] == example["row"] and seen["tokens"] == example["tokens"]:
            layers: Mapping[str, Any] = seen["layers"]
            return layers
    return None


def _pair_layers(students: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pairs of layers that any student maps, each with the maps of the students that do."""
    pairs: dict[tuple[int, int], dict[str, Any]] = {}
    for title, layers in students.items():
        for k, layer in layers.items():
            pair = pairs.setdefault(
                (int(k), layer["teacher_layer"]),
                {
                    "student": int(k),
                    "teacher": layer["teacher_layer"],
                    "maps": _flatten_maps(layer["teacher"]),
                    "students": {},
                },
            )
            pair["students"][title] = {
                "maps": _flatten_maps(layer["student"]),
                "kl": [replace_infinity(round(kl, 3)) for kl in get_divergences(layer).tolist()],
                "all": replace_infinity(round(compute_overall_kl(layers), 3)),
            }
    return [pairs[pair] for pair in sorted(pairs)]


def _flatten_maps(maps: Any) -> list[list[int]]:
    """Attention maps (heads, rows, columns) in per mille, one flat list per head."""
    per_mille = (1000 * np.array(maps)).round().astype(int)
    flat: list[list[int]] = per_mille.reshape(len(per_mille), -1).tolist()
    return flat
