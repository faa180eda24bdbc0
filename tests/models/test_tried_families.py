"""The table of families says what these tests find: tests/try_families.py writes it by the same functions."""

import json
import subprocess
import sys

import pytest
from try_families import (
    OTHERS,
    REAL,
    find_longest_input,
    is_padded_well,
    learn_by_sid,
    make_other,
    try_onnx,
    write_task,
)

from innerdistill import distill
from innerdistill.cli.main import main
from innerdistill.models.families import FAMILIES
from innerdistill.models.other_families import REASONS
from innerdistill.models.tried_families import LAYERS, OUTPUTS, describe_family, read_tried_families

BUILT_IN = sorted(FAMILIES.built_in)


def mark_slow(families, quick):
    return [family if family == quick else pytest.param(family, marks=pytest.mark.slow) for family in families]


def test_the_table_has_every_family_once():
    tried = read_tried_families()
    assert list(tried) == [*BUILT_IN, *OTHERS]
    assert [family for family, row in tried.items() if row.learned == LAYERS] == BUILT_IN
    assert not set(OTHERS) & set(BUILT_IN)


@pytest.mark.parametrize("family", mark_slow(BUILT_IN, "bert"))
def test_a_student_of_half_the_layers_learns_the_task_by_sid(tmp_path, family):
    """A teacher .3 above the constant answer, a start below half of that, and at the end nine tenths or more."""
    learned = learn_by_sid(family, tmp_path)
    assert learned.teacher >= learned.constant + 0.3
    assert learned.start - learned.constant < 0.5 * (learned.teacher - learned.constant)
    assert learned.kept >= 0.9
    assert read_tried_families()[family].kept_by_sid >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILT_IN)
def test_a_killed_run_ends_with_the_same_student(tmp_path, kill_after, family):
    task = write_task(family, tmp_path)
    task["teacher"]["epochs"], task["schedule"] = 1, {"name": "sid", "total_steps": 18}
    whole = distill(**{**task, "output": str(tmp_path / "whole")})
    task["recipe"] = {"checkpoint_minutes": 0}
    with kill_after(11):
        distill(**task)
    resumed = distill(**task)
    first, second = ((run / "model/model.safetensors").read_bytes() for run in (whole, resumed))
    assert first == second


@pytest.mark.parametrize("family", mark_slow(OTHERS, "albert"))
def test_what_is_said_of_other_families_is_found(family):
    row, model = read_tried_families()[family], make_other(family)
    assert (row.learned == OUTPUTS) == is_padded_well(family, model)
    assert (row.onnx, row.int8) == try_onnx(model)


@pytest.mark.parametrize("family", [*BUILT_IN, *OTHERS])
def test_the_longest_input_is_that_of_the_default_configuration(family):
    assert read_tried_families()[family].longest_input == find_longest_input(family)


@pytest.mark.parametrize(("family", "folder"), [("bert", "cola"), ("mpnet", "movies-mpnet")])
def test_real_weights_are_those_of_committed_results(request, family, folder):
    assert read_tried_families()[family].weights == REAL[family]
    sweep = (request.config.rootpath / "results" / folder / "sweep.yaml").read_text()
    assert f"demo-data/{REAL[family].lower()}" in sweep
    assert {row.family for row in read_tried_families().values() if row.weights != "random"} == set(REAL)


def test_the_command_lists_families_and_explains_one(capsys):
    assert main(["families"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["family", "learned"]
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in (*BUILT_IN, *OTHERS))
    assert main(["families", "bert"]) == 0
    assert capsys.readouterr().out.startswith("Layers can be compared and copied.")
    assert main(["families", "layoutlm"]) == 0
    assert REASONS["layoutlm"] in capsys.readouterr().out
    assert main(["families", "brt"]) == 2
    assert "no family that transformers knows" in capsys.readouterr().err


def test_a_family_in_no_table_is_explained_by_its_configuration():
    assert describe_family("phi3")[0] == (
        "Layers cannot be compared: it is a decoder, whose tokens attend to earlier ones only."
    )


def test_the_command_does_not_wait_for_torch():
    code = (
        "import json, sys; from innerdistill.cli.main import main; code = main(['families']); "
        "print(json.dumps([code, 'torch' in sys.modules, 'transformers' in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.splitlines()[-1]) == [0, False, False]
