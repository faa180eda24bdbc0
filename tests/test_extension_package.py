"""An installed package brings a loss, a schedule, a metric and a family, as `docs/how-to/extending.md` says."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import METRICS, Metric
from innerdistill.report.run_folder import PREDICTIONS, read_predictions, read_record

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tests" / "extension_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package, installed by pip without a network."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--target", folder / "target"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True)
    return folder


@pytest.fixture
def innerdistill(installed):
    """Run the command line where the package is installed."""
    environment = {**os.environ, "PYTHONPATH": f"{installed / 'target'}:{ROOT / 'src'}"}

    def run(*words):
        command = [sys.executable, "-m", "innerdistill", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


RUFF = ("ruff", "check", "--config", "lint.per-file-ignores = {}")  # the rules of the package, not those of tests


SLOW = pytest.param(("mypy",), marks=pytest.mark.slow)  # it reads the whole package


@pytest.mark.parametrize("command", [RUFF, ("pydoclint", "--config=pyproject.toml"), SLOW])
def test_it_passes_the_rules_of_the_project(command):
    tool, *options = command
    words = [Path(sys.executable).with_name(tool), *options, *sorted((PACKAGE / "src").rglob("*.py"))]
    result = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_recipe_that_uses_all_four(innerdistill, recipe, make_model, tokenizer, tmp_path, monkeypatch):
    make_model("layoutlm", layers=2).base_model.save_pretrained(tmp_path / "layoutlm")
    tokenizer.save_pretrained(tmp_path / "layoutlm")
    content = recipe(
        tmp_path / "run",
        data={"metric": "kappa"},
        teacher={"base": str(tmp_path / "layoutlm"), "epochs": 2, "folder": str(tmp_path / "teachers")},
        student={"num_layers": 1},
        losses={"hidden_l1": 0.5, "attention_kl": 0, "cls_cosine": 0},
        schedule={"name": "top_down", "total_steps": 8},
    )
    (tmp_path / "recipe.yaml").write_text(json.dumps(content))
    run = innerdistill("distill", tmp_path / "recipe.yaml")
    assert run.returncode == 0, run.stderr
    record = read_record(tmp_path / "run")
    names = ("losses.hidden_l1", "schedules.top_down", "metrics.kappa", "families.layoutlm")
    assert record.extensions == dict.fromkeys(names, "innerdistill-example 1.2")
    assert "hidden_l1/1" in record.stages[0].epochs[0].losses

    monkeypatch.setitem(METRICS, "kappa", Metric(cohen_kappa_score, "classes"))
    predictions = read_predictions(tmp_path / "run" / PREDICTIONS, "validation")
    scores, scoring = record.scores["validation"].student, record.data.scoring
    examples, logits = LabelledExamples.from_columns(predictions, scoring=scoring), predictions["student"]
    errors = [
        score_with_errors(examples, logits, scoring=replace(scoring, metric=metric))["standard_error"]
        for metric in ("kappa", "macro_f1")
    ]
    assert scores.metric == "kappa" and scores.standard_error == pytest.approx(errors[0])
    assert errors[0] != pytest.approx(errors[1], rel=0.01)


def test_a_name_that_is_misspelt_is_suggested(innerdistill, recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe(tmp_path / "run", losses={"hidden_l": 1})))
    run = innerdistill("plan", tmp_path / "recipe.yaml")
    assert run.returncode == 2 and "Did you mean 'hidden_l1'" in " ".join(run.stderr.split())


def test_without_the_package_the_name_is_unknown(recipe, tmp_path):
    from innerdistill import distill

    with pytest.raises(ValueError, match="losses: unknown loss 'hidden_l1'"):
        distill(recipe(tmp_path / "run", losses={"hidden_l1": 1}))
