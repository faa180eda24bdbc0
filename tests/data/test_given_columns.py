"""Outputs of another model in columns of the data: all formats, the order of the labels, and what is refused."""

import csv
import json

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict
from scipy.special import expit, softmax

from innerdistill.data.batches import drop_given, iterate_by_length
from innerdistill.data.given_rows import GIVEN, SMALLEST
from innerdistill.data.in_memory import wrap_rows
from innerdistill.data.split_files import check_headers
from innerdistill.data.task_data import load_task
from innerdistill.data.tokens import tokenise
from innerdistill.problem_types.problem_types import PROBLEM_TYPES
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import DataRecipe

NUMBER = 60
COLUMNS = {"pos": "p", "neg": "n"}


def make_rows(number=NUMBER, *, seed=0):
    generator = np.random.default_rng(seed)
    shares = generator.random(number).astype(np.float32).astype(float)
    return [
        {"text": f"text {place} of {seed}", "n": 1 - share, "p": share, "label": "pos" if share > 0.5 else "neg"}
        for place, share in enumerate(shares.tolist())
    ]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_json_lines(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def write_parquet(path, rows):
    pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def load(recipe, *, problem_type="single_label_classification", objects=None):
    return load_task(DataRecipe(**recipe), PROBLEM_TYPES[problem_type].examples, objects=objects)


def read_logits(table):
    return np.array(table[GIVEN].to_pylist(), dtype=np.float32)


def test_all_formats_and_objects_give_the_same_logits(tmp_path):
    rows = make_rows()
    without = [{name: value for name, value in row.items() if name != "label"} for row in rows]
    files = {
        "csv": write_csv(tmp_path / "a.csv", without),
        "json": write_json_lines(tmp_path / "a.jsonl", without),
        "parquet": write_parquet(tmp_path / "a.parquet", without),
    }
    recipe = {"text": "text", "probabilities": COLUMNS}
    loaded = [load({"train": file, **recipe}) for file in files.values()]
    in_memory = {
        "rows": without,
        "frame": pandas.DataFrame(without),
        "dataset": Dataset.from_list(without),
        "columns": {name: [row[name] for row in without] for name in without[0]},
        "iterator": wrap_rows(iter(without)),
    }
    for given in in_memory.values():
        loaded.append(load({"train": "<in memory>", **recipe}, objects={"train": given}))
    DatasetDict({"train": Dataset.from_list(without)}).save_to_disk(tmp_path / "saved")
    loaded.append(load({"path": str(tmp_path / "saved"), **recipe}))
    assert len({data.fingerprint() for data in loaded}) == 1
    data = loaded[0]
    assert data.names == ("neg", "pos")  # the order of names everywhere, not that of the mapping
    assert data.against_teacher == ("selection", "validation")
    assert {table.schema.field(GIVEN).type for table in data.splits.values()} == {pa.list_(pa.float32(), 2)}
    by_text = {row["text"]: row for row in rows}
    for table in data.splits.values():
        expected = [[by_text[text]["n"], by_text[text]["p"]] for text in table["text1"].to_pylist()]
        np.testing.assert_allclose(softmax(read_logits(table), axis=1), expected, rtol=1e-5)
    assert sum(table.num_rows for table in data.splits.values()) == NUMBER


def test_lists_are_in_the_order_of_the_labels(tmp_path):
    rows = [{"text": row["text"], "scores": [row["p"], row["n"]]} for row in make_rows()]
    recipe = {"text": "text", "labels": ["pos", "neg"], "probabilities": "scores"}
    loaded = [
        load({"train": write_json_lines(tmp_path / "a.jsonl", rows), **recipe}),
        load({"train": write_parquet(tmp_path / "a.parquet", rows), **recipe}),
        load({"train": "<in memory>", **recipe}, objects={"train": pandas.DataFrame(rows)}),
    ]
    assert loaded[0].names == ("pos", "neg") and len({data.fingerprint() for data in loaded}) == 1
    columns = {"train": write_csv(tmp_path / "b.csv", make_rows()), "probabilities": COLUMNS, "labels": ["pos", "neg"]}
    logits = load({**columns, "text": "text"}).splits["train"]
    lists = load({"train": write_json_lines(tmp_path / "c.jsonl", rows), **recipe}).splits["train"]
    shared = set(logits["text1"].to_pylist()) & set(lists["text1"].to_pylist())
    first, second = (dict(zip(t["text1"].to_pylist(), t[GIVEN].to_pylist(), strict=True)) for t in (logits, lists))
    assert shared and all(first[text] == second[text] for text in shared)


def test_logits_are_read_as_they_are(tmp_path):
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(NUMBER, 3)).astype(np.float32)
    rows = [
        {"text": f"t {n}", "a": float(row[0]), "b": float(row[1]), "c": float(row[2])} for n, row in enumerate(logits)
    ]
    recipe = {"text": "text", "logits": {"x": "c", "10": "b", "2": "a"}}
    data = load({"train": write_csv(tmp_path / "a.csv", rows), **recipe})
    assert data.names == ("2", "10", "x")
    table = data.splits["train"]
    places = [int(text.split()[1]) for text in table["text1"].to_pylist()]
    assert read_logits(table).tobytes() == logits[places].tobytes()


def test_zero_and_one_are_clipped(tmp_path):
    rows = [{"text": f"t {n}", "n": float(n % 2), "p": float(1 - n % 2)} for n in range(NUMBER)]
    recipe = {"train": write_csv(tmp_path / "a.csv", rows), "text": "text", "probabilities": COLUMNS}
    of_classes = read_logits(load(recipe).splits["train"])
    assert set(of_classes.ravel().tolist()) == {0.0, float(np.float32(np.log(SMALLEST)))}
    sets = load({**recipe, "problem_type": "multi_label_classification"}, problem_type="multi_label_classification")
    of_sets = read_logits(sets.splits["train"])
    assert np.isfinite(of_sets).all() and set(np.abs(of_sets).ravel().round(1).tolist()) == {np.float32(27.6)}
    np.testing.assert_allclose(expit(of_sets).sum(axis=1), 1, atol=1e-6)


def test_the_outputs_stay_with_their_rows(tmp_path):
    """Through splits that are held out, dropped overlap and a number of training rows; labels may be there too."""
    rows, others = make_rows(300), make_rows(40, seed=2)
    recipe = {"train": write_csv(tmp_path / "a.csv", rows), "text": "text", "probabilities": COLUMNS}
    recipe["validation"] = write_csv(tmp_path / "b.csv", [*others, *rows[:5]])
    data = load({**recipe, "train_rows": 100, "drop_overlap": True})
    assert data.notes["rows"]["train"] == 100 and data.splits["validation"].num_rows <= len(others) + 5
    by_text = {row["text"]: row for row in [*rows, *others]}
    for table in data.splits.values():
        expected = [by_text[text]["p"] for text in table["text1"].to_pylist()]
        np.testing.assert_allclose(softmax(read_logits(table), axis=1)[:, 1], expected, rtol=1e-5)
    assert data.has_labels("train") and data.against_teacher == ()
    changed = [{**row, "p": row["n"], "n": row["p"]} if row is others[0] else row for row in others]
    other = load({**recipe, "validation": write_csv(tmp_path / "c.csv", changed)})
    same = load({**recipe, "validation": write_csv(tmp_path / "d.csv", others)})
    assert other.fingerprint() != same.fingerprint()


def test_tokenised_splits_have_them_and_batches_do_not(tmp_path, tokenizer):
    recipe = {"train": write_csv(tmp_path / "a.csv", make_rows()), "text": "text", "probabilities": COLUMNS}
    data, examples = load(recipe), PROBLEM_TYPES["single_label_classification"].examples
    options = {"examples": examples, "names": data.names, "max_length": 16}
    for folder in (None, tmp_path / "cache", tmp_path / "cache"):  # in memory, written, and read again
        dataset, _ = tokenise(data.splits["train"], data.task, tokenizer, folder=folder, **options)
        stored = np.array(dataset[GIVEN], dtype=np.float32)
        assert stored.tobytes() == read_logits(data.splits["train"]).tobytes()
        collate = examples.make_collator(tokenizer)
        _, inputs, labels = next(iterate_by_length(dataset, collate, batch_size=4, device="cpu"))
        assert GIVEN not in inputs and set(labels.tolist()) <= {0, 1}
        assert GIVEN not in drop_given(dataset).column_names


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"p": ""}, "row 7 has no value in 'p'."),
        ({"p": "many"}, "row 7: 'p' holds 'many', expected a finite number."),
        ({"p": "nan"}, "row 7: 'p' holds 'nan', expected a finite number."),
        ({"p": "-inf"}, "row 7: 'p' holds '-inf', expected a finite number."),
        ({"p": 1.5, "n": -0.5}, "row 7: 'n' holds -0.5, expected a probability from 0 to 1; logits belong into"),
        ({"p": 0.9, "n": 0.5}, "row 7: the probabilities in 'n', 'p' sum to 1.4, expected 1. If labels do not exclude"),
    ],
)
def test_what_is_no_probability_is_refused_with_its_row(tmp_path, row, sentence):
    rows = make_rows()
    rows[6] |= row
    file = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(ValueError, match=rf"data.train: {file}: row 7") as error:
        load({"train": file, "text": "text", "probabilities": COLUMNS})
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([0.2, 0.3, 0.5], "row 7: 'scores' holds 3 numbers, expected 2, one for each label (neg, pos)."),
        (None, "row 7 has no 'scores'."),
        ([0.5, None], "row 7 has no value in 'scores'."),
        ([0.5, True], "row 7: 'scores' holds True, expected a finite number."),
        ("0.5 0.5", "expected a list of numbers; in a CSV or TSV file, give every label a column of its own"),
    ],
)
def test_what_is_no_list_of_probabilities_is_refused_with_its_row(tmp_path, cells, sentence):
    rows = [{"text": row["text"], "scores": [row["n"], row["p"]]} for row in make_rows()]
    rows[6]["scores"] = cells
    file = write_json_lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match=r"row 7") as error:
        load({"train": file, "text": "text", "labels": ["neg", "pos"], "probabilities": "scores"})
    assert sentence in str(error.value)


def test_a_logit_that_float32_cannot_hold_is_refused(tmp_path):
    rows = make_rows()
    rows[3]["p"] = 1e60
    with pytest.raises(ValueError, match="row 4: 'n', 'p' hold a number that float32 cannot hold"):
        load({"train": write_csv(tmp_path / "a.csv", rows), "text": "text", "logits": COLUMNS})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"logits": COLUMNS}, "both data.probabilities and data.logits are set"),
        ({"probabilities": "p"}, "data.probabilities: 'p' is one column of lists, so name the labels"),
        ({"probabilities": {"pos": "p"}}, "expected a column for each of two or more labels, got 1"),
        ({"probabilities": {"pos": "p", "neg": "p"}}, "the column 'p' is named for 'pos' and for 'neg'"),
        ({"labels": ["neg", "good"]}, "'pos' is not one of the labels (neg, good)"),
        ({"labels": ["neg", "neutral", "pos"]}, "no column is named for the label 'neutral'"),
        ({"probabilities": {"pos": "p", "neg": "m"}}, "no column 'm'"),
        ({"probabilities": {"good": "p", "bad": "n"}, "label": "label"}, "unknown label 'pos'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, changes, sentence):
    file = write_csv(tmp_path / "a.csv", make_rows())
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as error:
        load({"train": file, "text": "text", "probabilities": COLUMNS, **changes})
    assert sentence in str(error.value)
    if "label" not in changes:  # known from the header
        with pytest.raises(ValueError, match="data") as error:
            check_headers(DataRecipe(**{"train": file, "text": "text", "probabilities": COLUMNS, **changes}))
        assert sentence in str(error.value)


def test_numbers_are_not_taken_for_labels_whose_order_nobody_has_stated(tmp_path):
    rows = [{**row, "label": int(row["label"] == "pos")} for row in make_rows()]
    recipe = {"train": write_csv(tmp_path / "a.csv", rows), "text": "text", "probabilities": COLUMNS}
    with pytest.raises(ValueError, match="unknown label"):
        load(recipe)
    assert load({**recipe, "labels": ["neg", "pos"]}).names == ("neg", "pos")


@pytest.mark.parametrize(
    ("problem_type", "reason"),
    [
        ("regression", "data.probabilities: labels of regression are numbers already"),
        ("token_classification", "data.probabilities: every word needs outputs of its own"),
    ],
)
def test_other_problem_types_are_refused_with_the_reason(tmp_path, problem_type, reason):
    file = write_csv(tmp_path / "a.csv", make_rows())
    with pytest.raises(ValueError, match=reason):
        load({"train": file, "text": "text", "probabilities": COLUMNS}, problem_type=problem_type)


def test_splits_without_the_columns(tmp_path):
    """Labels are enough to score a split. A test split needs neither. Texts to learn from need outputs."""
    rows, plain = make_rows(), [{"text": f"other {number}"} for number in range(20)]
    labelled = [{"text": row["text"], "label": row["label"]} for row in make_rows(30, seed=3)]
    outputs = [{name: row[name] for name in ("text", "n", "p")} for row in rows]
    recipe = {"train": write_csv(tmp_path / "a.csv", outputs), "text": "text", "probabilities": COLUMNS}
    scored = {
        **recipe,
        "validation": write_csv(tmp_path / "b.csv", labelled),
        "test": write_csv(tmp_path / "c.csv", plain),
    }
    data = load(scored)
    check_headers(DataRecipe(**scored))
    assert data.against_teacher == ("selection",)
    assert [split for split in data.splits if data.has_outputs(split)] == ["train", "selection"]
    for split, sentence in (
        ("validation", "data.validation: it has no labels and lacks the columns 'n', 'p' of data.probabilities"),
        ("unlabelled", "data.unlabelled: there is no teacher for its texts, so it needs the columns 'n', 'p'"),
    ):
        wrong = {**recipe, split: write_csv(tmp_path / "d.csv", plain)}
        for read in (load, lambda recipe: check_headers(DataRecipe(**recipe))):
            with pytest.raises(ValueError, match=sentence):
                read(wrong)
    some = [{**row, "p": "", "n": ""} if number == 4 else row for number, row in enumerate(outputs)]
    with pytest.raises(ValueError, match=r"row 5 has no value in 'n'"):
        load({**recipe, "validation": write_csv(tmp_path / "e.csv", some)})


def test_keys_on_the_command_line():
    recipe = load_recipe({}, overrides=["data.probabilities.negative=p_neg", "data.probabilities.positive=p_pos"])
    assert recipe.data.probabilities == {"negative": "p_neg", "positive": "p_pos"}
    assert load_recipe({"data": {"logits": {0: "a", 1: "b"}}}).data.logits == {"0": "a", "1": "b"}
    with pytest.raises(
        ValueError, match="data.probabilities: expected a column for each label, or one column of lists"
    ):
        load_recipe({"data": {"probabilities": ["p", "q"]}})
    with pytest.raises(ValueError, match="data.logits: true and false without quotes"):
        load_recipe({"data": {"logits": {True: "p", False: "q"}}})
