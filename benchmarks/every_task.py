"""Every kind of data with every schedule, short: shows that all of it runs, not how good it is.

    python benchmarks/every_task.py /path/to/glue

RTE, CoLA, MRPC, QQP, and the demo's CSV once with classes and once with scores.

Needs demo-data/ (examples/prepare_demo.py makes it). Runs go to runs/every-task/.
"""

import sys
from pathlib import Path

from schedules import run_schedules

FOLDER = Path("runs/every-task")
OWN = ["data.train=demo-data/train.csv", "data.validation=demo-data/validation.csv", "data.text=sentence"]
SHORT = ["teacher.base=demo-data/minilm", "teacher.epochs=1", "trainer.learning_rate=1e-4", "data.train_rows=960"]


def main() -> None:
    """Run them all and print the tables."""
    glue = sys.argv[1]
    tasks = {
        name.lower(): [f"data.task={name.lower()}", f"data.path={glue}/{name}"] for name in ("RTE", "CoLA", "MRPC")
    }
    # QQP's dev file is long; its first rows are enough to see that things run.
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = (Path(glue) / "QQP" / "dev.tsv").read_text(encoding="utf-8").split("\n")[:2001]
    (FOLDER / "qqp-dev.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    tasks["qqp"] = ["data.task=qqp", f"data.train={glue}/QQP/train.tsv", f"data.validation={FOLDER}/qqp-dev.tsv"]
    tasks["own-classes"] = [*OWN, "data.label=sentiment", "data.metric=macro_f1"]
    tasks["own-scores"] = [*OWN, "data.label=rating", "data.metric=pearson"]
    for name, data in tasks.items():
        table = run_schedules(FOLDER / name, [*data, *SHORT], steps=60)
        print(f"\n## {name}\n\n{table}", flush=True)


if __name__ == "__main__":
    main()
