"""Groups of examples: which splits need them, what is refused, and that no group is on two sides of a split."""

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from innerdistill.data.split_files import check_headers
from innerdistill.data.task_data import load_task
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.recipe.recipe import DataRecipe


def load(recipe):
    return load_task(recipe, find_problem_type(recipe).problem_type.examples)


@pytest.fixture
def write(tmp_path):
    """Write a file of some rows, five of each group; columns are changed or left out by name."""

    def write(name, rows, *, ending="csv", **changes):
        columns = {
            "text": [f"{name} {n}" for n in range(rows)],
            "label": [("no", "yes")[n % 2] for n in range(rows)],
            "review": [f"{name} {n // 5}" for n in range(rows)],
        }
        frame = pd.DataFrame({key: value for key, value in (columns | changes).items() if value is not None})
        path = tmp_path / f"{name}.{ending}"
        if ending == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        elif ending == "parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False)
        return str(path)

    return write


def read_groups(data, split):
    return data.splits[split]["group"].to_pylist()


def test_groups_are_numbers_in_the_order_of_the_examples(write):
    files = {"train": write("train", 60), "validation": write("validation", 12)}
    data = load(DataRecipe(**files, text="text", group="review"))
    assert read_groups(data, "validation") == [0] * 5 + [1] * 5 + [2] * 2
    assert data.notes["groups"] == {"validation": 3, "selection": len(set(read_groups(data, "selection")))}
    assert "group" not in data.splits["train"].column_names


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_groups_may_be_numbers_in_the_file_and_one_of_the_texts(write, ending):
    files = {"train": write("train", 60, ending=ending, review=np.arange(60) // 5)}
    files["validation"] = write("validation", 20, ending=ending, review=np.arange(20) // 4)
    assert load(DataRecipe(**files, text="text", group="review")).notes["groups"]["validation"] == 5
    pairs = load(DataRecipe(**files, text=("text", "label"), group="text"))
    assert pairs.notes["groups"]["validation"] == 20 and pairs.splits["validation"]["text2"][0].as_py() == "no"


def test_groups_of_a_saved_data_set(tmp_path):
    columns = {"text": [f"t{n}" for n in range(200)], "label": ["a", "b"] * 100, "review": [n // 4 for n in range(200)]}
    rows = Dataset.from_dict(columns)
    DatasetDict(train=rows, validation=rows).save_to_disk(tmp_path / "set")
    data = load(DataRecipe(path=f"{tmp_path}/set", text="text", group="review"))
    assert data.notes["groups"]["validation"] == 50
    DatasetDict(train=rows, validation=rows.remove_columns("review")).save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match=r"data.validation: split 'validation': no column 'review'"):
        load(DataRecipe(path=f"{tmp_path}/other", text="text", group="review"))


def test_no_group_is_on_two_sides_of_a_split_that_is_held_out(write):
    recipe = DataRecipe(train=write("train", 600), text="text", group="review")
    data = load(recipe)
    groups = {}
    for split in ("train", "validation", "selection"):
        groups[split] = {int(text.split()[1]) // 5 for text in data.splits[split]["text1"].to_pylist()}
    assert not groups["train"] & groups["validation"] and not groups["train"] & groups["selection"]
    assert 40 <= data.splits["validation"].num_rows <= 80 and "hash of the review" in data.notes["validation"]
    apart = load(recipe.model_copy(update={"group": None}))
    assert apart.splits["validation"].column_names == ["row", "text1", "label"]
    of_validation = {int(text.split()[1]) // 5 for text in apart.splits["validation"]["text1"].to_pylist()}
    assert of_validation & {int(text.split()[1]) // 5 for text in apart.splits["train"]["text1"].to_pylist()}


def test_groups_do_not_change_the_data_of_splits_of_the_users_own(write):
    """So teachers and students are the same: train needs no groups, and the fingerprint is the same."""
    files = {"train": write("train", 60, review=None), "validation": write("validation", 20)}
    recipe = DataRecipe(**files, selection=write("selection", 20), text="text")
    plain, grouped = (load(recipe.model_copy(update={"group": name})) for name in (None, "review"))
    assert plain.fingerprint() == grouped.fingerprint() and "groups" not in plain.notes
    assert plain.splits["train"].equals(grouped.splits["train"])
    assert plain.splits["validation"].equals(grouped.splits["validation"].drop_columns("group"))


@pytest.mark.parametrize("missing", ["train", "validation", "selection"])
def test_a_missing_column_is_named_with_its_file(write, missing):
    names = ["train", "validation", *(["selection"] if missing == "selection" else [])]
    files = {name: write(name, 60, **({"review": None} if name == missing else {})) for name in names}
    recipe = DataRecipe(**files, text="text", group="review")
    for check in (check_headers, load):
        with pytest.raises(ValueError, match=rf"data.{missing}: .*{missing}.csv: no column 'review'\."):
            check(recipe)


def test_test_needs_groups_only_for_its_labels(write):
    files = {"train": write("train", 60), "validation": write("validation", 20)}
    of_test = {"labelled": write("labelled", 20), "plain": write("plain", 20, label=None, review=None)}
    labels, reviews = ["no"] * 10 + [""] * 10, ["a"] * 5 + ["b"] * 5 + [""] * 10
    of_test["half"] = write("half", 20, label=labels, review=reviews)
    of_test["without"] = write("without", 20, review=None)
    made = {
        name: DataRecipe(**files, test=path, text="text", group="review", labels=("no", "yes"))
        for name, path in of_test.items()
    }
    assert load(made["labelled"]).notes["groups"]["test"] == 4
    assert "group" not in load(made["plain"]).splits["test"].column_names
    assert read_groups(load(made["half"]), "test") == [0] * 5 + [1] * 5 + [-1] * 10
    with pytest.raises(ValueError, match=r"data.test: .*without.csv: row 1 has a label, but no 'review', the column"):
        load(made["without"])


def test_an_example_without_a_group_and_a_single_group_are_refused(write):
    reviews = ["a"] * 10 + [None, *["b"] * 9]
    for ending, values in (("csv", reviews), ("parquet", reviews), ("parquet", [1.0] * 10 + [np.nan] + [2.0] * 9)):
        files = {"train": write("train", 60), "validation": write("validation", 20, ending=ending, review=values)}
        with pytest.raises(ValueError, match=r"validation\.\w+: row 11 has a label, but no 'review', the column that"):
            load(DataRecipe(**files, text="text", group="review"))
    files = {"train": write("train", 60), "validation": write("validation", 20, review=["a"] * 20)}
    with pytest.raises(ValueError, match="data.group: all 20 examples of validation have the same 'review'"):
        load(DataRecipe(**files, text="text", group="review"))
