r"""Kill a run of the demo again and again, and see whether it ends with the same student.

    python benchmarks/kills.py runs/kills                      # half an hour on 2 cores
    python benchmarks/kills.py runs/kills data.train_rows=600  # keys of data and trainer

One run is left alone. The other is killed with SIGKILL, a few times in every phase and spread evenly over it: reading,
the teacher's training and evaluation, its cached outputs, every stage, evaluation and results. Each time the same
command is given again. It reads everything again, and is killed when it has resumed the work of the process before it:
in a stage of training after a share of its steps. Only between two models, where there is little but reading, that
reading counts as part of the phase. At the end the models are compared byte by byte, the logs are searched for
tracebacks, and a table says where each phase was hit. The exit code is 1 if models differ, a traceback was seen, or a
phase was hit less often.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes" / "demo.yaml"
LOOK = 0.01  # seconds between two looks at a run
STUDENT, TEACHER, BASELINE = "run", "teachers/custom-*", "run/baseline"
CACHING = "caching teacher outputs"
RESUMED = "Resume from "  # in the log of a process that has found a checkpoint

# What a run is at, as its files show: the first of these that is there, the last file first.
SIGNS = {
    f"{STUDENT}/report.html": "done",
    f"{BASELINE}/run.json": "report",
    f"{BASELINE}/checkpoints/02": "baseline: evaluation and results",
    f"{BASELINE}/checkpoints": "baseline: training",
    f"{STUDENT}/run.json": "between student and baseline",
    f"{STUDENT}/checkpoints/05": "student: evaluation and results",
    **{f"{STUDENT}/checkpoints/0{number}": f"student: stage {number}" for number in (4, 3, 2)},
    f"{STUDENT}/checkpoints": "student: stage 1",
    "teachers/targets/*/*.partial": CACHING,
    f"{TEACHER}/run.json": "between teacher and student",
    f"{TEACHER}/checkpoints/02/start": "teacher: evaluation and results",
    f"{TEACHER}/checkpoints": "teacher: training",
}
READING = "reading"
# Stages of training, and where their checkpoints are: a process that resumes has done the steps before.
TRAINING = {
    "teacher: training": (TEACHER, 1),
    **{f"student: stage {number}": (STUDENT, number) for number in (1, 2, 3, 4)},
    "baseline: training": (BASELINE, 1),
}
EVALUATION = [phase for phase in SIGNS.values() if "evaluation" in phase]
REPORT, DONE = "report", "done"
PHASES = [READING, *(phase for phase in reversed(SIGNS.values()) if phase != DONE)]
PATIENCE = 1800.0  # seconds that one process may take


@dataclass
class Undisturbed:
    """How long the phases of the run that was left alone took.

    Attributes:
        seconds: by phase.
        steps: of the stages of training, by phase.
    """

    seconds: dict[str, float]
    steps: dict[str, int]


@dataclass
class Process:
    """One process, and what it has been at.

    Attributes:
        folder: of run, teachers and logs.
        popen: the process.
        log: what it says.
        began: when it was started, on the clock that nobody sets.
        started: the same on the clock of files.
        first: the phase the run was in then.
        step: step of the newest checkpoint then, by phase of training.
        entered: when it came to a phase, by phase.
    """

    folder: Path
    popen: subprocess.Popen
    log: Path
    began: float
    started: float
    first: str
    step: dict[str, int]
    entered: dict[str, float] = field(default_factory=dict)

    def look(self) -> str:
        """The phase it is in; notes when it came there."""
        phase = phase_of(self.folder)
        if phase not in self.entered and not self._is_on_its_way(phase):
            self.entered[phase] = time.monotonic()
        return phase

    def _is_on_its_way(self, phase: str) -> bool:
        """Whether this process still reads everything again before it resumes what another one began."""
        if phase == REPORT:  # begins when something is drawn
            with suppress(OSError):
                return "matplotlib/ft2font" not in Path(f"/proc/{self.popen.pid}/maps").read_text()
        if phase != self.first:
            return False
        if phase in EVALUATION:
            return RESUMED not in self.log.read_text()
        if phase == CACHING:  # into files of its own
            with suppress(OSError):  # renamed in this moment
                files = self.folder.glob("teachers/targets/*/*.partial")
                return not any(path.stat().st_mtime > self.started for path in files)
        return False

    def share_done(self, phase: str, alone: Undisturbed) -> float:
        """How much of a phase lies behind it: a share of its steps, or of its time."""
        if phase in TRAINING:
            step = newest_step(self.folder, phase)
            return step / alone.steps[phase] if step > self.step[phase] else 0.0
        if phase not in self.entered:
            return 0.0
        seconds = max(alone.seconds[phase], LOOK)
        if phase == self.first and phase.startswith("between"):  # it began with reading
            return (time.monotonic() - self.began) / (alone.seconds[READING] + seconds)
        return (time.monotonic() - self.entered[phase]) / seconds


def main() -> int:
    """Run both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where both runs go; must not exist")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--kills", type=int, default=4, help="in every phase")
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"{options.folder} exists already.")
    whole, killed = options.folder / "whole", options.folder / "killed"
    alone = leave_alone(whole, options.overrides)
    kills: dict[str, list[float]] = defaultdict(list)
    while (hit := kill_once(killed, options, alone, kills)) is not None:
        phase, share = hit
        kills[phase].append(share)
        print(f"killed: {phase}, {share:.0%} of it done", flush=True)
    same = [compare(whole / name, killed / name) for name in (STUDENT, BASELINE, *teachers(whole))]
    said = "".join(path.read_text() for path in sorted(killed.glob("*.log")))
    tracebacks = said.count("Traceback (most recent call last)")
    print("\n| phase | kills | at |\n|---|---|---|")
    for phase in PHASES:
        print(f"| {phase} | {len(kills[phase])} | {', '.join(f'{share:.0%}' for share in kills[phase])} |")
    inside = len(re.findall(RESUMED + r"\S+/checkpoint-", said))
    total = sum(len(shares) for shares in kills.values())
    print(f"\n{total} kills; {inside} processes resumed inside a stage; tracebacks: {tracebacks};", end=" ")
    print(f"teacher, student and baseline {'the same bytes' if all(same) else 'NOT the same'}.")
    missed = [phase for phase in PHASES if len(kills[phase]) < options.kills]
    if missed:
        print(f"Hit fewer than {options.kills} times: {', '.join(missed)}.")
    return 0 if all(same) and not tracebacks and not missed else 1


def start(folder: Path, overrides: list[str]) -> Process:
    """Give the command once."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"teacher.folder={folder}/teachers", f"output={folder}/run", "teacher.targets=cache", "overwrite=false"]
    command = [sys.executable, "-m", "innerdistill", "distill", str(RECIPE), "checkpoint_minutes=0.005", *settings]
    path = folder / f"{len(list(folder.glob('*.log'))):03d}.log"
    first, step = phase_of(folder), {phase: newest_step(folder, phase) for phase in TRAINING}
    began, started = time.monotonic(), time.time()
    with path.open("w") as log:  # lines as long as a path
        environment = {**os.environ, "COLUMNS": "1000"}
        popen = subprocess.Popen([*command, *overrides], stdout=log, stderr=log, env=environment)
    return Process(folder, popen, path, began, started, first, step)


def leave_alone(folder: Path, overrides: list[str]) -> Undisturbed:
    """The run that nobody kills."""
    seconds: dict[str, float] = defaultdict(float)
    process, before = start(folder, overrides), time.monotonic()
    while process.popen.poll() is None:
        time.sleep(LOOK)
        now = time.monotonic()
        if (phase := process.look()) in process.entered:
            seconds[phase] += now - before
        before = now
    if process.popen.returncode != 0:
        sys.exit(f"the run that was left alone failed: {process.log}")
    print("One run was left alone and has ended. Seconds:", flush=True)
    print(", ".join(f"{phase} {seconds[phase]:.1f}" for phase in PHASES), flush=True)
    steps = {}
    for phase, (place, stage) in TRAINING.items():
        record = json.loads(next(folder.glob(f"{place}/run.json")).read_text())
        steps[phase] = record["stages"][stage - 1]["steps"]
    return Undisturbed(seconds, steps)


def kill_once(
    folder: Path, options: argparse.Namespace, alone: Undisturbed, kills: dict[str, list[float]]
) -> tuple[str, float] | None:
    """Give the command and kill it where the next kill of a phase is due.

    Returns:
        The phase and how much of it was done; None if the run ended by itself.
    """
    if phase_of(folder) == DONE:  # killed when nothing was left to do
        return None
    process = start(folder, options.overrides)
    while process.popen.poll() is None:
        time.sleep(LOOK)
        if time.monotonic() - process.began > PATIENCE:
            process.popen.kill()
            sys.exit(f"a process took more than {PATIENCE:.0f} seconds: {process.log}")
        phase = process.look()
        due = (len(kills[phase]) + 1) / (options.kills + 1)
        if phase == READING:  # the first process of all reads from a cold disk, and takes longer than these
            due /= 2
        share = process.share_done(phase, alone)
        if phase in PHASES and len(kills[phase]) < options.kills and share >= due:
            os.kill(process.popen.pid, signal.SIGKILL)
            if process.popen.wait() == -signal.SIGKILL:
                return phase, share
    if process.popen.returncode != 0:
        sys.exit(f"the command failed after {sum(map(len, kills.values()))} kills: {process.log}")
    return None


def phase_of(folder: Path) -> str:
    """What a run is at."""
    return next((phase for sign, phase in SIGNS.items() if any(folder.glob(sign))), READING)


def newest_step(folder: Path, phase: str) -> int:
    """Step of the newest whole checkpoint of a stage; 0 if there is none."""
    place, stage = TRAINING[phase]
    sealed = folder.glob(f"{place}/checkpoints/{stage:02d}/checkpoint-*/checksums.json")
    return max((int(path.parent.name.removeprefix("checkpoint-")) for path in sealed), default=0)


def teachers(folder: Path) -> list[str]:
    """Names of the teachers' folders."""
    return [str(path.relative_to(folder)) for path in folder.glob(TEACHER)]


def compare(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights; says so if not."""
    same = all(path.is_file() for path in (one / "model/model.safetensors", other / "model/model.safetensors"))
    same = same and len({(run / "model/model.safetensors").read_bytes() for run in (one, other)}) == 1
    if not same:
        print(f"{one} and {other} differ.")
    return same


if __name__ == "__main__":
    sys.exit(main())
