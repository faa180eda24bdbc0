"""What a command that was stopped says about what it has stored."""

import argparse

import pytest

from innerdistill.cli.errors import report_error
from innerdistill.cli.parser import parse_arguments
from innerdistill.recipe.yaml import write_yaml


@pytest.fixture
def stop(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stop(content, verb="distill"):
        (tmp_path / "recipe.yaml").write_text(content if isinstance(content, str) else write_yaml(content))
        options = argparse.Namespace(
            verb=verb, recipe="recipe.yaml", sweep="recipe.yaml", overrides=[], traceback=False
        )
        assert report_error(KeyboardInterrupt(), options, [verb, "recipe.yaml"]) == 130
        return capsys.readouterr().err.removeprefix("innerdistill: stopped.\n")

    return stop


COMMAND = "Run the same command again to {}:\n  innerdistill distill recipe.yaml\n"


def test_before_anything_exists_nothing_is_called_stored(stop, tmp_path):
    content = {"teacher": {"base": "base", "folder": "cache"}, "output": "out"}
    assert stop(content) == "Nothing is stored yet. " + COMMAND.format("start")
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)  # empty
    for name in (".lock", "recipe.yaml"):
        (tmp_path / "out" / name).touch()
    assert stop(content) == "Nothing is stored yet. " + COMMAND.format("start")
    assert "Nothing is stored yet." in stop({"recipe": content, "output": "sweep"}, "sweep")


def test_a_cached_teacher_is_said_to_be_used_again(stop, tmp_path):
    content = {"teacher": {"base": "base", "folder": "cache"}, "output": "out"}
    (tmp_path / "cache" / "custom-0123456789ab").mkdir(parents=True)
    (tmp_path / "cache" / "custom-0123456789ab" / "recipe.yaml").touch()
    sentence = "Nothing is stored in out yet, but what is cached in cache is used again. "
    assert stop(content) == sentence + COMMAND.format("resume")
    assert "Nothing is stored in sweep yet, but" in stop({"recipe": content, "output": "sweep"}, "sweep")


def test_finished_work_is_stored_once_there_is_some(stop, tmp_path):
    (tmp_path / "out" / "checkpoints" / "01").mkdir(parents=True)
    content = {"teacher": {"base": "base"}, "output": "out"}
    assert stop(content) == "Finished work is stored. " + COMMAND.format("resume")
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "run.json").touch()
    assert stop({"teacher": {"base": "base"}}).startswith("Finished work is stored.")


def test_what_every_sweep_writes_is_no_finished_work(stop, tmp_path):
    content = {"recipe": {"teacher": {"base": "base", "folder": "cache"}}, "output": "sweep"}
    (tmp_path / "sweep" / "SID").mkdir(parents=True)
    for name in ("sweep.yaml", "data_files.json", "SID/seed-1.yaml", "SID/seed-1.log"):
        (tmp_path / "sweep" / name).touch()
    assert stop(content, "sweep").startswith("Nothing is stored yet.")
    (tmp_path / "sweep" / "SID" / "seed-1" / "checkpoints" / "01" / "checkpoint-4").mkdir(parents=True)
    assert stop(content, "sweep").startswith("Finished work is stored.")


def test_of_a_recipe_that_cannot_be_read_nothing_is_claimed(stop):
    assert stop("output: [") == COMMAND.format("resume")
    assert stop({"output": "out"}, "plan") == ""  # a verb that stores nothing


def test_a_run_without_a_recipe_file_resumes_too(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["distill", "teacher.path=t", "output=out"]
    options = parse_arguments(words)
    assert report_error(KeyboardInterrupt(), options, words) == 130
    assert "Nothing is stored yet. Run the same command again to start:" in capsys.readouterr().err
    (tmp_path / "out" / "checkpoints" / "01").mkdir(parents=True)
    assert report_error(KeyboardInterrupt(), options, words) == 130
    said = capsys.readouterr().err
    assert said.endswith("again to resume:\n  innerdistill distill teacher.path=t output=out\n")
