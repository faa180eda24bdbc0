"""Recipe file or overrides: which word of a command is which, and commands that need no file."""

import json

import pytest

from innerdistill.cli.main import main
from innerdistill.cli.parser import parse_arguments, write_example
from innerdistill.recipe.recipe import Recipe

VERBS = ("plan", "finetune", "distill", "evaluate")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("words", "recipe", "overrides"),
    [
        (["r.yaml"], "r.yaml", []),
        (["r.yaml", "seed=2"], "r.yaml", ["seed=2"]),
        (["seed=2"], {}, ["seed=2"]),
        (["seed=2", "data.text=[a, b]"], {}, ["seed=2", "data.text=[a, b]"]),
        (["runs/lr=1e-4/r.yaml"], "runs/lr=1e-4/r.yaml", []),  # no key has a slash in it
        (["data.labels=[" + "a, " * 200 + "b]"], {}, ["data.labels=[" + "a, " * 200 + "b]"]),  # longer than any name
        ([], {}, []),
    ],
)
def test_the_first_word_is_a_file_or_an_override(verb, words, recipe, overrides):
    options = parse_arguments([verb, *words])
    assert (options.recipe, options.overrides) == (recipe, overrides)


def test_a_file_whose_name_is_like_an_override_wins(folder):
    assert parse_arguments(["distill", "a=b.yaml"]).recipe == {}
    (folder / "a=b.yaml").write_text("seed: 3")
    options = parse_arguments(["distill", "a=b.yaml", "seed=2"])
    assert (options.recipe, options.overrides) == ("a=b.yaml", ["seed=2"])


def test_an_option_may_stand_before_everything():
    for words, recipe, overrides in ((["r.yaml", "seed=2"], "r.yaml", ["seed=2"]), (["seed=2"], {}, ["seed=2"])):
        options = parse_arguments(["evaluate", "--model", "m", *words])
        assert (options.model, options.recipe, options.overrides) == ("m", recipe, overrides)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_alone_says_what_is_missing_with_the_shortest_example(verb, capsys):
    assert main([verb]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == f"innerdistill: {verb} needs a recipe file, or a model, a training file and its text column:"
    assert second == f"  {write_example(verb)}" and len(second) <= 80
    assert third == "`innerdistill init` writes a recipe file for your data."


def test_a_file_behind_an_override_is_told_its_place(capsys):
    assert main(["plan", "seed=2", "recipe.yaml"]) == 2
    assert "A recipe file comes before all overrides." in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_a_command_without_a_file(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert f"\n  {write_example(verb)}\n" in capsys.readouterr().out


def test_a_run_without_a_file(data_folder, teacher_folder, folder, capsys):
    words = [f"teacher.path={teacher_folder}", f"data.train={data_folder}/train.csv", "data.text=text"]
    assert main(["plan", *words]) == 0
    assert "minutes on this machine" in capsys.readouterr().out
    short = ["schedule={name: soft_labels, total_steps: 4}", "trainer={use_cpu: true}", "output=runs/x"]
    assert main(["distill", *words, *short]) == 0
    record = json.loads((folder / "runs" / "x" / "run.json").read_text())
    assert record["recipe"]["data"]["text"] == ["text"]
    assert main(["distill", *words, *short]) == 2
    assert "holds a finished run" in capsys.readouterr().err
    assert main(["evaluate", *words, *short]) == 0
    assert Recipe().output == "runs/run" and not (folder / "runs" / "run").exists()


def test_what_is_missing_besides_is_named(teacher_folder, capsys):
    for words, key in (
        ([f"teacher.path={teacher_folder}"], "data.text: name the text column"),
        ([f"teacher.path={teacher_folder}", "data.text=t"], "data.train: name the training file"),
        (["data.text=t", "data.train=a.csv"], "teacher: give either teacher.path"),
        (["data.txt=t"], "override 'data.txt=t': unknown key 'data.txt'. Did you mean 'text'?"),
    ):
        assert main(["distill", *words]) == 2
        assert key in " ".join(capsys.readouterr().err.split())
