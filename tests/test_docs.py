"""The documents: what they name exists, their commands and examples are right, the generated reference is complete."""

import ast
import re
import shlex
from pathlib import Path

import generated
import pytest

import innerdistill
from innerdistill import Recipe, load_recipe
from innerdistill.cli.parser import parse_arguments
from innerdistill.evaluation.metrics import METRICS
from innerdistill.models.other_families import REASONS
from innerdistill.recipe.keys import keys
from innerdistill.recipe.yaml import parse_yaml
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.grid import load_sweep, plan_cells

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "innerdistill"
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
TOP_FOLDERS = "recipes|docs|examples|benchmarks|tests|src|tools"
ROOMS = "|".join(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)


@every_document
def test_documents_name_files_that_exist(path):
    text = path.read_text()
    for name in re.findall(rf"`((?:{TOP_FOLDERS})/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(rf"`((?:{ROOMS})/(?:[\w/]+\.py)?)`", text):
        assert (SOURCE / name).exists(), name
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (path.parent / link).exists(), link


@every_document
def test_commands_in_documents_are_right(path):
    """Every `innerdistill VERB ...` line of a code block parses, and its recipe accepts its overrides."""
    text = "\n".join(blocks(path, r"\w*")).replace("\\\n", " ")
    for line in re.findall(r"^innerdistill (\w.*)$", text, flags=re.MULTILINE):
        options = parse_arguments(shlex.split(line, comments=True))
        if getattr(options, "recipe", None) and (ROOT / options.recipe).is_file():
            load_recipe(ROOT / options.recipe, overrides=options.overrides)


@every_document
def test_yaml_in_documents_is_a_recipe_or_a_sweep(path, tmp_path):
    for block in blocks(path, "yaml"):
        content = parse_yaml(block, where=path.name)
        if "methods" in content:
            (tmp_path / "sweep.yaml").write_text(block)
            assert plan_cells(load_sweep(tmp_path / "sweep.yaml"))
        else:
            load_recipe(content)


@every_document
def test_python_in_documents_uses_public_names(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "innerdistill":
                assert node.attr in innerdistill.__all__, node.attr


def test_extensions_in_documents_run(monkeypatch):
    """The examples for dict entries are executed where they belong, and pass through the dict."""
    from innerdistill.data import tasks
    from innerdistill.evaluation import metrics
    from innerdistill.losses import registry as losses
    from innerdistill.models import families
    from innerdistill.training import schedules

    rooms = {"LOSSES": losses, "SCHEDULES": schedules, "FAMILIES": families, "TASKS": tasks, "METRICS": metrics}
    path = DOCS / "how-to" / "extending.md"
    tried = set()
    for block in blocks(path, "python"):
        if match := re.search(r"^([A-Z]+)\[\"(\w+)\"\]", block, flags=re.MULTILINE):
            entries, name = match.groups()
            module = rooms[entries]
            kind = type(next(iter(getattr(module, entries).values())))
            monkeypatch.setattr(module, entries, dict(getattr(module, entries)))
            exec(compile(block, str(path), "exec"), dict(vars(module)))
            assert isinstance(getattr(module, entries)[name], kind)
            tried.add(entries)
    assert tried == set(rooms)
    plan = innerdistill.SchedulePlan(
        pairs={1: 2, 2: 4},
        internal={"attention_kl": 1.0},
        classification={"soft_labels": 1.0},
        recipe=innerdistill.ScheduleRecipe(),
    )
    stages = schedules.SCHEDULES["top_down"].function(plan)
    assert [dict(stage.pairs) for stage in stages] == [{2: 4}, {1: 2}, {}]


def test_every_page_is_in_the_table_of_contents():
    contents = (DOCS / "index.md").read_text()
    for path in sorted(DOCS.glob("*/*.md")):
        assert re.search(rf"^{path.relative_to(DOCS).with_suffix('')}$", contents, flags=re.MULTILINE), path


def test_the_reference_is_complete():
    """It has every key, verb, public name, loss, schedule, task, family and metric."""
    for section, text in ((Recipe, generated.write_recipe_keys()), (Sweep, generated.write_sweep_keys())):
        for key in keys(section):
            assert f"| `{key.name}` |" in text, key.name
    assert "## distill" in generated.write_command_line()
    assert set(re.findall(r":: innerdistill\.(\w+)", generated.write_python_api())) == set(innerdistill.__all__)
    metrics = (DOCS / "reference" / "tasks_and_models.md").read_text()
    for names, text in (
        (innerdistill.LOSSES, generated.write_losses()),
        (innerdistill.SCHEDULES, generated.write_schedules()),
        (innerdistill.TASKS, generated.write_tasks()),
        (innerdistill.FAMILIES, generated.write_families()),
        (REASONS, generated.write_other_families()),
        (METRICS, metrics),
    ):
        for name in names:
            assert f"`{name}`" in text, name


def test_the_table_of_problem_types_has_all_metrics_of_each():
    """Those whose name another shape has too: macro F1 is one of classes and of label sets."""
    (line,) = re.findall(r"\| `multi_label_classification` .*", generated.write_problem_types())
    assert "`macro_f1`" in line and "`accuracy`" not in line


@pytest.mark.parametrize("page", sorted(DOCS.glob("reference/*.md")), ids=lambda page: page.name)
def test_pages_call_generators_that_exist(page):
    for name in re.findall(r"^```\{generated\} (\w+)$", page.read_text(), flags=re.MULTILINE):
        assert getattr(generated, name)().strip()
