"""Every kind of data with every schedule, short: shows that all of it runs, not how good it is.

    python benchmarks/every_task.py /path/to/glue

RTE, CoLA, MRPC, QQP, and the demo's CSV once with classes and once with scores.

Needs demo-data/ (examples/prepare_demo.py makes it). Runs go to runs/every-task/.
"""

import sys
from pathlib import Path

from innerdistill import SCHEDULES
from innerdistill.cli.printing import console, print_sweep
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.sweep import run_sweep

FOLDER = Path("runs/every-task")
OWN = {"data.train": "demo-data/train.csv", "data.validation": "demo-data/validation.csv", "data.text": "sentence"}
SHORT = {
    "data": {"train_rows": 960},
    "teacher": {"base": "demo-data/minilm", "epochs": 1},
    "student": {"source": "base"},
    "schedule": {"total_steps": 60},
    "trainer": {"learning_rate": 1e-4},
}


def main() -> None:
    """Run them all and print the tables."""
    glue = sys.argv[1]
    tasks = {
        name.lower(): {"data.task": name.lower(), "data.path": f"{glue}/{name}"} for name in ("RTE", "CoLA", "MRPC")
    }
    # QQP's dev file is long; its first rows are enough to see that things run.
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = (Path(glue) / "QQP" / "dev.tsv").read_text(encoding="utf-8").split("\n")[:2001]
    (FOLDER / "qqp-dev.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    files = {"data.train": f"{glue}/QQP/train.tsv", "data.validation": str(FOLDER / "qqp-dev.tsv")}
    tasks["qqp"] = {"data.task": "qqp", **files}
    tasks["own-classes"] = {**OWN, "data.label": "sentiment", "data.metric": "macro_f1"}
    tasks["own-scores"] = {**OWN, "data.label": "rating", "data.metric": "pearson"}
    methods = {name: {"schedule.name": name} for name in SCHEDULES}
    sweep = Sweep(recipe=SHORT, methods=methods, tasks=tasks, seeds=[1], output=str(FOLDER))
    results = run_sweep(sweep, console=console)
    print_sweep(results.groups)
    sys.exit(f"failed: {results.failed}" if results.failed else 0)


if __name__ == "__main__":
    main()
