"""The cache of teachers: what has the name of a teacher is used only if it is that teacher."""

import json
import shutil

import pytest
from records import make_record

from innerdistill import load_recipe
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.report.run_folder import read_record, write_record
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import find_cached_teacher, load_or_finetune_teacher


@pytest.fixture
def job(recipe, teacher_folder, tmp_path):
    """A job with a cache of its own, which holds the teacher of all tests."""
    shutil.copytree(teacher_folder.parent, tmp_path / "teachers" / teacher_folder.parent.name)
    return assemble(load_recipe(recipe(tmp_path / "run", teacher={"folder": str(tmp_path / "teachers")})))


def test_the_teacher_of_this_key_is_used(job, teacher_folder):
    folder, is_there = find_cached_teacher(job)
    assert is_there and folder.name == teacher_folder.parent.name


def change_record(folder, key, value):
    content = json.loads((folder / "run.json").read_text())
    *parents, last = key.split(".")
    part = content
    for parent in parents:
        part = part[parent]
    assert part[last] != value
    part[last] = value
    (folder / "run.json").write_text(json.dumps(content))


CHANGES = {
    "student.layers": 3,
    "data.fingerprint": "of other data",
    "data.max_length": 12,
    "recipe.teacher.epochs": 1.0,
    "recipe.teacher.seed": 7,
    "recipe.trainer.learning_rate": 0.5,
    "recipe.pad_to_max_length": True,
}


@pytest.mark.parametrize("key", CHANGES)
def test_another_teacher_of_this_name_is_not_taken_for_it(job, key):
    folder, _ = find_cached_teacher(job)
    change_record(folder, key, CHANGES[key])
    if key == "recipe.trainer.learning_rate":
        change_record(folder, "recipe.teacher.trainer.learning_rate", CHANGES[key])
    assert find_cached_teacher(job) == (folder, False)


def test_a_teacher_without_its_model_is_fine_tuned_again(job, teacher_folder):
    folder, _ = find_cached_teacher(job)
    shutil.rmtree(folder / "model")
    change_record(folder, "student.layers", 3)
    teacher = load_or_finetune_teacher(job)
    assert find_cached_teacher(assemble(job.recipe)) == (folder, True)  # the base of `job` was trained in place
    assert read_record(folder).student.layers == 4 and teacher.config.num_hidden_layers == 4
    assert weights_fingerprint(teacher) == weights_fingerprint(type(teacher).from_pretrained(teacher_folder))


def test_a_student_in_the_place_of_a_teacher_is_refused_by_name(job):
    folder, _ = find_cached_teacher(job)
    write_record(folder, make_record())
    for use in (find_cached_teacher, load_or_finetune_teacher):
        with pytest.raises(ValueError, match=f"teacher.folder: {folder} holds the run of a student"):
            use(job)
    assert (folder / "model").is_dir()
