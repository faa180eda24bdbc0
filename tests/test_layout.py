"""The layout of the project: imports go one way, files and functions stay small, every recipe parses and plans."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

from innerdistill import load_recipe
from innerdistill.run.assemble import assemble, check_names
from innerdistill.run.cost import estimate_stage_costs
from innerdistill.sweep.grid import load_sweep, plan_cells

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "innerdistill"
ROOMS = [
    "support",
    "recipe",
    "models",
    "data",
    "losses",
    "evaluation",
    "problem_types",
    "training",
    "report",
    "run",
    "first_recipe",
    "sweep",
    "cli",
    "__main__",
]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def room_of(module):
    return module.split(".")[1] if "." in module else module


def count_code_lines(text):
    """Lines of a module that hold more than a comment or a docstring."""
    code, docstrings = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.update(range(node.lineno, node.end_lineno + 1))
    return len(code - docstrings)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_leftwards(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("innerdistill."):
            assert ROOMS.index(room_of(node.module)) <= ROOMS.index(room), node.module


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert count_code_lines(text) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = [
                statement for statement in node.body if not isinstance(getattr(statement, "value", None), ast.Constant)
            ]
            lines = (node.end_lineno - body[0].lineno + 1) if body else 0
            assert lines <= 60, node.name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_plans_on_any_task(path, data_folder, base_folder):
    data = [f"data.train={data_folder}/train.csv", f"data.validation={data_folder}/validation.csv", "data.text=text"]
    recipe = load_recipe(
        path,
        overrides=[
            *data,
            "data.label=label",
            "teacher.path=null",
            f"teacher.base={base_folder}",
            "student.num_layers=2",
        ],
    )
    costs = estimate_stage_costs(assemble(recipe))
    assert costs[-1].stage.name == "classification" and all(cost.steps > 0 and cost.relative <= 1 for cost in costs)


def test_there_is_a_recipe_for_every_experiment_of_the_paper():
    names = {path.name.split("_")[0] for path in RECIPES}
    assert {"e1.0", "e1.1", "e2.0", "e2.1", "e3.0", "e3.1", "e3.2", "e3.3", "e3.4"} <= names


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*/*.yaml")), ids=lambda path: path.name)
def test_every_sweep_is_a_grid_of_recipes(path):
    cells = plan_cells(load_sweep(path))
    assert len(cells) > 1 and len({cell.folder for cell in cells}) == len(cells)
    for cell in cells:
        check_names(cell.recipe)
