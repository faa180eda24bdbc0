"""Extras: pyproject.toml has the same ones, everything works without them, and what needs one names it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from innerdistill import distill, export, finetune
from innerdistill.cli.main import main
from innerdistill.recipe.yaml import write_yaml
from innerdistill.support.extras import EXTRAS, list_missing_packages, require_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = [package for packages in EXTRAS.values() for package in packages]
IMPORT_EVERYTHING = f"""
import importlib, pkgutil, sys
sys.modules |= dict.fromkeys({PACKAGES})  # importing one of them fails, as if it were not installed
import innerdistill
assert "torch" not in sys.modules
for module in pkgutil.walk_packages(innerdistill.__path__, "innerdistill."):
    if not module.name.endswith(("__main__", "fused_kl")):  # the kernels need triton
        importlib.import_module(module.name)
for name in innerdistill.__all__:
    getattr(innerdistill, name)
"""
NO_ONNX = "needs the packages onnx, onnxscript and onnxruntime: pip install 'innerdistill[onnx]'."


def read_packages(extra):
    """Names of the packages of an extra of pyproject.toml."""
    return tuple(re.match(r"[\w.-]+", line).group() for line in PROJECT["optional-dependencies"][extra])


@pytest.fixture
def uninstall(monkeypatch):
    """A function that lets packages of this process seem not installed."""

    def uninstall(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return uninstall


def test_pyproject_has_the_same_extras():
    others = {"all", "dev", "docs", "bench"}
    assert set(PROJECT["optional-dependencies"]) == set(EXTRAS) | others
    for extra, packages in EXTRAS.items():
        assert read_packages(extra) == packages
    (line,) = PROJECT["optional-dependencies"]["all"]
    assert line == f"innerdistill[{','.join(EXTRAS)}]"


def test_what_a_run_needs_is_no_extra():
    required = {re.match(r"[\w.-]+", line).group() for line in PROJECT["dependencies"]}
    assert required and not required.intersection(PACKAGES)


def test_only_missing_packages_are_named(uninstall):
    require_extra("onnx", key="onnx: true")
    uninstall("onnxscript")
    with pytest.raises(ValueError) as error:
        require_extra("onnx", key="onnx: true")
    assert str(error.value) == "`onnx: true` needs the package onnxscript: pip install 'innerdistill[onnx]'."


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch, uninstall):
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(EXTRAS, "folder", ("trackio", "innerdistill"))
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    assert list_missing_packages("folder") == ["trackio"]


def test_everything_is_imported_without_extras():
    subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], check=True)


@pytest.fixture
def onnx_recipe(recipe, tmp_path, uninstall):
    uninstall(*EXTRAS["onnx"])
    return recipe(tmp_path / "run", onnx=True)


@pytest.mark.parametrize("verb", ["distill", "finetune", "sweep"])
def test_onnx_is_refused_before_anything_is_trained(onnx_recipe, tmp_path, capsys, verb):
    output = tmp_path / "run"
    if verb == "sweep":
        onnx_recipe.pop("output")
        sid = {"SID": {"schedule.name": "sid"}}
        onnx_recipe = {"recipe": onnx_recipe, "methods": sid, "seeds": [1, 2], "output": str(output)}
    (tmp_path / "recipe.yaml").write_text(write_yaml(onnx_recipe))
    assert main([verb, str(tmp_path / "recipe.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("innerdistill: ") and error.endswith(f"`onnx: true` {NO_ONNX}\n") and error.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize("function", [distill, finetune])
def test_onnx_is_refused_in_python(onnx_recipe, tmp_path, function):
    with pytest.raises(ValueError, match=re.escape(f"`onnx: true` {NO_ONNX}")):
        function(onnx_recipe)
    assert not (tmp_path / "run").exists()


def test_export_is_refused(teacher_folder, uninstall, capsys):
    uninstall(*EXTRAS["onnx"])
    with pytest.raises(ValueError, match=re.escape(f"`export` {NO_ONNX}")):
        export(teacher_folder)
    assert main(["export", str(teacher_folder)]) == 2
    assert capsys.readouterr().err == f"innerdistill: `export` {NO_ONNX}\n"
