"""What the attention explorer of a page shows: maps of teacher and students as numbers that a browser draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from innerdistill.results.figures import head_divergences


def read_examples(folder: Path) -> dict[str, Any] | None:
    """The examples of a run.

    Args:
        folder: of the run.

    Returns:
        `attention` and `disagreements`; None if they were not kept.
    """
    path = folder / "examples.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def explorer_data(students: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Attention of one teacher and several students of it on the same examples.

    Args:
        students: title -> `attention` of examples.json.

    Returns:
        students: titles. examples: row, tokens and layers; each layer with its number in student and teacher, the
        teacher's maps, and by student its maps, the KL of each head and the KL over all its mapped layers. Maps are per
        mille, one flat list per head; an example that another student does not have is left out.
    """
    shared = set.intersection(*({example["row"] for example in examples} for examples in students.values()))
    found = []
    for example in next(iter(students.values())):
        if example["row"] not in shared:
            continue
        same = {
            title: next(other for other in examples if other["row"] == example["row"])["layers"]
            for title, examples in students.items()
        }
        found.append({"row": example["row"], "tokens": example["tokens"], "layers": _layers(same)})
    return {"students": list(students), "examples": found}


def _layers(students: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    divergences = {
        title: {number: head_divergences(*_arrays(layer)) for number, layer in layers.items()}
        for title, layers in students.items()
    }
    numbers = sorted({number for layers in students.values() for number in layers}, key=int)
    found = []
    for number in numbers:
        having = {title: layers[number] for title, layers in students.items() if number in layers}
        any_layer = next(iter(having.values()))
        found.append(
            {
                "student": int(number),
                "teacher": any_layer["teacher_layer"],
                "maps": _per_mille(any_layer["teacher"]),
                "students": {
                    title: {
                        "maps": _per_mille(layer["student"]),
                        "kl": [round(float(value), 3) for value in divergences[title][number]],
                        "all": round(float(np.mean([kl.mean() for kl in divergences[title].values()])), 3),
                    }
                    for title, layer in having.items()
                },
            }
        )
    return found


def _arrays(layer: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(layer["teacher"]), np.array(layer["student"])


def _per_mille(maps: Any) -> list[list[int]]:
    values = (1000 * np.array(maps)).round().astype(int)
    return values.reshape(len(values), -1).tolist()
