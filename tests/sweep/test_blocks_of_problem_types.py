"""Sweeps whose labels are sets, tags or relevances: their pages, and the blocks that they are made from again."""

import json
import shutil

import pyarrow.parquet
import pytest
from conftest import TRAINER

from innerdistill.sweep.grid import load_sweep
from innerdistill.sweep.sweep import report_on, run_sweep

KINDS = ("bad", "good")


def make_set(text):
    return {"text": text, "label": [kind for kind in KINDS if any(word.startswith(kind) for word in text.split())]}


def make_tags(text):
    words = text.split()
    return {
        "text": words,
        "label": [next((f"B-{kind}" for kind in KINDS if word.startswith(kind)), "O") for word in words],
    }


def make_ranking(text):
    """The good words of a text against the others."""
    words = list(dict.fromkeys(text.split()))
    return {"query": text, "text": words, "label": [int(word.startswith("good")) for word in words]}


FORMS = {  # rows of a file, the name of the primary metric on a page, and the columns of a block
    "label sets": (make_set, "micro F1", {"label_0", "label_1", "logit_0", "logit_1"}),
    "tags": (make_tags, "entity F1", {"label", *(f"logit_{tag}" for tag in range(5))}),
    "rankings": (make_ranking, "nDCG@10", {"label", "logit_0"}),
}
RANKINGS = {"text": ["query", "text"], "problem_type": "text_ranking"}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture
def sweep(form, sentences, base_folder, fill_once, tmp_path):
    teachers = fill_once("teachers", lambda _: None)
    for name, rows in {"train": sentences[:200], "validation": sentences[200:320]}.items():
        lines = [json.dumps(form[0](text)) for text, _ in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    recipe = {
        "data": {
            "train": str(tmp_path / "train.jsonl"), "validation": str(tmp_path / "validation.jsonl"), "text": "text",
        },
        "teacher": {"base": str(base_folder), "epochs": 4, "folder": str(teachers), "allow_weak": True},
        "schedule": {"total_steps": 24},
        "trainer": TRAINER,
    }  # fmt: skip
    if form[0] is make_ranking:
        recipe["data"] |= RANKINGS
    methods = {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"schedule.name": "sid"}}
    content = {"recipe": recipe, "methods": methods, "seeds": [1, 2], "compare": [["sid", "soft labels"]]}
    return load_sweep({**content, "output": str(tmp_path / "sweep")})


@pytest.mark.slow  # every cell is a process of its own
def test_a_sweep_is_made_again_from_its_blocks(sweep, form, fast_start):
    run_sweep(sweep)
    _, metric, columns = form
    text = (sweep.folder / "report.md").read_text()
    assert metric in text and "sid" in text and ("kappa" in text) == (form[0] is not make_ranking)  # of right and wrong
    (block,) = (sweep.folder / "blocks").glob("*.parquet")
    names = set(pyarrow.parquet.read_schema(block).names)
    assert columns <= names and len(names - columns) == len({"model", "split", "row"})
    for folder in ("sid", "soft-labels"):
        shutil.rmtree(sweep.folder / folder)
    report_on(sweep)
    assert (sweep.folder / "report.md").read_text() == text
