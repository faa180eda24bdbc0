"""Two processes train the student that one process trains with the same global batch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_model
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForTokenClassification

from innerdistill import distill
from innerdistill.cli.main import VERBS, main
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_record

TOGETHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "innerdistill"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def content(recipe, tokenizer, place):
    """SID without dropout, with clipping, length groups and a threshold that the first stage crosses.

    Cached soft labels of a teacher, and cached layers of another model, whose layers the student starts with.
    """
    for name, seed in (("teacher", 0), ("before", 5)):
        model = tiny_model(dropout=0.0, seed=seed, id2label={0: "neg", 1: "pos"})
        model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    before = str(place / "before")

    def make(name, *, processes, **changes):
        trainer = {"learning_rate": 2e-3, "max_grad_norm": 0.5, "logging_steps": 1, "use_cpu": True}
        made = recipe(
            place / name,
            data={"train_rows": 160},
            schedule={"name": "sid", "epochs_per_layer": 3, "classification_epochs": 2, "threshold": 0.1},
            checkpoint_minutes=0,
        )
        made["trainer"] = {**trainer, "per_device_train_batch_size": 16 // processes}
        made["teacher"] = {"path": str(place / "teacher"), "folder": str(place / "teachers"), "targets": "cache"}
        made["teacher"]["internal"] = before
        made["student"] = {"source": before}
        return {**made, **changes}

    return make


def run_together(content, folder, *, torchrun=sys.executable, ranks=sys.executable):
    file = folder.with_suffix(".yaml")
    file.write_text(write_yaml(content))
    environment = {**ENVIRONMENT, "PYTHON_EXEC": ranks}  # with which torchrun starts them
    command = [torchrun, *TOGETHER, "distill", str(file)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def run_until(content, folder, sign, **options):
    """Two processes that have come to where a file of this name is."""
    run = run_together(content, folder, **options)
    deadline = time.monotonic() + 120
    while not list(folder.glob(sign)) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return run


def processes_of(run):
    """Process numbers of the ranks, the first rank first (Linux)."""
    return [int(number) for number in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]


def stop(run):
    """SIGTERM to torchrun, which passes it on; the ranks are held meanwhile, or they could be done before it comes."""
    ranks = processes_of(run)
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)
    run.send_signal(signal.SIGTERM)
    time.sleep(2)
    for rank in ranks:
        os.kill(rank, signal.SIGCONT)


def curves(folder):
    """Loss and norm of the gradient per step, stage after stage."""
    found = {"train/loss": [], "train/grad_norm": []}
    for stage in sorted((folder / "tensorboard").iterdir()):
        events = EventAccumulator(str(stage)).Reload()
        for name, values in found.items():
            values += [event.value for event in events.Scalars(name)]
    return {name: np.array(values) for name, values in found.items()}


@pytest.fixture(scope="module")
def both(content, place, preloaded_python):
    """The finished run of two processes."""
    run = run_together(content("both", processes=2), place / "both", torchrun=preloaded_python, ranks=preloaded_python)
    assert run.wait(timeout=300) == 0, run.stderr.read()
    return place / "both"


def test_the_same_student_as_one_process(content, both):
    one = distill(content("one", processes=1))
    ours, theirs = curves(one), curves(both)
    for name, values in ours.items():
        # Absolutely too: gradients of examples are of size 1, and where they nearly cancel, their rounding does not.
        assert len(values) >= 50 and values == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name
    ended = [[stage.ended for stage in read_record(folder).stages] for folder in (one, both)]
    assert ended[0] == ended[1] and ended[0][0].startswith("threshold")
    compare_weights(one, both)


def compare_weights(first, second):
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (first, second))
    for name in first:
        # A key's bias moves no distribution, so its gradient is rounding alone, which Adam makes steps of.
        assert name.endswith("key.bias") or first[name] == pytest.approx(second[name], abs=1e-5), name


def compare_runs(first, second):
    ours, theirs = curves(first), curves(second)
    for name, values in ours.items():
        assert len(values) >= 50 and values == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name
    compare_weights(first, second)


def distill_in(processes, content, folder, python):
    """Distil in one process, this one, or in two."""
    if processes == 1:
        return Path(distill(content))
    run = run_together(content, folder, torchrun=python, ranks=python)
    assert run.wait(timeout=300) == 0, run.stderr.read()
    return folder


def test_the_same_student_from_given_outputs(content, sentences, place, preloaded_python):
    generator = np.random.default_rng(0)
    for name, begin, end in (("given", 0, 160), ("given_validation", 160, 200)):
        rows = []
        for text, score in sentences[begin:end]:
            right = generator.uniform(0.6, 1)
            rows.append(
                {"text": text, "pos": right if score > 0 else 1 - right, "neg": 1 - right if score > 0 else right}
            )
        (place / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = {"train": f"{place}/given.jsonl", "validation": f"{place}/given_validation.jsonl", "text": "text"}
    data |= {"probabilities": {"neg": "neg", "pos": "pos"}}
    folders = []
    for name, processes in (("one, given", 1), ("both, given", 2)):
        schedule = {"name": "soft_labels", "classification_epochs": 6}
        made = content(name, processes=processes, data=data, schedule=schedule)
        made |= {"student": {"source": f"{place}/before", "num_layers": 2}}
        made["teacher"] = {"folder": f"{place}/outputs of {name}"}
        folders.append(distill_in(processes, made, place / name, preloaded_python))
    compare_runs(*folders)
    scores = [read_record(folder).scores["validation"].student for folder in folders]
    assert scores[0].rows == scores[1].rows == 40 and scores[0].primary == pytest.approx(scores[1].primary)


def test_the_same_tagger_as_one_process(content, sentences, tokenizer, place, preloaded_python):
    """Texts of several windows, some of them without tags; outputs of all tokens are cached."""
    names = {0: "O", 1: "B-good", 2: "B-bad"}
    config = tiny_model(dropout=0.0).config
    config.id2label, config.label2id = names, {name: number for number, name in names.items()}
    torch.manual_seed(0)
    AutoModelForTokenClassification.from_config(config).save_pretrained(place / "tagger")
    tokenizer.save_pretrained(place / "tagger")
    for name, begin, end in (("train", 0, 120), ("validation", 120, 160), ("unlabelled", 160, 180)):
        lines = []
        for text, _ in sentences[begin:end]:
            words = text.split()
            tags = (
                {}
                if name == "unlabelled"
                else {"tags": [f"B-{word[:-1]}" if word[0] in "gb" else "O" for word in words]}
            )
            lines.append(json.dumps({"tokens": words, **tags}) + "\n")
        (place / f"{name}.jsonl").write_text("".join(lines))
    data = {name: str(place / f"{name}.jsonl") for name in ("train", "validation", "unlabelled")}
    data |= {"text": "tokens", "label": "tags", "max_length": 9}
    folders = []
    for name, processes in (("one tagger", 1), ("both taggers", 2)):
        made = content(name, processes=processes, data=data, student={"num_layers": 2})
        made["teacher"] = {
            "path": str(place / "tagger"),
            "folder": str(place / f"teachers of {name}"),
            "targets": "cache",
            "allow_weak": True,
        }
        folders.append(distill_in(processes, made, place / name, preloaded_python))
    compare_runs(*folders)
    scores = [read_record(folder).scores["validation"].student for folder in folders]
    assert scores[0].rows == scores[1].rows == 40 and scores[0].primary == pytest.approx(scores[1].primary)


@pytest.mark.slow  # what is stopped is started as a user does it: it imports everything three times
def test_the_same_student_after_a_stop_and_a_kill(content, both, place, preloaded_python):
    stopped = place / "stopped"
    run = run_until(content("stopped", processes=2), stopped, "checkpoints/01/checkpoint-*")
    stop(run)
    assert run.wait(timeout=120) != 0
    assert "Run the same command again to resume" in run.stderr.read()
    run = run_until(content("stopped", processes=2), stopped, "checkpoints/02/checkpoint-*", ranks=preloaded_python)
    os.kill(processes_of(run)[0], signal.SIGKILL)  # the one that writes
    assert run.wait(timeout=120) != 0
    said = run.stderr.read()
    # Whichever comes first: the lost connection, or between two stages the signal that torchrun sends.
    assert "another process of this run has ended" in said or "innerdistill: stopped." in said
    assert "[rank1]: Traceback" not in said
    assert not (stopped / "run.json").exists()
    python = {"torchrun": preloaded_python, "ranks": preloaded_python}
    again = run_together(content("stopped", processes=2), place / "stopped", **python)
    assert again.wait(timeout=300) == 0, again.stderr.read()
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (both, stopped)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("at", ["while the error is on its way", "while it is said"])
def test_the_signal_of_torchrun_does_not_cut_off_what_is_said_of_a_lost_process(at, monkeypatch, capsys):
    """It comes a moment after the other process has ended."""

    def sent(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    def lost(_options):
        try:
            raise RuntimeError("gloo/transport/tcp/pair.cc:553] Connection closed by peer")
        finally:
            if at == "while the error is on its way":
                sent()

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setitem(VERBS, "distill", lost)
    if at == "while it is said":
        monkeypatch.setattr("innerdistill.cli.errors.describe_memory_problem", sent)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["distill", "recipe.yaml"]) == 2
    said = capsys.readouterr().err
    assert "another process of this run has ended" in said and "run the same command again to resume" in said
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_what_is_wrong_is_said_once_and_nobody_waits(content, place, preloaded_python):
    (place / "bad").mkdir()
    (place / "bad" / "thesis.txt").write_text("mine")
    bad = run_together(content("bad", processes=2), place / "bad", torchrun=preloaded_python, ranks=preloaded_python)
    assert bad.wait(timeout=120) != 0
    assert "holds 'thesis.txt', which is not part of a run" in bad.stderr.read()
