"""The plan of a sweep: the sum over its cells, what they share counted once."""

import pytest

from innerdistill.cli.main import main
from innerdistill.recipe.yaml import write_yaml
from innerdistill.sweep.grid import load_sweep
from innerdistill.sweep.plan import plan_sweep


@pytest.fixture
def sweep_file(recipe, base_folder, tmp_path):
    content = recipe(tmp_path / "unused")
    del content["output"]
    content["teacher"] = {"base": str(base_folder), "epochs": 8, "folder": str(tmp_path / "teachers")}
    sweep = {"recipe": content, "seeds": [1, 2], "output": str(tmp_path / "sweep")}
    sweep["methods"] = {"kd": {"schedule": {"name": "soft_labels"}}, "plain": {"schedule": {"name": "finetune"}}}
    path = tmp_path / "sweep.yaml"
    path.write_text(write_yaml(sweep))
    return path


def test_a_sweep_is_the_sum_of_its_cells(sweep_file):
    plan = plan_sweep(load_sweep(sweep_file))
    assert [(row.method, row.runs, row.finished) for row in plan.rows] == [("kd", 2, 0), ("plain", 2, 0)]
    assert all(row.seconds > 0 for row in plan.rows)
    teachers = [folder for folder in plan.shared if "targets" not in folder]
    assert len(teachers) == 1  # not one per cell
    assert plan.seconds == pytest.approx(sum(2 * row.seconds for row in plan.rows) + sum(plan.shared.values()))


def test_one_teacher_stands_for_several(sweep_file):
    one, three = (
        plan_sweep(load_sweep(sweep_file, overrides=[f"teachers={teachers}"])) for teachers in ([1], [1, 2, 3])
    )
    assert [(row.method, row.setting, row.runs) for row in three.rows] == [("kd", {}, 6), ("plain", {}, 6)]
    assert len(three.shared) == 3 * len(one.shared) > 0


@pytest.mark.slow
def test_finished_cells_take_no_time(sweep_file, fast_start, capsys):
    assert main(["sweep", str(sweep_file), "seeds=[1]"]) == 0
    assert main(["plan", str(sweep_file)]) == 0
    shown = capsys.readouterr().out
    assert "2 of 4 runs are finished. What runs share is counted once." in shown
    assert "on this machine, one run at a time." in shown
