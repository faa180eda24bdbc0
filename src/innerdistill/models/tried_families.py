"""What the tests have tried of each family of models: the table in tried_families.csv, which the tests write."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from innerdistill.models.other_families import REASONS, explain_refusal
from innerdistill.support.extensions import describe_package, find_entry_points
from innerdistill.support.messages import shorten_value, suggest_name

TABLE = Path(__file__).with_name("tried_families.csv")
LAYERS, OUTPUTS, NOTHING = "layers", "outputs", "nothing"
RANDOM = "random"
OUTPUTS_OF_OTHERS = "Outputs can be learned from it with schedule.name=soft_labels."


@dataclass(frozen=True)
class TriedFamily:
    """What was tried of a family, with a small model of random weights unless `weights` says more.

    Attributes:
        family: `model_type` of transformers.
        learned: what a student can learn: `layers` (and outputs), `outputs`, or `nothing`, where padding changes the
            outputs of the model.
        weights: `random`, or the real model that committed results come from.
        onnx: whether its ONNX file in float32 gives the same outputs.
        int8: whether its ONNX file in int8 stays near them.
        longest_input: tokens for which a model of the default configuration has positions; None without a limit.
        kept_by_sid: share of what its teacher has above the best constant answer that a student of half its layers
            keeps, on the tests' task; None where layers cannot be learned.
    """

    family: str
    learned: str
    weights: str
    onnx: bool
    int8: bool
    longest_input: int | None
    kept_by_sid: float | None


@cache
def read_tried_families() -> dict[str, TriedFamily]:
    """Read the table.

    Returns:
        Rows by family.
    """
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["family"]: _parse(row) for row in csv.DictReader(file)}


def write_tried_families(rows: list[TriedFamily]) -> None:
    """Write the table.

    Args:
        rows: in their order.
    """
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TriedFamily.__dataclass_fields__)
        for row in rows:
            yes_or_no = ["yes" if value else "no" for value in (row.onnx, row.int8)]
            longest = "" if row.longest_input is None else row.longest_input
            kept = "" if row.kept_by_sid is None else f"{row.kept_by_sid:.2f}"
            writer.writerow([row.family, row.learned, row.weights, *yes_or_no, longest, kept])


def _parse(row: dict[str, str]) -> TriedFamily:
    return TriedFamily(
        family=row["family"],
        learned=row["learned"],
        weights=row["weights"],
        onnx=row["onnx"] == "yes",
        int8=row["int8"] == "yes",
        longest_input=int(row["longest_input"]) if row["longest_input"] else None,
        kept_by_sid=float(row["kept_by_sid"]) if row["kept_by_sid"] else None,
    )


def describe_family(name: str) -> list[str]:
    """Say what is known of a family.

    Args:
        name: `model_type` of transformers, as in config.json.

    Returns:
        Sentences.

    Raises:
        ValueError: transformers has no such family.
    """
    if (points := find_entry_points("families").get(name)) is not None:
        return [f"Layers can be compared and copied, by the entry of the package {describe_package(points[0])}."]
    tried = read_tried_families().get(name)
    if tried is not None and tried.learned == LAYERS:
        return ["Layers can be compared and copied.", *_describe_tried(tried)]
    reason = REASONS.get(name) or _explain(name)
    sentences = [f"Layers cannot be compared: {reason}."]
    if tried is None:
        return [*sentences, f"{OUTPUTS_OF_OTHERS} Nothing was tried of this family."]
    if tried.learned == NOTHING:
        return [
            *sentences,
            "Padding changed the outputs of a small model of it. Each model is tried, and refused if it does so.",
        ]
    return [*sentences, OUTPUTS_OF_OTHERS, *_describe_tried(tried)]


def _describe_tried(tried: TriedFamily) -> list[str]:
    weights = "random weights" if tried.weights == RANDOM else f"random weights and with {tried.weights}"
    onnx = {
        (True, True): "ONNX files in float32 and int8 agree with it",
        (True, False): "its ONNX file in float32 agrees with it, that in int8 does not",
    }.get((tried.onnx, tried.int8), "no ONNX file that agrees with it could be written")
    length = "no limit" if tried.longest_input is None else f"{tried.longest_input:,} tokens"
    kept = "" if tried.kept_by_sid is None else f" SID kept {tried.kept_by_sid:.0%} on the tests' task."
    return [f"Tried with {weights}: {onnx}.{kept}", f"Longest input of its default configuration: {length}."]


def _explain(name: str) -> str:
    """Why the layers of a family that is in no table cannot be compared."""
    from transformers import CONFIG_MAPPING, AutoConfig  # noqa: PLC0415 - slow

    if name not in CONFIG_MAPPING:
        known = sorted({*read_tried_families(), *REASONS})
        raise ValueError(
            f"{shorten_value(name)} is no family that transformers knows; give `model_type` of a config.json. "
            f"{suggest_name(name, known, kind='families')}"
        )
    return explain_refusal(AutoConfig.for_model(name))
