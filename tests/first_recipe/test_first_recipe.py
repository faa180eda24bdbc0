"""`innerdistill init`: a recipe that parses and plans, what it says, and what it refuses."""

import csv
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import BAD, GOOD, PLAIN

from innerdistill import load_recipe
from innerdistill.cli.main import main

PLAN = ["trainer.use_cpu=true"]


def make_rows(count=120, **columns):
    """Rows of a text and of further columns, whose values are made from the row's number."""
    generator = random.Random(1)
    rows = []
    for number in range(count):
        text = " ".join(generator.choices(GOOD + BAD + PLAIN, k=6))
        rows.append({"review": text, **{name: make(number) for name, make in columns.items()}})
    return rows


def write(name, rows):
    if name.endswith(".parquet"):
        pa.parquet.write_table(pa.Table.from_pylist(rows), name)
    elif name.endswith(".jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with Path(name).open("w", newline="") as file:
            sign = "\t" if name.endswith(".tsv") else ","
            csv.writer(file, delimiter=sign).writerows([list(rows[0]), *(row.values() for row in rows)])
    return name


def read_comments():
    """The recipe in one line, without the signs of comments."""
    return " ".join(Path("recipe.yaml").read_text().replace("#", "").split())


def name_class(number):
    return ["neg", "pos"][number % 2]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_is_planned(init, save, suffix, capsys):
    teacher = save("teacher", "neg", "pos")
    file = write(f"reviews.{suffix}", make_rows(id=lambda n: n, verdict=name_class))
    recipe, said, _ = init(file, "--teacher", teacher)
    assert (recipe.data.text, recipe.data.label, recipe.data.metric) == (("review",), "verdict", "accuracy")
    assert (recipe.teacher.path, recipe.student.num_layers, recipe.output) == ("teacher", 2, "runs/reviews")
    assert "120 rows. Columns: review, id, verdict." in said and "neg (60), pos (60)." in said
    assert "Text column: review (the only texts)." in said
    assert "Label column: verdict (it holds the teacher's labels)." in said
    assert main(["plan", "recipe.yaml", *PLAN]) == 0
    assert "Examples of train by class: neg " in capsys.readouterr().out


def test_the_recipe_runs(init, save, folder):
    init(write("reviews.csv", make_rows(verdict=name_class)), "--teacher", save("teacher", "neg", "pos"))
    short = ["schedule.total_steps=4", "teacher.allow_weak=true", "baseline=false", "onnx=false"]
    assert main(["distill", "recipe.yaml", *PLAN, *short]) == 0
    assert (folder / "runs" / "reviews" / "run.json").is_file()


def test_the_recipe_is_read_from_top_to_bottom(init, save):
    init(write("reviews.csv", make_rows(verdict=name_class)), "--teacher", save("teacher", "neg", "pos"))
    lines = Path("recipe.yaml").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    for number, line in enumerate(lines):  # every key stands under a comment
        if ": " in line and not line.lstrip().startswith("#"):
            assert lines[number - 1].lstrip().startswith("# "), line
    sections = [line.partition(":")[0] for line in lines if line[:1].isalpha()]
    assert sections == ["data", "teacher", "student", "schedule", "losses", "trainer", "baseline", "onnx", "output"]
    assert "    # " not in "\n".join(lines) and "innerdistill plan recipe.yaml" in lines[2]


def test_pairs_are_planned(init, base_folder):
    rows = [{**row, "question1": row["review"], "question2": row["review"][::-1]} for row in make_rows(same=name_class)]
    file = write("pairs.tsv", [{name: row[name] for name in ("question1", "question2", "same")} for row in rows])
    recipe, said, _ = init(file, "--base", base_folder)
    assert recipe.data.text == ("question1", "question2") and "measured pairs have at most" in said
    assert recipe.teacher.base == str(base_folder) and recipe.teacher.epochs == 3
    assert main(["plan", "recipe.yaml", *PLAN]) == 0


@pytest.mark.parametrize("is_teacher", [True, False])
def test_scores_are_planned(init, save, base_folder, is_teacher):
    file = write("rated.csv", make_rows(rating=lambda n: (n % 9) / 2))
    model = ["--teacher", save("scorer")] if is_teacher else ["--base", base_folder]
    recipe, said, _ = init(file, *model)
    assert (recipe.data.label, recipe.data.metric) == ("rating", "pearson")
    assert "Scores from 0 to 4, 1.96 on average." in said
    assert main(["plan", "recipe.yaml", *PLAN]) == 0


@pytest.mark.parametrize("kind", ["scorer", "numbered", "base"])
def test_whole_numbers_are_what_the_teacher_predicts(init, save, base_folder, kind):
    file = write("stars.csv", make_rows(stars=lambda n: n % 3))
    teachers = {"scorer": (), "numbered": ("LABEL_0", "LABEL_1", "LABEL_2")}
    model = ["--base", base_folder] if kind == "base" else ["--teacher", save(kind, *teachers[kind])]
    recipe, _, _ = init(file, *model)
    assert recipe.data.metric == ("pearson" if kind == "scorer" else "accuracy") and recipe.data.labels is None
    assert ("If the numbers are scores, write pearson." in read_comments()) == (kind == "base")
    assert main(["plan", "recipe.yaml", *PLAN]) == 0


def test_many_whole_numbers_without_a_teacher_are_scores(init, base_folder):
    recipe, _, _ = init(write("points.csv", make_rows(score=lambda n: n % 40)), "--base", base_folder)
    assert recipe.data.metric == "pearson"
    assert "40 different numbers are taken for scores." in read_comments()


def test_a_teacher_that_only_numbers_its_labels_needs_a_look(init, save):
    file = write("reviews.csv", make_rows(verdict=name_class))
    recipe, _, warned = init(file, "--teacher", save("numbered", "LABEL_0", "LABEL_1"))
    assert recipe.data.labels == ("neg", "pos")
    assert "numbered only numbers its labels. The order neg, pos is a guess: correct data.labels." in warned
    assert "# CHECK THIS" in Path("recipe.yaml").read_text()
    assert main(["plan", "recipe.yaml", *PLAN]) == 0


def test_rare_classes_choose_the_metric_and_are_named(init, base_folder):
    rows = make_rows(verdict=lambda n: "odd" if n % 30 == 0 else "pos" if n % 3 else "Pos")
    recipe, said, warned = init(write("reviews.csv", rows), "--base", base_folder)
    assert recipe.data.metric == "macro_f1" and "3 classes: pos (80), Pos (36), odd (4)." in said
    assert "Fewer than 10 examples of odd." in warned and "differ only by upper and lower case" in warned


def test_lengths_limit_only_outliers(init, save):
    teacher = save("teacher", "neg", "pos")
    rows = make_rows(200, verdict=name_class)
    recipe, said, _ = init(write("even.csv", rows), "--teacher", teacher)
    assert recipe.data.max_length is None
    assert "99 % of 200 measured texts have at most 8 tokens, the longest 8. The model reads 64, so none is" in said
    rows[7]["review"] = "word1 " * 50
    recipe, said, _ = init(write("one.csv", rows), "--teacher", teacher, "-o", "one.yaml")
    assert load_recipe("one.yaml").data.max_length == 8
    assert "the longest 52" in said
    for row in rows[::4]:
        row["review"] = "word1 " * 90
    recipe, said, _ = init(write("long.csv", rows), "--teacher", teacher, "-o", "long.yaml")
    assert load_recipe("long.yaml").data.max_length is None and "so 25.0 % are truncated" in said


def test_files_of_their_own(init, save, capsys):
    teacher, rows = save("teacher", "neg", "pos"), make_rows(verdict=name_class)
    files = ["--validation", write("dev.csv", rows[:30]), "--test", write("test.csv", [{"review": "good1"}] * 20)]
    files += ["--unlabelled", write("more.csv", [{"review": f"good{n}"} for n in range(20)])]
    recipe, said, _ = init(write("train.csv", rows[30:]), "--teacher", teacher, *files)
    data = recipe.data
    assert (data.validation, data.test, data.unlabelled) == ("dev.csv", "test.csv", "more.csv")
    assert "A tenth of the training file is held out, to choose settings by (selection)." in said
    assert main(["plan", "recipe.yaml", *PLAN]) == 0
    assert "validation 30, test 20, unlabelled 20" in " ".join(capsys.readouterr().out.split())


def test_an_output_that_is_not_there_yet(init, save, folder):
    file, teacher = write("reviews.csv", make_rows(verdict=name_class)), save("teacher", "neg", "pos")
    (folder / "runs" / "reviews").mkdir(parents=True)
    recipe, _, _ = init(file, "--teacher", teacher)
    assert recipe.output == "runs/reviews-2"


def test_onnx_files_only_where_their_packages_are(init, save, monkeypatch):
    file, teacher = write("reviews.csv", make_rows(verdict=name_class)), save("teacher", "neg", "pos")
    monkeypatch.setattr("innerdistill.first_recipe.contents.list_missing_packages", lambda extra: [extra])
    recipe, _, _ = init(file, "--teacher", teacher)
    assert not recipe.onnx and "This needs: pip install 'innerdistill[onnx]' onnx: true" in read_comments()


def test_names_that_yaml_would_misread(init, save):
    rows = [{"no": row["review"], "on: #1": row["y"]} for row in make_rows(y=lambda n: ["yes", "no"][n % 2])]
    recipe, _, _ = init(write("a: b #c.csv", rows), "--teacher", save("off", "yes", "no"))
    assert (recipe.data.train, recipe.data.text, recipe.data.label) == ("a: b #c.csv", ("no",), "on: #1")
    assert main(["plan", "recipe.yaml", *PLAN]) == 0


def test_a_long_file_that_is_sorted_by_label(init, save):
    rows = make_rows(10_001, verdict=lambda n: "neg")
    _, said, warned = init(write("sorted.csv", rows), "--teacher", save("teacher", "neg", "pos"))
    assert "judged by the first 10,000 rows" in said
    assert "In the first 10,000 rows every label is 'neg'." in warned


def test_rows_without_a_label_or_a_text_are_counted(init, save):
    rows = make_rows(verdict=name_class)
    rows[3]["verdict"] = rows[5]["review"] = None
    _, _, warned = init(write("gaps.jsonl", rows), "--teacher", save("teacher", "neg", "pos"))
    assert "1 of 120 rows have no label, such as row 4." in warned and "1 of 120 rows have no text in" in warned


def test_too_few_texts_are_said(init, save):
    rows = [{"review": "good1 bad1", "verdict": name_class(n)} for n in range(40)]
    _, _, warned = init(write("same.csv", rows), "--teacher", save("teacher", "neg", "pos"))
    assert "Only 1 different text: too few to train and to score a student." in warned


def refused(init, folder, *words):
    before = sorted(folder.rglob("*"))
    _, said, warned = init(*words, code=2)
    assert not said and sorted(folder.rglob("*")) == before
    return warned


def test_bad_input_is_refused_in_a_sentence(init, save, folder, base_folder):
    rows = make_rows(verdict=name_class, points=lambda n: n / 2)
    file, teacher = write("reviews.csv", rows), save("teacher", "neg", "pos")
    save("scorer"), save("numbered", "LABEL_0", "LABEL_1", "LABEL_2"), (folder / "empty").mkdir()
    write("words.csv", [{"id": n, "words": f"good1 bad{n}"} for n in range(30)])
    write("one_class.csv", make_rows(label=lambda n: "neg"))
    write("other.csv", make_rows(label=lambda n: ["good", "bad"][n % 2]))
    for words, message in (
        (["none.csv", "--teacher", teacher], "none.csv: no such file."),
        (["empty", "--teacher", teacher], "empty: this is a folder; expected a file"),
        ([file, "--teacher", "empty"], "--teacher: empty: expected a model folder with a config.json."),
        ([file, "--teacher", "./teacher2"], "--teacher: ./teacher2: no such folder; did you mean teacher?"),
        (
            [file, "--teacher", base_folder],
            "without a head for classes, scores or tags. To fine-tune it first, give it as",
        ),
        (
            ["other.csv", "--teacher", teacher],
            "'label': label 'bad' is not one of the teacher's labels (neg, pos); use the teacher",
        ),
        ([file, "--teacher", "numbered"], "the teacher names its 3 labels only LABEL_0, LABEL_1, LABEL_2"),
        (["one_class.csv", "--base", base_folder], "'label': the training labels hold 1 class (neg)"),
        ([file, "--teacher", teacher, "--label", "points"], "holds numbers with decimals, such as 0.5, but teacher"),
        ([file, "--teacher", "scorer", "--label", "verdict"], "holds 'neg', but scorer predicts scores."),
        (
            ["words.csv", "--base", base_folder],
            "no column looks like labels; name one with --label. Columns: id, words.",
        ),
        ([file, "--teacher", teacher, "--text", "reviews"], "has no column 'reviews'. Did you mean 'review'?"),
        ([file, "--teacher", teacher, "--text", "a", "b", "c"], "--text: expected one column, or two for pairs;"),
        ([file, "--teacher", teacher, "--validation", "dev.csv"], "data.validation: dev.csv: no such file."),
        ([file, "--teacher", teacher, "--test", "words.csv"], "data.test: words.csv: no column 'review'."),
        ([file, "--teacher", teacher, "-o", "nowhere/r.yaml"], "nowhere/r.yaml: there is no folder nowhere."),
        ([file, "--teacher", teacher, "-o", "empty"], "empty already exists; choose another name with --output-file."),
    ):
        assert message in refused(init, folder, *words), words


def test_a_recipe_that_exists_is_not_overwritten(init, save, folder):
    file, teacher = write("reviews.csv", make_rows(verdict=name_class)), save("teacher", "neg", "pos")
    (folder / "recipe.yaml").write_text("mine")
    assert "recipe.yaml already exists; choose another name" in refused(init, folder, file, "--teacher", teacher)
    assert (folder / "recipe.yaml").read_text() == "mine"
    assert main(["init", file, "--teacher", teacher, "-o", "other.yaml"]) == 0


def test_without_a_model_the_options_are_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["init", "reviews.csv"])
    assert ended.value.code == 2 and "one of the arguments --teacher --base is required" in capsys.readouterr().err


def list_labels(number):
    return [["neg"], ["neg", "pos"], []][number % 3]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_lists_of_labels_are_multi_label(init, save, suffix, base_folder):
    recipe, said, _ = init(write(f"sets.{suffix}", make_rows(kinds=list_labels)), "--base", base_folder)
    assert (recipe.data.label, recipe.data.problem_type, recipe.data.metric) == (
        "kinds", "multi_label_classification", "micro_f1",
    )  # fmt: skip
    assert "2 labels, 1.0 per example: neg (80), pos (40)." in said


def test_texts_of_labels_are_taken_apart_for_a_multi_label_teacher(init, save, capsys):
    teacher = save("teacher", "neg", "pos", problem_type="multi_label_classification")
    file = write("sets.csv", make_rows(label=lambda number: ", ".join(list_labels(number))))
    recipe, said, _ = init(file, "--teacher", teacher)
    assert recipe.data.problem_type == "multi_label_classification" and "neg (80), pos (40)" in said
    assert main(["plan", "recipe.yaml", *PLAN]) == 0
    capsys.readouterr()
    Path("recipe.yaml").unlink()
    _, _, refused = init(write("wrong.csv", make_rows(label=lambda _: "neutral, pos")), "--teacher", teacher, code=2)
    assert "'neutral' is not one of the teacher's labels" in refused


def test_lists_of_labels_are_refused_for_a_teacher_of_classes(init, save):
    teacher = save("teacher", "neg", "pos")
    _, _, refused = init(write("sets.jsonl", make_rows(kinds=list_labels)), "--teacher", teacher, code=2)
    assert "it holds lists of labels, but teacher predicts classes. Name another column with --label" in refused


def test_texts_without_labels_are_labelled_by_the_teacher(init, save):
    write("texts.csv", make_rows())
    recipe, printed, _ = init("texts.csv", "--teacher", save("teacher", "neg", "pos"))
    assert "No column looks like labels: the teacher labels the texts, and scores are agreement with it." in printed
    assert recipe.data.label is None and recipe.data.metric is None and recipe.data.text == ("review",)
    assert recipe.losses["gold_labels"] == 0 and not recipe.baseline
    assert "If a column holds labels, name it: label: label" in read_comments()
    assert main(["plan", "recipe.yaml", *PLAN]) == 0
