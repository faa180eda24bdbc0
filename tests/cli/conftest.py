"""Fixtures of tests of the command line."""

import pytest

from innerdistill.recipe.yaml import write_yaml


@pytest.fixture
def recipe_file(recipe, teacher_folder, tmp_path):
    """A file with a recipe that distils from the fine-tuned teacher."""
    content = recipe(tmp_path / "out")
    content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
    path = tmp_path / "recipe.yaml"
    path.write_text(write_yaml(content))
    return path
