"""benchmarks/results.csv -> docs/speed.svg: the demo's model with dropout, on the hardware of the last row; of each
step and job its last run.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
COLOURS = {"ours": "#0a9396", "TextBrewer": "#ca6702", "loop": "#8a63d2", "the same loop": "#8a63d2"}


def main() -> None:
    """Draw both panels."""
    with (Path(__file__).parent / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["hardware"] == rows[-1]["hardware"] and row["ratio"]]
    rows = [row for row in rows if row["model"] == "minilm" and row["dropout"] == "True"]
    last = {(row["what"], row["workload"], row["threads"], row["contestant"]): row for row in rows}
    panels = [("step", "one step of all layers; 1 is a teacher forward and a step of plain fine-tuning"),
              ("job", "whole SID job; 1 is the padded loop of the paper's time")]  # fmt: skip
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 9), height_ratios=(12, 6), layout="constrained")
    for axis, (what, title) in zip(axes, panels, strict=True):
        draw(axis, [row for row in last.values() if row["what"] == what], title)
    figure.savefig(ROOT / "docs" / "speed.svg")


def draw(axis: plt.Axes, rows: list[dict], title: str) -> None:
    """One row per contestant, one mark per workload.

    Args:
        axis: to draw on.
        rows: of one kind.
        title: above it.
    """
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    marks = dict(zip(dict.fromkeys(row["workload"] for row in rows), "osD^vPX*", strict=False))
    seen = set()
    for row in sorted(rows, key=lambda row: row["threads"]):
        name, workload = row["contestant"], row["workload"]
        colour = next((value for start, value in COLOURS.items() if name.startswith(start)), "#5b6775")
        label = None if workload in seen else workload
        seen.add(workload)
        axis.plot(float(row["ratio"]), names.index(name), marks[workload], color=colour, label=label, alpha=0.8)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.grid(axis="x", which="both", alpha=0.25)
    axis.set_title(title, loc="left", fontsize=10)
    axis.legend(fontsize=8)


if __name__ == "__main__":
    main()
