"""What a result depends on: the name of a cached teacher."""

from innerdistill import load_recipe
from innerdistill.recipe.identity import compute_teacher_key
from innerdistill.recipe.yaml import parse_yaml, write_yaml

DEFAULTS = {"data": {"train": "train.csv"}, "teacher": {"base": "bert"}}


def test_a_recipe_and_its_written_copy_name_the_same_teacher():
    recipe = load_recipe(DEFAULTS)
    copy = load_recipe(parse_yaml(write_yaml(recipe.model_dump(mode="json")), where="recipe.yaml"))
    assert repr(copy) == repr(recipe)  # 3 and 3.0 are equal, but they are written differently
    keys = [compute_teacher_key(r, base="b", data="d", max_length=64, processes=1) for r in (recipe, copy)]
    assert keys[0] == keys[1]
