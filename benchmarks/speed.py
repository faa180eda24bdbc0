r"""How fast a step and a whole job are, side by side in one process.

    python benchmarks/speed.py steps cola mrpc rte 512 1024
    python benchmarks/speed.py jobs cola mrpc rte
    python benchmarks/speed.py memory 256 512 1024 2048 4096

Rows are appended to benchmarks/results.csv. Runs are interleaved, so that a busy machine slows all of them alike; time
is processor time with one thread and wall time with more. Needs demo-data/ (examples/prepare_demo.py makes it) and, for
the rows of TextBrewer, the extra `bench`; without it they are left out, and said so.
"""

import argparse
import csv
import importlib.util
import logging
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
import transformers
from contestants import JOBS, STEPS
from transformers.utils import logging as transformers_logging
from workload import PARTS, Setting, Workload

from innerdistill.training.targets import has_fast_bfloat16

RESULTS = Path(__file__).parent / "results.csv"
MEMORY = ("fine-tuning alone", "ours, maps, all tokens", "ours, all tokens", "ours, live")
_timed_jobs: dict[tuple, float] = {}


def main() -> None:
    """Run what was asked for, print tables, append rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["steps", "jobs", "memory", "one-memory"])
    parser.add_argument("workloads", nargs="+", help="cola, mrpc, rte, or a number of tokens")
    parser.add_argument("--model", nargs="+", default=["demo-data/minilm"], help="steps of several are interleaved")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--larger-batches", type=int, default=1, help="times as many examples per step, for a GPU")
    parser.add_argument("--rows", type=int, default=160, help="examples of a job")
    parser.add_argument("--vocabulary", type=int, help="words, as many as a multilingual model has, say")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--only", nargs="+", help="contestants whose name holds one of these words")
    options = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)  # random texts teach nothing, and the trainer would say so
    if options.what == "one-memory":
        print(peak_memory(options.only[0], options.workloads[0], options))
        return
    for name in options.workloads:
        if options.what == "steps":
            append(time_steps(name, options), options)
            continue
        for model in options.model:
            measure = {"jobs": time_jobs, "memory": measure_memory}[options.what]
            append(measure(name, argparse.Namespace(**{**vars(options), "model": [model]})), options)


def chosen(names: dict, options: argparse.Namespace) -> list[str]:
    """Contestants that take part.

    Args:
        names: all of them.
        options: of the command line.

    Returns:
        Their names; those of TextBrewer only where it is installed, those in 16 bits only where the device has them.
    """
    found = [name for name in names if not options.only or any(word in name for word in (*options.only, "ideal"))]
    if importlib.util.find_spec("textbrewer") is None and any("TextBrewer" in name for name in found):
        print("TextBrewer is not installed, so it is left out.")
        found = [name for name in found if "TextBrewer" not in name]
    if not has_fast_bfloat16(torch.device(options.device)) and any("bf16" in name for name in found):
        print("This device has no instructions for bfloat16, so it is left out.")
        found = [name for name in found if "bf16" not in name]
    return found


def setting_for(
    name: str, options: argparse.Namespace, *, rows: int | None = None, model: str | None = None
) -> Setting:
    """The workload that a name stands for.

    Args:
        name: cola, mrpc, rte, or a number of tokens.
        options: of the command line.
        rows: number of examples; None makes a few batches.
        model: folder of a base model; None takes the first of the command line.

    Returns:
        The setting.
    """
    size = 32 if not name.isdecimal() or int(name) <= 128 else max(1, 4096 // int(name))
    size *= options.larger_batches
    workload = Workload(name, rows or PARTS * size, size)
    return Setting(
        workload,
        model=model or options.model[0],
        dropout=not options.no_dropout,
        device=options.device,
        vocabulary=options.vocabulary,
    )


def time_steps(name: str, options: argparse.Namespace) -> list[dict]:
    """Median time of one training step of everybody.

    Args:
        name: of the workload.
        options: of the command line.

    Returns:
        Rows for the file of results.
    """
    settings = [setting_for(name, options, model=model) for model in options.model]
    steps = [{contestant: STEPS[contestant](setting) for contestant in chosen(STEPS, options)} for setting in settings]
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        times: list[dict[str, list[float]]] = [{contestant: [] for contestant in of_model} for of_model in steps]
        for repeat in range(options.repeats + 1):
            for of_model, seconds in zip(steps, times, strict=True):
                for contestant, step in of_model.items():
                    mean = sum(timed(step, threads, options.device) for _ in range(PARTS)) / PARTS
                    if repeat:
                        seconds[contestant].append(mean)
        for setting, seconds in zip(settings, times, strict=True):
            title = f"{name}, {threads} threads, one step" + (f", {setting.model_name}" if settings[1:] else "")
            rows += report(title, seconds, reference="ideal", facts=facts_of(setting, "step", threads))
            for contestant in seconds if setting is not settings[0] else ():
                ratio = median(seconds[contestant]) / median(times[0][contestant])
                print(f"{contestant}: {ratio:.2f} times {settings[0].model_name}")
    return rows


def time_jobs(name: str, options: argparse.Namespace) -> list[dict]:
    """Time of a whole SID job: 3 epochs per layer and 3 of classification.

    Args:
        name: of the workload.
        options: of the command line.

    Returns:
        Rows for the file of results.
    """
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        setting = setting_for(name, options, rows=options.rows)
        times: dict[str, list[float]] = {}
        for repeat in range(options.repeats):
            for contestant in chosen(JOBS, options):
                # Who pads does the same work whatever the lengths, and is timed once.
                padded = "padded" in contestant
                key = (contestant, threads, setting.workload.padded_to if padded else name, 0 if padded else repeat)
                if key not in _timed_jobs:
                    _timed_jobs[key] = timed(JOBS[contestant](setting), threads, options.device)
                    print(f"{contestant}: {_timed_jobs[key]:.1f} s", flush=True)
                times.setdefault(contestant, []).append(_timed_jobs[key])
        title = f"{name}, {threads} threads, SID job of {options.rows} rows"
        rows += report(title, times, reference="loop of the paper", facts=facts_of(setting, "job", threads))
    return rows


def measure_memory(name: str, options: argparse.Namespace) -> list[dict]:
    """Peak memory of two steps over models and data, each contestant in a process of its own.

    Args:
        name: of the workload.
        options: of the command line.

    Returns:
        Rows for the file of results.
    """
    setting, rows = setting_for(name, options), []
    print(f"\n{name} tokens: peak memory of two steps over models and data")
    for contestant in chosen(STEPS, options) if options.only else MEMORY:
        command = [sys.executable, __file__, "one-memory", name, "--only", contestant, "--device", options.device]
        command += ["--model", *options.model] + (["--no-dropout"] if options.no_dropout else [])
        command += ["--larger-batches", str(options.larger_batches)]
        command += ["--vocabulary", str(options.vocabulary)] if options.vocabulary else []
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        megabytes = float(found.stdout.split()[-1])
        print(f"{contestant:36}{megabytes:10.0f} MB", flush=True)
        row = {"contestant": contestant, "peak_megabytes": round(megabytes)}
        rows.append(facts_of(setting, "memory", None) | row)
    return rows


def peak_memory(contestant: str, name: str, options: argparse.Namespace) -> float:
    """Peak memory of two steps over what is in use before them; on an accelerator of the second one.

    Args:
        contestant: one of STEPS.
        name: of the workload.
        options: of the command line.

    Returns:
        Megabytes.
    """
    torch.set_num_threads(1)
    setting = setting_for(name, options)
    step = STEPS[contestant](setting)
    if options.device == "cuda":
        step()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    step()
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def timed(call, threads: int, device: str) -> float:
    """Seconds of a call: processor time where one thread works, else wall time.

    Args:
        call: without arguments.
        threads: of torch.
        device: where it runs.

    Returns:
        Seconds.
    """
    clock = time.process_time if threads == 1 and device == "cpu" else time.perf_counter
    start = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def facts_of(setting: Setting, what: str, threads: int | None) -> dict:
    """What the rows of one table have in common.

    Args:
        setting: the workload.
        what: step, job or memory.
        threads: of torch.

    Returns:
        Columns of the file of results.
    """
    workload = setting.workload
    facts = {"what": what, "model": setting.model_name, "workload": workload.name, "threads": threads}
    facts["batch_size"] = workload.batch_size
    return facts | ({"rows": workload.rows} if what == "job" else {})


def report(title: str, times: dict[str, list[float]], *, reference: str, facts: dict) -> list[dict]:
    """Print a table of medians.

    Args:
        title: above it.
        times: seconds by contestant.
        reference: beginning of the contestant that counts 1.
        facts: of every row.

    Returns:
        Rows for the file of results.
    """
    medians = {name: median(values) for name, values in times.items()}
    base = next((value for name, value in medians.items() if name.startswith(reference)), float("nan"))
    print(f"\n{title}")
    rows = []
    for name, middle in medians.items():
        spread = (max(times[name]) - min(times[name])) / middle
        print(f"{name:36}{1000 * middle:10.1f} ms  ±{50 * spread:3.0f} %  {middle / base:6.3f}", flush=True)
        measured = {"seconds": round(middle, 5), "spread": round(spread, 3), "ratio": round(middle / base, 4)}
        rows.append({**facts, "contestant": name, **measured})
    return rows


def append(rows: list[dict], options: argparse.Namespace) -> None:
    """Append rows to the file of results, with date, hardware and versions.

    Args:
        rows: measured.
        options: of the command line.
    """
    names = (
        "date", "hardware", "torch", "transformers", "what", "model", "workload", "batch_size", "dropout", "threads",
        "contestant", "seconds", "spread", "ratio", "peak_megabytes", "error", "gradient_error", "rows",
    )  # fmt: skip
    hardware = f"{processor()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    if options.device == "cuda":
        hardware = torch.cuda.get_device_name()
    common = {
        "date": datetime.now(UTC).date().isoformat(), "hardware": hardware, "torch": torch.__version__,
        "transformers": transformers.__version__, "dropout": not options.no_dropout,
    }  # fmt: skip
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows({**common, **row} for row in rows)


def processor() -> str:
    """Name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
