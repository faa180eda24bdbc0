"""Recipes from files, mappings and overrides; earlier names of values."""

import pytest

from innerdistill import load_recipe
from innerdistill.recipe.identity import list_differences
from innerdistill.recipe.loading import read_content
from innerdistill.recipe.renames import translate_old_values


def test_an_override_replaces_one_key_and_leaves_the_given_mapping_alone():
    content = {"schedule": {"name": "pid", "threshold": 0.1}, "trainer": {"optim": {"a": 1}}}
    recipe = load_recipe(content, overrides=["schedule.name=sid", "trainer.optim.b=2", "data.labels=[no, 007]"])
    assert recipe.schedule.name == "sid" and recipe.schedule.threshold == 0.1
    assert recipe.trainer == {"optim": {"a": 1, "b": 2}} and recipe.data.labels == ("no", "007")
    assert content == {"schedule": {"name": "pid", "threshold": 0.1}, "trainer": {"optim": {"a": 1}}}


def test_an_override_of_a_section_may_be_changed_by_the_next_one():
    content = read_content({}, overrides=["schedule={name: pid}", "schedule.threshold=0.1", "temperature=5e-1"])
    assert content == {"schedule": {"name": "pid", "threshold": 0.1}, "temperature": 0.5}


@pytest.mark.parametrize(
    "override", ["layer_map.1=x", "layer_map.x=2", "student.layers.3=1", "data.label.x=1", "data.probabilities.a.b=1"]
)
def test_a_key_inside_one_of_several_forms_is_blamed_on_its_override(override):
    with pytest.raises(ValueError, match=f"^override '{override}': {override.rpartition('.')[0].removesuffix('.a')}: "):
        load_recipe({"seed": 1}, overrides=["seed=2", override])


def test_what_the_file_says_is_not_blamed_on_the_overrides():
    with pytest.raises(ValueError, match="^recipe: unknown key 'studnet'"):
        load_recipe({"studnet": {}}, overrides=["student.num_layers=2", "seed=2"])
    with pytest.raises(
        ValueError, match="^override 'seed=-1': seed: expected a number greater than or equal to 0, got"
    ):
        load_recipe({"seed": 1}, overrides=["seed=2", "seed=-1"])


def test_the_earlier_name_of_a_value_is_refused_with_its_new_one():
    with pytest.raises(ValueError, match="^recipe: teacher.targets: 'keep' is called 'cache' now.$"):
        load_recipe({"teacher": {"targets": "keep"}})
    with pytest.raises(ValueError, match="teacher.targets: expected 'auto', 'cache' or 'live', got 'kept'"):
        load_recipe({"teacher": {"targets": "kept"}})


def test_earlier_names_of_values_are_translated_in_records_of_runs_and_sweeps():
    assert translate_old_values({"teacher": {"targets": "keep", "path": "keep"}, "output": "keep"}) == {
        "teacher": {"targets": "cache", "path": "keep"},
        "output": "keep",
    }
    sweep = {
        "recipe": {"teacher": {"targets": "keep"}},
        "methods": {"keep": {"teacher.targets": "keep"}, "live": {"teacher": {"targets": "live"}}},
        "grid": {"teacher.targets": ["keep", "live"], "seed": [1, 2]},
    }
    assert translate_old_values(sweep) == {
        "recipe": {"teacher": {"targets": "cache"}},
        "methods": {"keep": {"teacher.targets": "cache"}, "live": {"teacher": {"targets": "live"}}},
        "grid": {"teacher.targets": ["cache", "live"], "seed": [1, 2]},
    }


def test_a_run_that_an_earlier_version_began_does_not_differ_by_a_name():
    recipe = load_recipe({"teacher": {"targets": "cache"}})
    assert list_differences({"teacher": {"targets": "keep"}}, recipe) == []
