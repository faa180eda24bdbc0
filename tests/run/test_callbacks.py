"""Callbacks of a whole run: those of the guide, and the teacher, which has none."""

import re
from pathlib import Path

import pytest
from transformers import TrainerCallback

from innerdistill import distill, finetune
from innerdistill.recipe.yaml import write_yaml

GUIDE = Path(__file__).parents[2] / "docs/how-to/callbacks_and_trackers.md"


class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise RuntimeError("no more")


def test_the_examples_of_the_guide_run(recipe, teacher_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = recipe("runs/mine", schedule={"name": "sid", "classification_epochs": 4}, data={"train_rows": 64})
    content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"], "allow_weak": True}
    Path("recipe.yaml").write_text(write_yaml(content))
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE):
        exec(block, names)
    assert "{'eval_accuracy': " in capsys.readouterr().out
    *internal, last = names["run"].record.stages
    assert [stage.ended for stage in internal] == ["epochs done"] * 2
    assert last.ended == "epochs done" or last.ended.startswith("stopped by EarlyStoppingCallback after step ")


def test_a_teacher_is_fine_tuned_without_callbacks(recipe, tmp_path):
    """Its folder in the cache is found by runs that have others."""
    content = recipe(tmp_path / "run", teacher={"folder": str(tmp_path / "teachers"), "epochs": 0.5})
    with pytest.raises(ValueError, match="callbacks: not supported by finetune"):
        finetune(content, callbacks=[Fails()])
    with pytest.raises(ValueError, match="callback Fails: its on_step_end failed in stage 'layer 1"):
        distill(content, callbacks=[Fails()])
    assert len(list(tmp_path.glob("teachers/custom-*/run.json"))) == 1
