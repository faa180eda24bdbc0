r"""Whether the techniques that are not exact change the result: the demo's SID student with and without them, by seed.

    python benchmarks/same_scores.py runs/same-scores --seeds 1 2 3 4 5

Live, 32 bits is the reference; every other variant is compared with it on the same seeds: mean difference of the
primary metric with its 95 % interval (paired t). Finished runs are kept; 16 bits are tried where the processor has
them.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from innerdistill import distill, load_recipe
from innerdistill.distillation.targets import has_fast_bfloat16
from innerdistill.models.loading import default_device
from innerdistill.results.run_folder import read_run

EXACT = ["teacher.targets=live", "teacher.precision=float32"]
VARIANTS = {
    "live, 32 bits": EXACT,
    "kept": ["teacher.targets=keep"],
    "live, teacher in bfloat16": ["teacher.targets=live", "teacher.precision=bfloat16"],
    "kept, student in bfloat16": ["teacher.targets=keep", "trainer.bf16=true"],
}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--recipe", default="recipes/demo.yaml")
    options = parser.parse_args()
    fast = has_fast_bfloat16(default_device())
    chosen = [name for name in VARIANTS if fast or "bfloat16" not in name]
    scores = {name: [run(options, name, seed) for seed in options.seeds] for name in chosen}
    reference = np.array(scores["live, 32 bits"])
    print(f"| {len(options.seeds)} seeds | mean | deviation | difference | 95 % interval |\n|---|---|---|---|---|")
    for name, values in scores.items():
        difference = np.array(values) - reference
        cells = f"| {name} | {np.mean(values):.4f} | {np.std(values, ddof=1):.4f} |"
        if name == "live, 32 bits":
            print(f"{cells} | |")
            continue
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        print(
            f"{cells} {difference.mean():+.4f} | {difference.mean() - half:+.4f} ... {difference.mean() + half:+.4f} |"
        )


def run(options: argparse.Namespace, name: str, seed: int) -> float:
    """Score of one student on validation.

    Args:
        options: of the command line.
        name: of the variant.
        seed: of the student.

    Returns:
        The primary metric.
    """
    folder = options.folder / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    if not (folder / "run.json").is_file():
        fixed = [*options.overrides, "baseline=false", "overwrite=true", f"seed={seed}", f"output={folder}"]
        distill(load_recipe(options.recipe, overrides=[*VARIANTS[name], *fixed]))
    record = read_run(folder)
    return float(record["scores"]["validation"]["student"][record["data"]["metric"]])


if __name__ == "__main__":
    main()
