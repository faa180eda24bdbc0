"""Cells and sweeps that are made by hand, from runs that were made once."""

import pytest

from innerdistill.recipe.recipe import Recipe
from innerdistill.sweep.gather import gather
from innerdistill.sweep.grid import Cell, Sweep
from innerdistill.sweep.report import write_sweep_report


@pytest.fixture(scope="session")
def make_cell():
    """A cell by hand: method, setting, seed and folder of a run; its note and task if it has any."""

    def make(method, setting, seed, folder, *, task="", note=None):
        return Cell(task, method, setting, seed, Recipe.model_validate({"data": {"note": note}}), folder)

    return make


@pytest.fixture(scope="session")
def sweep_of():
    """The sweep of some cells, all of them declared."""

    def make(cells, *, output="unused", **changes):
        content = {"recipe": {}, "methods": {}, "tasks": {}, "grid": {}, "seeds": [], "output": str(output)}
        for cell in cells:
            content["methods"][cell.method] = content["tasks"][cell.task] = {}
            content["seeds"] += [cell.seed] if cell.seed not in content["seeds"] else []
            for key, value in cell.setting.items():
                values = content["grid"].setdefault(key, [])
                values += [value] if value not in values else []
        return Sweep(**{**content, "tasks": content["tasks"] or {"": {}}, **changes})

    return make


@pytest.fixture(scope="session")
def gather_cells(sweep_of):
    """Groups of some cells; changes of their sweep by name."""
    return lambda cells, **changes: gather(sweep_of(cells, **changes), cells)


@pytest.fixture(scope="session")
def write_report(sweep_of):
    """Write the report over some cells into a folder; changes of their sweep by name."""

    def write(folder, cells, *, failed=None, **changes):
        return write_sweep_report(sweep_of(cells, output=folder, **changes), cells, failed=failed)

    return write
