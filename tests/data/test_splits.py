"""Held-out splits: no class is left out that has enough different texts, and all other splits stay as they are."""

import hashlib
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from innerdistill.data.splits import choose_stratified, find_hashes
from innerdistill.data.task_data import load_task
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.recipe.recipe import DataRecipe


@pytest.fixture
def load(tmp_path):
    """Read rows of (text, label) as a task without a validation file, or with one."""

    def load(rows, validation=None, **changes):
        files = {"train": rows} if validation is None else {"train": rows, "validation": validation}
        for split, content in files.items():
            lines = (json.dumps({"text": text, "label": label}) for text, label in content)
            (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
            changes[split] = str(tmp_path / f"{split}.jsonl")
        recipe = DataRecipe(text="text", **changes)
        return load_task(recipe, find_problem_type(recipe).problem_type.examples)

    return load


def count(data, label):
    """Examples of one class in train, validation and selection."""
    return [data.splits[name]["label"].to_pylist().count(label) for name in ("train", "validation", "selection")]


FREQUENT = [(f"text {n}", "ab"[n % 2]) for n in range(200)]


@pytest.mark.parametrize(("number", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (5, [3, 1, 1])])
def test_rare_rows_go_to_train_then_validation_then_selection(load, number, expected):
    data = load(FREQUENT + [(f"rare {n}", "rare") for n in range(number)])
    assert count(data, "rare") == expected
    assert count(data, "a") == [81, 10, 9]


def test_a_rare_class_beside_a_validation_file(load):
    rare = [("rare 1", "rare"), ("rare 2", "rare")]
    assert count(load(FREQUENT + rare, [("new", "rare"), ("other", "a")]), "rare") == [1, 1, 1]
    assert count(load(FREQUENT + rare[:1], [("new", "rare"), ("other", "a")]), "rare") == [1, 1, 0]


def test_train_keeps_a_class_with_few_texts_that_repeat(load):
    """Rows of equal text stay together, so rounding by rows could take the whole class."""
    assert count(load(FREQUENT + [("same", "rare")] * 12), "rare") == [12, 0, 0]
    for more in ("u", "v", "w"):
        train, validation, _ = count(load(FREQUENT + [("same", "rare")] * 12 + [(more, "rare")]), "rare")
        assert train > 0 and validation > 0


def test_many_classes_of_few_examples_are_in_every_split(load):
    data = load([(f"text {n}", f"class {n % 40}") for n in range(160)])
    for name, examples in (("train", 2), ("validation", 1), ("selection", 1)):
        counts = Counter(data.splits[name]["label"].to_pylist())
        assert len(counts) == 40 and set(counts.values()) == {examples}


def test_splits_in_which_no_class_is_missing_stay_the_same():
    generator = np.random.default_rng(0)
    texts = [f"t{n}" for n in generator.integers(0, 700, 1000)]
    strata = np.sort(generator.integers(0, 4, 1000))
    table = pa.table({"row": list(range(1000)), "text1": texts, "label": strata.astype(str)})
    for size in (0.1, 150):
        plain, each = (choose_stratified(table, strata, size=size, salt="s", from_each=flag) for flag in (False, True))
        assert (plain == each).all()
    chosen = choose_stratified(table, strata, size=0.1, salt="s", from_each=True)
    assert hashlib.sha256(chosen.tobytes()).hexdigest()[:16] == "8cedace4c6ee8a8e"


def test_scores_have_no_classes_that_could_be_missing(load):
    data = load([(f"text {n}", n / 4) for n in range(20)], metric="pearson")
    assert data.splits["validation"].num_rows == data.splits["selection"].num_rows == 1


@pytest.mark.parametrize("known", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_single_hash_is_found_however_large(known):  # NumPy 2.0 took the distance from it for a signed number
    hashes = np.array([0, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    assert hashes[find_hashes(hashes, np.array([known], np.uint64))].tolist() == [known]
