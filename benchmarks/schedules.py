r"""The five schedules on one task, one seed, protocol A: the same number of optimiser steps for every method.

    python benchmarks/schedules.py runs/cola-table --steps 2400 -- data.task=cola data.path=$GLUE/CoLA \
        teacher.base=demo-data/minilm

Everything after `--` is a recipe override. Finished runs are kept; the table is printed as Markdown and written beside
them. One seed shows that things run, not which method is better.
"""

import argparse
import sys
from pathlib import Path

from innerdistill import SCHEDULES, distill, load_recipe
from innerdistill.evaluation.evaluate import headline
from innerdistill.results.card import metric_names
from innerdistill.results.run_folder import read_run


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps of every student, over all stages")
    parser.add_argument("--seed", type=int, default=1)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:split])
    print(run_schedules(options.folder, sys.argv[split + 1 :], steps=options.steps, seed=options.seed))


def run_schedules(folder: Path, overrides: list[str], *, steps: int, seed: int = 1) -> str:
    """Run every schedule that has not run yet in a folder.

    Args:
        folder: gets one run folder per schedule, and table.md.
        overrides: of the recipe.
        steps: optimiser steps of every student.
        seed: of the students.

    Returns:
        The table as Markdown.
    """
    runs = {}
    for schedule in SCHEDULES:
        run = folder / schedule
        if not (run / "run.json").is_file():
            fixed = [f"schedule.name={schedule}", f"schedule.total_steps={steps}", f"seed={seed}", f"output={run}"]
            distill(load_recipe({}, overrides=["student.source=base", "overwrite=true", *overrides, *fixed]))
        runs[schedule] = read_run(run)
    table = markdown(runs)
    (folder / "table.md").write_text(table)
    return table


def markdown(runs: dict) -> str:
    """The table: teacher, best constant answer and every schedule, then the learning curves on selection.

    Args:
        runs: run.json by schedule.

    Returns:
        Markdown.
    """
    any_run = next(iter(runs.values()))
    teacher = any_run["scores"]["validation"]["teacher"]
    names, metric = metric_names(teacher), any_run["data"]["metric"]
    lines = [
        f"| | {' | '.join(names)} | as teacher | steps | CPU seconds | top layer's CLS cosine, by stage |",
        "|---|" + "---|" * (len(names) + 4),
        f"| teacher, {any_run['teacher']['layers']} layers | {numbers(teacher, names)} | | | | |",
    ]
    for schedule, run in runs.items():
        scores, agreed = run["scores"]["validation"]["student"], run["agreement"]["validation"]
        same = (
            f"{100 * agreed['equal_predictions']:.1f} %"
            if "equal_predictions" in agreed
            else f"r = {agreed['pearson']:.3f}"
        )
        steps = sum(stage["steps"] for stage in run["stages"])
        cpu = sum(stage["cpu_seconds"] for stage in run["stages"])
        flag = " (collapsed)" if scores.get("collapsed") else ""
        lines.append(f"| {schedule}{flag} | {numbers(scores, names)} | {same} | {steps} | {cpu:.0f} | {cosines(run)} |")
    lines.append(f"| best constant answer | {teacher['constant']:.4f} |" + " |" * (len(names) + 3))
    lines.append(
        f"\nStandard error of the teacher's {metric} over the validation rows: {teacher['standard_error']:.4f}.\n"
    )
    for schedule, run in runs.items():
        curve = [headline(epoch["scores"])[metric] for stage in run["stages"] for epoch in stage["epochs"]]
        lines.append(
            f"- {metric} on selection after each epoch, {schedule}: {', '.join(f'{value:.3f}' for value in curve)}"
        )
    return "\n".join(lines) + "\n"


def numbers(scores: dict, names: list[str]) -> str:
    """Cells of one row.

    Args:
        scores: of one model.
        names: metrics.

    Returns:
        Cells joined by bars.
    """
    return " | ".join(f"{scores[name]:.4f}" for name in names)


def cosines(run: dict) -> str:
    """Training cosine loss of the top layer at the end of every internal stage.

    Args:
        run: run.json.

    Returns:
        Numbers joined by commas.
    """
    found = []
    for stage in run["stages"]:
        name = f"cls_cosine/{max(map(int, stage['stage']['pairs']), default=0)}"
        if name in stage["epochs"][-1]["losses"]:
            found.append(f"{stage['epochs'][-1]['losses'][name]:.4f}")
    return ", ".join(found) or "–"


if __name__ == "__main__":
    main()
