"""What a result depends on: the name of a cached teacher, and the groups of examples."""

from innerdistill import load_recipe
from innerdistill.recipe.identity import compute_teacher_key, list_differences, select_shared_keys
from innerdistill.recipe.yaml import parse_yaml, write_yaml

DEFAULTS = {"data": {"train": "train.csv"}, "teacher": {"base": "bert"}}


def test_a_recipe_and_its_written_copy_name_the_same_teacher():
    recipe = load_recipe(DEFAULTS)
    copy = load_recipe(parse_yaml(write_yaml(recipe.model_dump(mode="json")), where="recipe.yaml"))
    assert repr(copy) == repr(recipe)  # 3 and 3.0 are equal, but they are written differently
    keys = [compute_teacher_key(r, base="b", data="d", max_length=64, processes=1) for r in (recipe, copy)]
    assert keys[0] == keys[1]


def test_runs_that_are_compared_have_the_same_groups_of_examples_but_a_teacher_has_none():
    plain, grouped = (load_recipe(DEFAULTS, overrides=words) for words in ([], ["data.group=premise"]))
    assert list_differences(plain.model_dump(mode="json"), grouped) == ["data.group (None, now 'premise')"]
    assert select_shared_keys(plain)["data.group"] != select_shared_keys(grouped)["data.group"]
    older = plain.model_dump(mode="json")
    del older["data"]["group"]  # a record from before the key
    assert list_differences(older, plain) == []
    keys = [compute_teacher_key(r, base="b", data="d", max_length=64, processes=1) for r in (plain, grouped)]
    assert keys[0] == keys[1]
