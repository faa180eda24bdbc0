"""constraints-oldest.txt has exactly the lowest versions that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TESTED = ("onnx", "sentence-transformers", "tensorboard", "dev")  # extras of `make test-oldest`
LEFT_OUT = {"innerdistill", "triton"}


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_oldest_versions_are_the_floors():
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {normalise(name): Version(version) for name, version in pins.items()}
    requirements = [*PROJECT["dependencies"]]
    for extra in TESTED:
        requirements += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, requirements):
        if requirement.name not in LEFT_OUT:
            (floor,) = requirement.specifier
            assert floor.operator == ">="
            assert pins[normalise(requirement.name)] == Version(floor.version), requirement.name
