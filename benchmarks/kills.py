r"""Kill a run of the demo again and again, and see whether it ends with the same student.

    python benchmarks/kills.py runs/kills                      # half an hour on 2 cores
    python benchmarks/kills.py runs/kills data.train_rows=600  # any key of the recipe

One run is left alone. The other is killed with SIGKILL, at a random moment, a few times in every phase: reading, the
teacher's training and evaluation, its kept answers, every stage, evaluation and results. Each time the same command is
given again. At the end both models are compared byte by byte, and a table says how often each phase was hit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes" / "demo.yaml"
LONGEST = 4.0  # seconds between the beginning of a phase, or of a process inside it, and its kill


def main() -> int:
    """Run both, print the table; exit code 1 if the students differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where both runs go; must not exist")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--kills", type=int, default=4, help="in every phase")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"{options.folder} exists already.")
    draw = random.Random(options.seed)
    whole, killed = options.folder / "whole", options.folder / "killed"
    if start(whole, options.overrides).wait() != 0:
        print(f"the run that was left alone failed: {whole}/log.txt")
        return 1
    print("One run was left alone and has ended.", flush=True)
    kills: Counter[str] = Counter()
    while not kill_once(killed, options, draw, kills):
        print(f"killed: {', '.join(f'{phase} {count}' for phase, count in kills.items())}", flush=True)
    same = [compare(whole / name, killed / name) for name in ("run", "run/baseline", *teachers(whole))]
    print("\n| phase | kills |\n|---|---|")
    for phase, count in kills.items():
        print(f"| {phase} | {count} |")
    print(f"\n{sum(kills.values())} kills; students and teacher {'the same' if all(same) else 'NOT the same'}.")
    return 0 if all(same) else 1


def start(folder: Path, overrides: list[str]) -> subprocess.Popen:
    """Give the command once."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"teacher.folder={folder}/teachers", f"output={folder}/run", "teacher.targets=keep", "overwrite=false"]
    command = [sys.executable, "-m", "innerdistill", "distill", str(RECIPE), "checkpoint_minutes=0.03", *settings]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen([*command, *overrides], stdout=log, stderr=log)


def kill_once(folder: Path, options: argparse.Namespace, draw: random.Random, kills: Counter) -> bool:
    """Give the command and kill it in a phase that has not been hit often enough; True if it ended by itself."""
    process = start(folder, options.overrides)
    while process.poll() is None:
        time.sleep(0.02)
        if kills[phase_of(folder)] >= options.kills:
            continue
        moment = time.monotonic() + draw.uniform(0, LONGEST)
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        phase = phase_of(folder)
        if process.poll() is None and kills[phase] < options.kills:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills[phase] += 1
            return False
    if process.returncode != 0:
        sys.exit(f"the command failed after {sum(kills.values())} kills: {folder}/log.txt")
    return True


def phase_of(folder: Path) -> str:
    """What a run is at, as its files show: the first of these that is there, the last file first."""
    student, teacher = "run/checkpoints/", "teachers/custom-*/checkpoints/"
    signs = {
        "run/baseline/run.json": "report",
        "run/baseline/checkpoints/02": "baseline: evaluation and results",
        "run/baseline/checkpoints": "baseline: training",
        "run/run.json": "between student and baseline",
        f"{student}05": "student: evaluation and results",
        **{f"{student}0{number}": f"student: stage {number}" for number in (4, 3, 2)},
        "run/checkpoints": "student: stage 1",
        "teachers/targets/*/*.partial": "teacher: answers to keep",
        "teachers/custom-*/run.json": "between teacher and student",
        f"{teacher}02/start": "teacher: evaluation and results",
        f"{teacher}": "teacher: training",
    }
    return next((phase for sign, phase in signs.items() if any(folder.glob(sign))), "reading")


def teachers(folder: Path) -> list[str]:
    """Names of the teachers' folders."""
    return [str(path.relative_to(folder)) for path in folder.glob("teachers/custom-*")]


def compare(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights; says so if not."""
    same = all(path.is_file() for path in (one / "model/model.safetensors", other / "model/model.safetensors"))
    same = same and len({(run / "model/model.safetensors").read_bytes() for run in (one, other)}) == 1
    if not same:
        print(f"{one} and {other} differ.")
    return same


if __name__ == "__main__":
    sys.exit(main())
