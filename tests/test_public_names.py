"""The public names: one list, and types that a type checker sees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import innerdistill

ROOT = Path(__file__).parents[1]
RIGHT = """
from pathlib import Path

import innerdistill

recipe = innerdistill.load_recipe("recipe.yaml", overrides=["schedule.name=pid"])
run: innerdistill.Run = innerdistill.distill(recipe, student=3, overwrite=True)
folder: Path = run / "model"
report: Path = innerdistill.write_report(run.folder)
plan = innerdistill.SchedulePlan(
    pairs={1: 2}, internal={"cls_cosine": 1.0}, classification={"soft_labels": 1.0}, recipe=recipe.schedule
)
names: list[str] = [stage.name for stage in innerdistill.build_stages(plan)]
"""
WRONG = """
import innerdistill

run = innerdistill.distill(3)
innerdistill.measure_speed({}, batch="1")
run.stages
innerdistill.build_stages(["sid"])
"""
ERRORS = {4: "arg-type", 5: "call-arg", 6: "attr-defined", 7: "arg-type"}


def test_public_names_exist():
    for name in innerdistill.__all__:
        assert getattr(innerdistill, name) is not None
    with pytest.raises(AttributeError):
        innerdistill.nothing  # noqa: B018


def test_the_three_lists_of_public_names_agree():
    tree = ast.parse(Path(innerdistill.__file__).read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    modules = {}
    for node in typed.body:
        modules |= {alias.name: node.module.removeprefix("innerdistill.") for alias in node.names}
    assert modules == innerdistill._MODULES
    assert sorted(modules) == sorted(innerdistill.__all__)


@pytest.mark.slow  # mypy reads the whole package
def test_a_type_checker_sees_the_types(tmp_path):
    scripts = {"right.py": RIGHT, "wrong.py": WRONG}
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
    paths = [tmp_path / name for name in scripts]
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--no-error-summary", *paths]
    output = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT).stdout
    errors = {}
    for line in output.splitlines():
        if "error:" in line:
            place, _, message = line.partition(": error: ")
            path, _, number = place.rpartition(":")
            errors[Path(path).name, int(number)] = message.rpartition("[")[2].rstrip("]")
    assert errors == {("wrong.py", number): code for number, code in ERRORS.items()}, output
