"""Multi-label classification from end to end: labels in every form, thresholds, scores, files of the run."""

import json
import re

import numpy as np
import pandas
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from sklearn.metrics import average_precision_score, f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback, pipeline

from innerdistill import distill, evaluate, finetune
from innerdistill.cli.main import main
from innerdistill.evaluation.label_set_metrics import find_sets
from innerdistill.models.heads import compute_cutoffs, read_thresholds
from innerdistill.report.run_folder import read_predictions
from innerdistill.run.assemble import assemble
from innerdistill.run.objects import collect

NAMES = ("bad", "good", "rare")


def find_labels(text):
    words = text.split()
    marks = {name: any(word.startswith(name) for word in words) for name in ("good", "bad")}
    marks["rare"] = bool({"word3", "word11"} & set(words))
    return [name for name in NAMES if marks[name]]


@pytest.fixture(scope="module")
def rows(sentences):
    """Rows with lists of labels, some of them empty."""
    rows = [{"text": text, "labels": find_labels(text)} for text, _ in sentences]
    return {"train": rows[:420], "validation": rows[420:600], "selection": rows[600:720]}


@pytest.fixture(scope="module")
def options(base_folder, fill_once):
    teachers = fill_once("teachers", lambda _: None)
    return {
        "teacher": {"base": str(base_folder), "epochs": 8, "folder": str(teachers)},
        "schedule": {"epochs_per_layer": 1, "classification_epochs": 2},
        "trainer": {"learning_rate": 2e-3, "per_device_train_batch_size": 16, "use_cpu": True},
    }


@pytest.fixture(scope="module")
def run(rows, options, tmp_path_factory):
    output = tmp_path_factory.mktemp("run") / "run"
    return distill(**rows, **options, losses={"gold_labels": 1}, onnx=True, baseline=True, output=output)


def test_scores_are_those_of_scikit_learn(run, rows):
    columns = read_predictions(run.folder / "predictions.parquet", "validation")
    labels = np.array([[name in row["labels"] for name in NAMES] for row in rows["validation"]])
    assert (columns["label"] == labels).all() and list(run.record.data.names) == list(NAMES)
    for model in ("teacher", "student"):
        sets, scores = find_sets(columns[model]), run.scores["validation"][model]
        assert scores["metric"] == "micro_f1" and scores["micro_f1"] == pytest.approx(
            f1_score(labels, sets, average="micro")
        )
        assert scores["macro_f1"] == pytest.approx(f1_score(labels, sets, average="macro"))
        assert scores["exact_match"] == pytest.approx((sets == labels).all(1).mean())
        precision = average_precision_score(labels, columns[model], average="macro")
        assert scores["mean_average_precision"] == pytest.approx(precision)
        assert scores["micro_f1"] > scores["constant"] + 0.02 and list(scores["per_class"]) == list(NAMES)


def test_the_saved_model_has_its_thresholds_and_predicts_by_them(run, rows):
    model = AutoModelForSequenceClassification.from_pretrained(run.folder / "model")
    config = model.config
    assert config.problem_type == "multi_label_classification" and len(set(config.thresholds)) == 1
    assert config.thresholds == run.record.student.thresholds and run.record.teacher.thresholds is not None
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    score = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    texts = [row["text"] for row in rows["validation"][:40]]
    for text, predicted in zip(texts, run.predict(texts), strict=True):
        found = {each["label"]: each["score"] for each in score([text])[0]}
        assert {name: predicted[f"probability_{name}"] for name in NAMES} == pytest.approx(found, abs=1e-6)
        assert predicted["predicted_labels"] == [name for name in NAMES if found[name] > config.thresholds[0]]


def test_the_lines_of_the_card_predict_the_same(run, rows):
    card = (run.folder / "model" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(from transformers import pipeline.*?)```", card, re.DOTALL)
    scope = {}
    exec(code.replace("path/to/this/folder", str(run.folder / "model")), scope)
    texts = [row["text"] for row in rows["validation"][:20]]
    assert [scope["classify"](text) for text in texts] == [row["predicted_labels"] for row in run.predict(texts)]


def test_report_onnx_and_evaluation_know_label_sets(run, rows, options):
    page = (run.folder / "report.html").read_text()
    assert "micro F1" in page and "equal label sets" in page and 'confusion" style' not in page
    onnx = run.record.onnx.files
    assert onnx["float32"].scores["micro_f1"] == pytest.approx(
        run.scores["validation"]["student"]["micro_f1"], abs=0.01
    )
    scored = evaluate(**rows, **options, model=run.folder, losses={"gold_labels": 1}, output=run.folder)
    assert scored["scores"]["validation"]["student"]["micro_f1"] == run.scores["validation"]["student"]["micro_f1"]
    assert scored["scores"]["validation"]["teacher"] == run.scores["validation"]["teacher"]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_form_of_labels_gives_the_same_student(run, rows, options, tmp_path):
    """Lists, one text, columns of 0 and 1, ids of a ClassLabel: the same weights as those of the run."""
    expected = (run.folder / "model" / "model.safetensors").read_bytes()
    given = {**options, "losses": {"gold_labels": 1}}
    for split, of_split in rows.items():
        write_jsonl(tmp_path / f"{split}.jsonl", of_split)
        text = [{"text": row["text"], "labels": " | ".join(row["labels"])} for row in of_split]
        pandas.DataFrame(text).to_csv(tmp_path / f"{split}.csv", index=False)
        marks = [{"text": row["text"], **{name: int(name in row["labels"]) for name in NAMES}} for row in of_split]
        pandas.DataFrame(marks).to_csv(tmp_path / f"marks-{split}.csv", index=False)
    files = {split: str(tmp_path / f"{split}.jsonl") for split in rows}
    by_column = {split: str(tmp_path / f"marks-{split}.csv") for split in rows}
    by_text = {split: str(tmp_path / f"{split}.csv") for split in rows}
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=list(NAMES)))})
    datasets = {}
    for split, of_split in rows.items():
        ids = [{"text": row["text"], "labels": [NAMES.index(name) for name in row["labels"]]} for row in of_split]
        datasets[split] = Dataset.from_list(ids, features=features)
    ways = {
        "files": {"data": {**files, "text": "text", "label": "labels"}},
        "columns": {"data": {**by_column, "text": "text", "label": list(NAMES)}},
        "texts": {
            "data": {
                **by_text, "text": "text", "label": "labels", "separator": "|",
                "problem_type": "multi_label_classification",
            }
        },
        "datasets": datasets,
    }  # fmt: skip
    for name, way in ways.items():
        again = distill(**way, **given, output=tmp_path / name)
        assert (again.folder / "model" / "model.safetensors").read_bytes() == expected, name


def test_thresholds_by_label_or_none(rows, options, tmp_path):
    schedule = {"name": "soft_labels", "classification_epochs": 2}
    given = {**rows, **options, "schedule": schedule}
    run = distill(**given, data={"thresholds": "per label"}, output=tmp_path / "each")
    assert len(set(run.record.student.thresholds)) > 1
    run = distill(**given, data={"thresholds": "half"}, output=tmp_path / "half")
    assert run.record.student.thresholds == [0.5, 0.5, 0.5] == run.record.teacher.thresholds


def test_own_metrics_read_sets(rows, options, tmp_path):
    def count_right(labels, predictions):
        assert set(np.unique(labels)) <= {0, 1} >= set(np.unique(predictions))
        return float((labels == predictions).mean())

    run = distill(
        **rows, **options, metrics={"hamming": count_right}, data={"problem_type": "multi_label_classification"},
        output=tmp_path / "run",
    )  # fmt: skip
    columns = read_predictions(run.folder / "predictions.parquet", "validation")
    expected = (find_sets(columns["student"]) == columns["label"]).mean()
    assert run.scores["validation"]["student"]["hamming"] == pytest.approx(expected)


def test_labels_without_an_answer_are_scored_nowhere(run, rows, tmp_path, options):
    """Rows of the test split may lack labels: they are predicted, and no score counts them."""
    test = [{**row, "labels": None} if number % 2 else row for number, row in enumerate(rows["validation"])]
    short = {**options, "teacher": {**options["teacher"], "epochs": 1, "allow_weak": True}}
    short["schedule"] = {"name": "soft_labels", "classification_epochs": 1}
    again = distill(**rows, test=test, **short, output=tmp_path / "run")
    assert again.scores["test"]["student"]["rows"] == 90
    columns = read_predictions(again.folder / "predictions.parquet", "test")
    assert np.isnan(columns["label"][1::2]).all() and np.isfinite(columns["student"]).all()


def refuse(capsys, *arguments):
    assert main(["distill", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return " ".join(captured.err.split())


@pytest.fixture
def write(tmp_path, rows):
    """Write train.jsonl of some rows, or with changed rows; returns the arguments of a command that reads it."""

    def write(change=None, count=60, **keys):
        changed = [dict(row) for row in rows["train"][:count]]
        for number, row in (change or {}).items():
            changed[number].update(row)
        write_jsonl(tmp_path / "train.jsonl", changed)
        given = {"data.train": tmp_path / "train.jsonl", "data.text": "text", "data.label": "labels", **keys}
        return [f"{key}={value}" for key, value in {"output": tmp_path / "out", **given}.items()]

    return write


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        ({3: {"labels": "good"}}, {}, "'labels' is a list in row 1 and none in row 4; write it as a list in every row"),
        ({3: {"labels": ["good", None]}}, {}, "row 4: 'labels' holds a list with an empty label"),
        ({3: {"labels": [["good"]]}}, {}, "row 4: 'labels' holds ['good'], expected a name or a number"),
        ({3: {"labels": None}}, {}, "row 4 has no 'labels'"),
        ({3: {"labels": ["god"]}}, {"data.labels": "[good,bad,rare]"}, "row 4: unknown label 'god'. Did you mean 'good'"),
        ({}, {"data.metric": "accuracy"}, "holds ['bad', 'rare'], expected a name or a number"),
        ({}, {"data.problem_type": "multilabel"}, "unknown problem type 'multilabel'"),
        ({}, {"data.problem_type": "multi_label_classification", "data.metric": "mcc"},
         "data.metric: 'mcc' is no metric for label sets"),
        ({}, {"data.label": "[good]"}, "data.label: expected a column, or a list of two or more columns of 0 and 1"),
        ({}, {"data.label": "[good,text]"}, "row 1 has no 'good'. Keys: labels, text"),
    ],
)  # fmt: skip
def test_bad_labels_are_refused_in_a_sentence(change, keys, message, write, base_folder, capsys, tmp_path):
    assert message in refuse(capsys, *write(change, **keys), f"teacher.base={base_folder}")
    assert not (tmp_path / "out").exists()


def test_teachers_of_another_kind_are_refused(write, teacher_folder, run, rows, capsys, tmp_path):
    said = refuse(capsys, *write(), f"teacher.path={teacher_folder}")
    assert "predicts classes, but multi-label classification by 'micro_f1' needs label sets" in said
    classes = [{"text": row["text"], "labels": (row["labels"] or ["bad"])[0]} for row in rows["train"]]
    write_jsonl(tmp_path / "classes.jsonl", classes)
    keys = {"data.train": tmp_path / "classes.jsonl", "data.metric": "accuracy"}
    said = refuse(capsys, *write(**keys), f"teacher.path={run.folder / 'model'}")
    assert "predicts label sets, but single-label classification by 'accuracy' needs classes" in said


def test_label_names_in_another_order_are_found(run, rows, options, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(
        finetune(**rows, **options, output=tmp_path / "t").folder / "model"
    )
    model.config.id2label = {0: "rare", 1: "good", 2: "bad"}
    model.config.label2id = {"rare": 0, "good": 1, "bad": 2}
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    schedule = {"name": "soft_labels", "classification_epochs": 1}
    given = {**rows, "trainer": options["trainer"], "schedule": schedule, "output": tmp_path / "swapped"}
    again = distill(teacher={"path": model, "allow_weak": True}, tokenizer=tokenizer, **given)
    (warning,) = [warning for warning in again.record.warnings if "another order" in warning]
    assert "labels seem to be in another order than its config.json says (rare, bad)" in warning
    assert "the outputs mean 'bad', 'good', 'rare', in this order" in warning


def test_prediction_files_hold_the_labels(run, rows, tmp_path):
    write_jsonl(tmp_path / "texts.jsonl", [{"text": row["text"]} for row in rows["validation"][:9]])
    expected = run.predict([row["text"] for row in rows["validation"][:9]])
    for ending in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"out.{ending}"
        assert main(["predict", str(run.folder), str(tmp_path / "texts.jsonl"), "--output", str(output)]) == 0
        if ending == "csv":
            read = pandas.read_csv(output, keep_default_na=False)["predicted_labels"].tolist()
            assert read == [",".join(row["predicted_labels"]) for row in expected]
            continue
        frame = pandas.read_json(output, lines=True) if ending == "jsonl" else pandas.read_parquet(output)
        assert [list(labels) for labels in frame["predicted_labels"]] == [row["predicted_labels"] for row in expected]


class Interrupt(TrainerCallback):
    """Stops the process once, in the middle of a stage."""

    is_armed = True

    def on_step_end(self, args, state, control, **kwargs):
        if Interrupt.is_armed and state.global_step == 30:
            Interrupt.is_armed = False
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_same_student(run, rows, options, tmp_path):
    given = {**rows, **options, "losses": {"gold_labels": 1}, "callbacks": [Interrupt()], "output": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        distill(**given)
    assert not (tmp_path / "run" / "run.json").exists()
    again = distill(**given).folder / "model" / "model.safetensors"
    assert again.read_bytes() == (run.folder / "model" / "model.safetensors").read_bytes()


def test_texts_alone_are_enough(run, rows, options, tmp_path):
    """Without labels, thresholds are chosen and sets scored by those of the teacher."""
    teacher, trainer = run.record.teacher.path, options["trainer"]
    schedule = {"name": "soft_labels", "classification_epochs": 2}
    texts = [row["text"] for row in rows["train"]]
    free = distill(teacher=teacher, train=texts, schedule=schedule, trainer=trainer, output=tmp_path / "run")
    assert free.record.problem_type.name == "multi_label_classification" and len(free.record.student.thresholds) == 3
    columns = read_predictions(free.folder / "predictions.parquet", "validation")
    same = (find_sets(columns["student"]) == find_sets(columns["teacher"])).all(1).mean()
    scores = free.scores["validation"]["student"]
    assert scores["agreement_with_the_teacher"] == pytest.approx(same) and same > 0.3
    assert np.isnan(columns["label"]).all() and free.record.agreement["validation"]["equal_predictions"] == same


def test_thresholds_are_those_of_multi_label_models_only(make_model):
    config = make_model(num_labels=3).config
    config.thresholds = "of somebody else"
    assert read_thresholds(config) is None and not compute_cutoffs(config).any()
    config.problem_type = "multi_label_classification"
    with pytest.raises(ValueError, match="expected 3 numbers between 0 and 1"):
        read_thresholds(config)


def test_a_plan_counts_the_examples_of_every_label(rows, options, tmp_path):
    job = assemble(*collect(None, {**rows, **options, "output": tmp_path / "run"}))
    expected = {name: sum(name in row["labels"] for row in rows["train"]) for name in NAMES}
    assert job.count_train_labels() == expected
