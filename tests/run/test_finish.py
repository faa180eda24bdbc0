"""What a finished run records beside its scores: where the weights come from, and which packages it used."""

import shutil
import sys
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from innerdistill import distill, load_recipe
from innerdistill.report.run_folder import read_record, write_record
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.finish import is_trained
from innerdistill.support.extensions import find_entry_points

CARD = "---\nbase_model: org/base\nlicense: apache-2.0\n---\n# A base model\n"
LOSS = """
from innerdistill import Loss
MINE = Loss(lambda teacher, student: (teacher - student).square().mean(-1), needs=("teacher_logits", "student_logits"))
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package with a loss."""
    metadata = tmp_path / "my_plugin-1.0.dist-info"
    metadata.mkdir()
    (tmp_path / "my_plugin.py").write_text(LOSS)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[innerdistill.losses]\nlogit_mse = my_plugin:MINE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_entry_points.cache_clear()
    yield
    find_entry_points.cache_clear()
    sys.modules.pop("my_plugin", None)


@pytest.mark.usefixtures("plugin")
def test_the_origin_of_the_weights_and_of_the_losses_is_recorded(recipe, base_folder, tmp_path):
    base = shutil.copytree(base_folder, tmp_path / "base")
    (base / "README.md").write_text(CARD)
    content = recipe(
        tmp_path / "run",
        data={"train_rows": 80},
        teacher={"base": str(base), "epochs": 1, "folder": str(tmp_path / "teachers")},
        schedule={"name": "soft_labels", "total_steps": 4},
        losses={"logit_mse": 1.0},
    )
    folder = distill(content)
    record = read_record(folder)
    assert record.extensions == {"losses.logit_mse": "my-plugin 1.0"}
    # The card of the base model is read for the teacher's, and that one for the student's.
    assert (record.student.base_model, record.student.license) == ("org/base", "apache-2.0")
    card = ModelCard.load(folder / "model" / "README.md").data
    assert (card.base_model, card.license) == ("org/base", "apache-2.0")

    job = assemble(load_recipe(content))
    job = replace(job, teacher=load_or_finetune_teacher(job))
    assert is_trained(job, folder, teacher=True)
    write_record(folder, record.model_copy(update={"teacher": None}))
    with pytest.raises(ValueError, match="holds a run of another teacher"):
        is_trained(job, folder, teacher=True)
