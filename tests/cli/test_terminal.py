"""What is written into a pipe, and how a stopped command leaves the terminal."""

import os
import subprocess
import sys

import pytest

from innerdistill.recipe.yaml import write_yaml


@pytest.fixture
def recipe_file(recipe, teacher_folder, tmp_path):
    content = recipe(tmp_path / "out")
    content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
    path = tmp_path / "recipe.yaml"
    path.write_text(write_yaml(content))
    return path


def start(*arguments, **options):
    command = [sys.executable, "-m", "innerdistill", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"COLUMNS": "80"}, **options)


@pytest.mark.slow
def test_a_pipe_is_neither_wrapped_nor_padded(recipe_file, tmp_path):
    words = ["data.note=a", f"output={tmp_path / ('long' * 30)}", "schedule.name=soft_labels"]
    command = start("distill", recipe_file, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shown, _ = command.communicate()
    assert command.returncode == 0
    lines = shown.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[0].startswith("Distil ") and lines[0].endswith(f"{'long' * 30}.") and len(lines[0]) > 200
    sentences = [line for line in lines if line.endswith(".")]
    assert all(line[0].isupper() for line in sentences)  # none is the rest of another
    header = next(number for number, line in enumerate(lines) if line.startswith("validation, "))
    starts = {line.index("0.") for line in lines[header + 1 : header + 3]}
    assert len(starts) == 1  # the columns are aligned


def test_a_finished_run_has_nothing_to_resume(recipe_file, tmp_path, monkeypatch, capsys):
    from innerdistill.cli.main import main

    def stop(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("innerdistill.cli.main.print_summary", stop)
    assert main(["distill", str(recipe_file), "schedule={name: soft_labels, total_steps: 2}"]) == 130
    error = capsys.readouterr().err
    assert error.endswith("innerdistill: stopped.\nThe run is finished: nothing is left to resume.\n")
