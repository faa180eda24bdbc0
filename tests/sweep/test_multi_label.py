"""A sweep over multi-label classifiers: its pages, and the blocks that they are made from again."""

import json
import shutil

import pyarrow.parquet
import pytest
from conftest import TRAINER

from innerdistill.sweep.grid import load_sweep
from innerdistill.sweep.sweep import report_on, run_sweep


@pytest.fixture
def sweep(sentences, base_folder, fill_once, tmp_path):
    teachers = fill_once("teachers", lambda _: None)
    for name, rows in {"train": sentences[:200], "validation": sentences[200:320]}.items():
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for text, _ in rows:
                labels = [label for label in ("bad", "good") if any(word.startswith(label) for word in text.split())]
                file.write(json.dumps({"text": text, "kinds": labels}) + "\n")
    recipe = {
        "data": {
            "train": str(tmp_path / "train.jsonl"), "validation": str(tmp_path / "validation.jsonl"),
            "text": "text", "label": "kinds",
        },
        "teacher": {"base": str(base_folder), "epochs": 4, "folder": str(teachers), "allow_weak": True},
        "schedule": {"total_steps": 24},
        "trainer": TRAINER,
    }  # fmt: skip
    methods = {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"schedule.name": "sid"}}
    content = {"recipe": recipe, "methods": methods, "seeds": [1, 2], "compare": [["sid", "soft labels"]]}
    return load_sweep({**content, "output": str(tmp_path / "sweep")})


@pytest.mark.slow  # every cell is a process of its own, which imports everything
def test_a_sweep_of_label_sets_is_made_again_from_its_blocks(sweep):
    run_sweep(sweep)
    text = (sweep.folder / "report.md").read_text()
    assert "micro F1" in text and "sid" in text and "kappa" in text
    (block,) = (sweep.folder / "blocks").glob("*.parquet")
    names = pyarrow.parquet.read_schema(block).names
    assert {"label_0", "label_1", "logit_0", "logit_1"} <= set(names) and "label" not in names
    for folder in ("sid", "soft-labels"):
        shutil.rmtree(sweep.folder / folder)
    report_on(sweep)
    assert (sweep.folder / "report.md").read_text() == text
