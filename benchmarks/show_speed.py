"""benchmarks/results.csv -> the tables and the plot of docs/explanation/speed.md: the newest rows of one hardware.

python benchmarks/show_speed.py [--hardware "AMD EPYC, 2 cores, AVX512"]
"""

import argparse
import csv
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
COLOURS = {"ours": "#0a9396", "TextBrewer": "#ca6702", "loop": "#8a63d2", "the same loop": "#8a63d2"}
TABLE = ("what", "model", "dropout", "threads", "rows")  # what a table's rows have in common
RIVAL = "TextBrewer, grouped batches"  # of a job
PANELS = {
    "step": "one step of all layers; 1 is a teacher forward and a step of plain fine-tuning",
    "job": "whole SID job; 1 is the padded loop of the paper's time",
}


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", help="as in the file; by default that of the last row")
    options = parser.parse_args()
    with (Path(__file__).parent / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    wanted = options.hardware or rows[-1]["hardware"]
    rows = [row for row in rows if row["hardware"] == wanted and row["what"] != "loss"]
    for row in rows:
        if row["workload"].isdecimal():
            row["workload"] = f"{row['batch_size']} x {row['workload']} tokens"
    last = {tuple(row[name] for name in (*TABLE, "workload", "contestant")): row for row in rows}
    in_order = sorted(last.values(), key=group_of)
    for group, found in groupby(in_order, key=group_of):
        print("\n" + ", ".join(f"{name} {value}" for name, value in zip(TABLE, group, strict=True) if value) + "\n")
        print(table(list(found)))
    timed = [row for row in last.values() if row["ratio"] and row["dropout"] == "True"]
    draw([row for row in timed if row["model"].startswith("minilm")])


def group_of(row: dict) -> tuple[str, ...]:
    """Which table a row belongs to."""
    return tuple(row[name] for name in TABLE)


def table(rows: list[dict]) -> str:
    """A Markdown table: one row per contestant, one column per workload.

    Args:
        rows: of one kind.

    Returns:
        Its lines. A step's numbers are multiples of the ideal one, a job's are seconds and the shares of the padded
        loop's and of TextBrewer's on our batches, memory is in megabytes.
    """
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    rivals = {row["workload"]: row for row in rows if row["contestant"] == RIVAL}
    cells = {(row["contestant"], row["workload"]): shown(row, rivals.get(row["workload"])) for row in rows}
    lines = [f"| | {' | '.join(workloads)} |", "|---" * (len(workloads) + 1) + "|"]
    ideal = {row["workload"]: row for row in rows if row["what"] == "step" and row["contestant"] == "ideal"}
    if ideal:
        times = (f"{1000 * float(ideal[name]['seconds']):.0f}" if name in ideal else "" for name in workloads)
        lines.append(f"| ideal step, milliseconds | {' | '.join(times)} |")
    for name in dict.fromkeys(row["contestant"] for row in rows):
        lines.append(f"| {name} | {' | '.join(cells.get((name, workload), '') for workload in workloads)} |")
    return "\n".join(lines)


def shown(row: dict, rival: dict | None) -> str:
    """What a table shows of a measurement."""
    if row["what"] == "memory":
        return row["peak_megabytes"]
    if row["what"] == "step":
        return f"{float(row['ratio']):.2f}"
    seconds, shares = float(row["seconds"]), []
    if row["ratio"] not in {"", "nan"}:  # none without the padded loop
        shares.append(f"{float(row['ratio']):.3f} of the loop")
    if rival is not None and rival is not row:
        shares.append(f"{seconds / float(rival['seconds']):.2f} of TextBrewer")
    return f"{seconds:.1f}" + (f" ({', '.join(shares)})" if shares else "")


def draw(rows: list[dict]) -> None:
    """Steps and jobs as multiples of their references, into docs/speed.svg.

    Args:
        rows: of both kinds.
    """
    names = {what: list(dict.fromkeys(row["contestant"] for row in rows if row["what"] == what)) for what in PANELS}
    heights = [len(found) + 2 for found in names.values()]
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(9, 9), height_ratios=heights, layout="constrained")
    for axis, (what, title) in zip(axes, PANELS.items(), strict=True):
        draw_panel(axis, [row for row in rows if row["what"] == what], names[what])
        axis.set_title(title, loc="left", fontsize=10)
    figure.savefig(ROOT / "docs" / "speed.svg")


def draw_panel(axis: plt.Axes, rows: list[dict], names: list[str]) -> None:
    """One row per contestant, one mark per workload.

    Args:
        axis: to draw on.
        rows: of one kind.
        names: of the contestants, from top to bottom.
    """
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
    axis.legend(fontsize=8)


if __name__ == "__main__":
    main()
