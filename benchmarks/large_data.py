"""Does memory grow with the rows? A run on files, and on an iterable in Python, and what it held at most.

python benchmarks/large_data.py FOLDER [ROWS ...]

Needs demo-data/, which examples/prepare_demo.py makes.

Sentences of the demo with a number behind, so that every row is a text of its own; a random teacher of two narrow
layers, so that reading, splitting and tokenising are what takes the time. Memory is that of the process without pages
of files, which the system takes back when it needs them (RssAnon in /proc, looked at 50 times a second: Linux only).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

import innerdistill
from innerdistill.cli.printing import create_table
from innerdistill.recipe.yaml import write_yaml

ITERABLE = "iterable"  # rows that a Python generator makes, given to `innerdistill.distill`
FORMATS = ("csv", "jsonl", "parquet", ITERABLE)
VALIDATION = 1_000


def main() -> None:
    """Make the files, run the command on each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--iterable", action="store_true", help="the process that is measured; for internal use")
    options = parser.parse_args()
    if options.iterable:
        distill_iterable(options.folder, *options.rows)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    make_teacher(options.folder / "teacher")
    write(options.folder / "validation.csv", VALIDATION, first=10**7)
    table = create_table("format", "rows", "file", "seconds", "memory at most")
    for kind in options.formats:
        for rows in options.rows:
            if kind == ITERABLE:
                command = [sys.executable, __file__, str(options.folder), str(rows), "--iterable"]
                seconds, most = measure(command, options.folder)
                table.add_row(kind, f"{rows:,}", "", f"{seconds:.0f}", f"{most:.0f} MB")
                continue
            file = options.folder / f"train-{rows}.{kind}"
            write(file, rows)
            (options.folder / "recipe.yaml").write_text(write_yaml(make_recipe(options.folder, str(file))))
            command = [sys.executable, "-m", "innerdistill", "distill", str(options.folder / "recipe.yaml")]
            seconds, most = measure(command, options.folder)
            table.add_row(kind, f"{rows:,}", f"{file.stat().st_size / 1e6:.1f} MB", f"{seconds:.0f}", f"{most:.0f} MB")
            file.unlink()
    Console().print(table)


def make_teacher(folder: Path) -> None:
    """A random classifier with the demo's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained("demo-data/minilm")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        id2label={0: "negative", 1: "positive"},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sentences(rows: int, first: int) -> Iterator[dict[str, str]]:
    """Rows that are all different, numbered from `first`."""
    with Path("demo-data/train.csv").open(encoding="utf-8", newline="") as file:
        known = list(csv.DictReader(file))
    for number in range(first, first + rows):
        row = known[number % len(known)]
        yield {"sentence": f"{row['sentence']} ({number})", "sentiment": row["sentiment"]}


def write(path: Path, rows: int, *, first: int = 0) -> None:
    """Write a file in the format of its ending."""
    if path.suffix == ".parquet":
        with pa.parquet.ParquetWriter(path, pa.schema({"sentence": pa.string(), "sentiment": pa.string()})) as parquet:
            waiting: list[dict[str, str]] = []
            for row in sentences(rows, first):
                waiting.append(row)
                if len(waiting) == 100_000:
                    parquet.write_table(pa.Table.from_pylist(waiting))
                    waiting = []
            if waiting:
                parquet.write_table(pa.Table.from_pylist(waiting))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in sentences(rows, first))
        else:
            writer = csv.DictWriter(file, ["sentence", "sentiment"])
            writer.writeheader()
            writer.writerows(sentences(rows, first))


def distill_iterable(folder: Path, rows: int) -> None:
    """Distil on rows that a generator makes."""
    innerdistill.distill(make_recipe(folder, sentences(rows, 0)))


def make_recipe(folder: Path, train: Any) -> dict[str, Any]:
    """A short run on training rows: a file, or an iterable."""
    return {
        "data": {"train": train, "validation": f"{folder}/validation.csv", "text": "sentence", "label": "sentiment"},
        "teacher": {"path": str(folder / "teacher"), "allow_weak": True},  # it is random
        "schedule": {"name": "all_layers", "total_steps": 20},
        "output": str(folder / "run"),
        "overwrite": True,
    }


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command with an empty cache.

    Returns:
        Seconds, and the most memory in MB.
    """
    began, most = time.perf_counter(), 0.0
    with (
        (folder / "log").open("w") as log,
        tempfile.TemporaryDirectory(dir=folder) as cache,
    ):  # nothing is tokenised yet
        environment = {**os.environ, "HF_DATASETS_CACHE": cache}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        while process.poll() is None:
            most = max(most, memory(process.pid))
            time.sleep(0.02)
    if process.returncode:
        sys.exit((folder / "log").read_text())
    return time.perf_counter() - began, most


def memory(process: int) -> float:
    """MB that a process holds now, without pages of files."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


if __name__ == "__main__":
    main()
