"""What the attention explorer of a page shows: maps of teacher and students as numbers that a browser draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.layer_distances import finite
from innerdistill.support.files import read_json


def read_examples(folder: Path) -> dict[str, Any] | None:
    """The examples of a run.

    Args:
        folder: of the run.

    Returns:
        `attention` and `disagreements`; None if they were not kept.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / "examples.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = read_json(path)
    if not isinstance(found, dict) or not {"attention", "disagreements"} <= set(found):
        raise ValueError(f"{path}: these are not the examples of a run.")
    return found


def explorer_data(students: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Attention of one teacher and several students of it on the same examples.

    Args:
        students: title -> `attention` of examples.json.

    Returns:
        students: titles. examples: row, tokens and layers; each layer is a pair of student's and teacher's layer, with
        the teacher's maps, and by student that has this pair its maps, the KL of each head and the KL over all its
        mapped layers. Maps are per mille, one flat list per head. Only examples that all students saw, token by token.
    """
    found = []
    for example in next(iter(students.values())):
        same = {
            title: next((other["layers"] for other in examples if _same(other, example)), None)
            for title, examples in students.items()
        }
        if all(layers is not None for layers in same.values()):
            found.append({"row": example["row"], "tokens": example["tokens"], "layers": _layers(same)})
    return {"students": list(students), "examples": found}


def overall_kl(layers: Mapping[str, Mapping[str, Any]]) -> float:
    """KL over all heads of all mapped layers of one student on one example.

    Args:
        layers: of the example.

    Returns:
        Nats per row; may be infinite.
    """
    return float(np.mean([divergences(layer).mean() for layer in layers.values()]))


def divergences(layer: Mapping[str, Any]) -> NDArray[np.float64]:
    """KL of every head of a mapped layer on one example.

    Args:
        layer: of the example; its `kl` has None for infinity, which JSON does not know.

    Returns:
        Nats per row, by head.
    """
    return np.array([np.inf if kl is None or finite(kl) is None else kl for kl in layer["kl"]])


def _same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(first[key] == second[key] for key in ("row", "tokens"))


def _layers(students: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = {(int(k), layer["teacher_layer"]) for layers in students.values() for k, layer in layers.items()}
    found = []
    for k, m in sorted(pairs):
        having = {
            title: layers[str(k)]
            for title, layers in students.items()
            if str(k) in layers and layers[str(k)]["teacher_layer"] == m
        }
        found.append(
            {
                "student": k,
                "teacher": m,
                "maps": _per_mille(next(iter(having.values()))["teacher"]),
                "students": {
                    title: {
                        "maps": _per_mille(layer["student"]),
                        "kl": [finite(round(kl, 3)) for kl in divergences(layer).tolist()],
                        "all": finite(round(overall_kl(students[title]), 3)),
                    }
                    for title, layer in having.items()
                },
            }
        )
    return found


def _per_mille(maps: Any) -> list[list[int]]:
    values = (1000 * np.array(maps)).round().astype(int)
    found: list[list[int]] = values.reshape(len(values), -1).tolist()
    return found
