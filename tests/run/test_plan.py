"""The plan of a run: every part that costs time is counted."""

import pytest

from innerdistill import load_recipe
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.plan import plan_run


@pytest.fixture
def plan(recipe, tmp_path):
    def make(**sections):
        content = recipe(tmp_path / "out", **sections)
        content["teacher"] = {"folder": str(tmp_path / "teachers"), **sections.get("teacher", content["teacher"])}
        return {part.name: part for part in plan_run(assemble(load_recipe(content)))}

    return make


ALWAYS = ["loading", "layer 1", "layer 1+2", "classification", "selection, per epoch", "scoring both models", "report"]


def test_each_switch_of_a_recipe_adds_its_own_part(plan, teacher_folder):
    teacher = {"path": str(teacher_folder), "targets": "live"}
    assert list(plan(teacher=teacher)) == ALWAYS
    added = {
        "teacher outputs": {"teacher": teacher | {"targets": "cache"}},
        "ONNX files": {"teacher": teacher, "onnx": True},
        "baseline": {"teacher": teacher, "baseline": True},
    }
    for name, sections in added.items():
        parts = plan(**sections)
        assert set(parts) - {*ALWAYS, "scoring the baseline"} == {name}
        assert parts[name].seconds > 0 and parts[name].work


def test_fine_tuning_is_counted_until_the_teacher_is_cached(plan, recipe, base_folder, tmp_path):
    teacher = {"base": str(base_folder), "epochs": 1, "folder": str(tmp_path / "teachers"), "targets": "live"}
    part = plan(teacher=teacher)["fine-tuning the teacher"]
    assert part.work == "29 steps" and part.seconds > 0
    content = recipe(tmp_path / "out") | {"teacher": teacher}
    load_or_finetune_teacher(assemble(load_recipe(content)))
    part = plan(teacher=teacher)["fine-tuning the teacher"]
    assert (part.work, part.seconds) == ("cached", 0.0)


def test_work_is_that_of_the_recipe(plan, recipe, teacher_folder, tmp_path):
    teacher = {"path": str(teacher_folder), "targets": "live"}
    parts = plan(teacher=teacher, baseline=True, schedule={"epochs_per_layer": 2, "classification_epochs": 3})
    assert [parts[name].work for name in ALWAYS[1:4]] == ["58 steps", "58 steps", "87 steps"]
    assert parts["baseline"].work == "203 steps"  # as many as the student
    assert parts["selection, per epoch"].work == "7 × 50 examples"
    assert parts["scoring both models"].work == "190 examples"  # selection and validation
    own = plan(teacher=teacher, data={"selection": recipe("")["data"]["validation"]})
    assert own["selection, per epoch"].work == "4 × 140 examples" and own["loading"].work == "780 examples"
    large = {"selection": recipe("")["data"]["train"]}  # more than 200, and than an eighth of train
    assert plan(teacher=teacher, data=large)["selection, per epoch"].work == "4 × 200 examples"
    assert plan(teacher=teacher, data=large, checkpoint="best")["selection, per epoch"].work == "4 × 500 examples"
    job = assemble(load_recipe(recipe(tmp_path / "out")))
    assert set(job.count_train_labels()) == {"neg", "pos"}
    assert sum(job.count_train_labels().values()) == len(job.splits["train"])
