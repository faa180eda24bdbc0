"""Before torch is imported: the first line, and what is refused."""

import json
import subprocess
import sys

import pytest

from innerdistill import LOSSES, load_recipe
from innerdistill.losses.names import BUILT_IN
from innerdistill.recipe.yaml import write_yaml
from innerdistill.run.preview import describe_run

# Runs a command in a process of its own, and says which slow libraries are there when the first line is printed.
SCRIPT = """
import sys
write, lines = sys.stderr.write, []
def note(text):
    if not lines and text.strip():
        lines.append([name for name in ("torch", "transformers", "datasets", "sklearn", "scipy") if name in sys.modules])
        write(f"IMPORTED {lines[0]}\\n")
    return write(text)
sys.stderr.write = note
from innerdistill.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_command(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, check=False, text=True
    )
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def content(recipe, base_folder, tmp_path):
    made = recipe(tmp_path / "out")
    made["student"] = {"num_layers": 2}
    return made


@pytest.fixture
def recipe_file(content, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(write_yaml(content))
    return path


# The last refusal stops the command behind the first line, so that nothing is trained.
@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("distill", "Fine-tune {base} (4 layers), then distil it into a student with 2 layers. Schedule: sid. "),
        ("finetune", "Fine-tune {base} (4 layers) for 8 epochs. "),
    ],
)
def test_the_first_line_comes_before_torch(recipe_file, base_folder, tmp_path, verb, line):
    code, lines = run_command(verb, recipe_file, "trainer.optim=nothing")
    assert code == 2
    assert lines[0] == "IMPORTED []"
    assert lines[1] == f"{line.format(base=base_folder)}Output: {tmp_path / 'out'}."


BAD = [
    ("teacher.base={tmp}", "expected a model folder with a config.json"),
    ("data.train={tmp}/missing.csv", "missing.csv: no such file"),
    ("data.selection={tmp}/missing.csv", "data.selection: {tmp}/missing.csv: no such file"),
    ("data.label=lable", "no column 'lable'. Did you mean 'label'?"),
    ("data.task=sst", "unknown task 'sst'. Did you mean 'sst2'?"),
    ("losses.attention_lk=1", "unknown loss 'attention_lk'. Did you mean 'attention_kl'?"),
    ("schedule.name=sidd", "unknown schedule 'sidd'. Did you mean 'sid'?"),
    ("student.num_layers=9", "9 layers were asked for, but the source has only 4"),
    ("seed=2", "holds an unfinished run that differs in seed"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[word for word, _ in BAD])
def test_what_can_be_refused_without_torch_is(recipe_file, content, tmp_path, override, message):
    (tmp_path / "out" / "checkpoints" / "01").mkdir(parents=True)
    (tmp_path / "out" / "recipe.yaml").write_text(write_yaml(load_recipe(content).model_dump(mode="json")))
    code, lines = run_command("distill", recipe_file, override.format(tmp=tmp_path))
    assert code == 2
    assert lines[0] == "IMPORTED []" and len(lines) == 2
    assert lines[1].startswith("innerdistill: ") and message.format(tmp=tmp_path) in lines[1]


def test_an_unknown_metric_is_refused_without_torch(recipe_file):
    code, lines = run_command("distill", recipe_file, "data.metric=acuracy")
    assert code == 2
    assert "torch" not in lines[0] and "Did you mean 'accuracy'" in lines[1]


def test_layers_are_said_where_they_are_known(content, tmp_path):
    assert "into a student with 2 layers" in describe_run(load_recipe(content))
    hub = {**content, "teacher": {"path": "someone/model"}, "student": {}}
    assert describe_run(load_recipe(hub)).startswith("Distil someone/model into a student with half its layers.")
    (tmp_path / "config.json").write_text(json.dumps({"n_layers": 6}))
    small = {**content, "teacher": {"path": str(tmp_path)}, "student": {}}
    assert "(6 layers) into a student with 3 layers" in describe_run(load_recipe(small))
    (tmp_path / "config.json").write_text("[")
    assert describe_run(load_recipe(small)).startswith(f"Distil {tmp_path} into")


def test_the_names_of_the_losses_are_those_of_the_registry():
    assert set(BUILT_IN) == set(LOSSES.built_in)
