"""Models, data, losses, metrics and schedules as Python objects: the same run as that of a recipe with files."""

import csv
import json
import os
import random
import re
import signal
from pathlib import Path

import pandas
import polars
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Value
from sklearn.metrics import balanced_accuracy_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    TrainerCallback,
)

from innerdistill import Loss, Metric, Run, distill, evaluate, finetune
from innerdistill.cli.main import main
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.formatting import list_metrics
from innerdistill.report.run_folder import read_record
from innerdistill.training.stopping import Stopped

SHORT = {"epochs_per_layer": 1, "classification_epochs": 1}
SPLITS = ("train", "validation")


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def rows(data_folder):
    """Train and validation as lists of dicts."""
    return {split: read_rows(data_folder / f"{split}.csv") for split in SPLITS}


@pytest.fixture
def loaded(teacher_folder):
    """The fine-tuned teacher and its tokenizer, as a user loads them."""
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    return {"teacher": model, "tokenizer": AutoTokenizer.from_pretrained(teacher_folder)}


@pytest.fixture
def options(recipe, tmp_path):
    """Keyword arguments of a short run, besides models and data."""
    content = recipe(tmp_path / "run", schedule=SHORT)
    return {name: content[name] for name in ("schedule", "trainer", "output")}


@pytest.fixture(scope="module")
def from_files(recipe, teacher_folder, tmp_path_factory):
    """The run of a recipe that names folder and files."""
    folder = tmp_path_factory.mktemp("files") / "run"
    content = recipe(folder, schedule=SHORT)
    return distill({**content, "teacher": {"path": str(teacher_folder)}})


def read_all(run):
    """What a run computed: its student, predictions and scores."""
    record = json.loads((run / "run.json").read_text())
    return {
        "model": (run / "model" / "model.safetensors").read_bytes(),
        "config": (run / "model" / "config.json").read_bytes(),
        "predictions": (run / "predictions.parquet").read_bytes(),
        "scores": record["scores"],
        "fingerprint": record["data"]["fingerprint"],
    }


def list_files(run):
    files = (path.relative_to(run.folder) for path in run.folder.rglob("*") if path.is_file())
    return {str(path) for path in files if not path.name.startswith("events.")}


def make_class_label_set(rows):
    return Dataset.from_list(rows).cast_column("label", ClassLabel(names=["neg", "pos"]))


def make_frame(rows):
    frame = pandas.DataFrame(rows)
    return frame.assign(label=frame["label"].astype("category"), length=frame["text"].str.len())


CONTAINERS = {
    "dataset": Dataset.from_list,
    "class labels": make_class_label_set,
    "data frame": make_frame,
    "polars": polars.DataFrame,
    "list": list,
    "columns": lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
    "generator": lambda rows: (dict(row) for row in rows),
    "streaming": lambda rows: Dataset.from_list(rows).to_iterable_dataset(num_shards=3),
    "labels": lambda rows: [{"text": row["text"], "labels": row["label"]} for row in rows],
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_objects_give_the_run_of_a_recipe_with_files(kind, rows, loaded, options, from_files):
    given = {split: CONTAINERS[kind](rows[split]) for split in SPLITS}
    run = distill(**loaded, **given, **options)
    ours, theirs = read_all(run), read_all(from_files)
    if kind == "labels":  # the task has another name for its column
        assert ours.pop("fingerprint") != theirs.pop("fingerprint")
    assert ours == theirs
    assert list_files(run) == list_files(from_files)
    assert read_record(run).teacher.path == "<in memory>"


def test_token_ids_give_the_student_of_their_texts(rows, loaded, options, from_files):
    def tokenise(split):
        texts = Dataset.from_list(rows[split])
        return texts.map(lambda row: loaded["tokenizer"](row["text"], padding="max_length"), remove_columns="text")

    options["data"] = {"validation": tokenise("validation")}
    run = distill(train=tokenise("train"), **loaded, **options)
    assert run.record.recipe.data.text == ("input_ids",)
    selection = set(run.record.data.rows.items())
    assert selection == set(from_files.record.data.rows.items())
    words = {row["text"] for row in rows["validation"]}
    shown = json.loads((run / "examples.json").read_text())["disagreements"]
    assert shown and all(example["texts"][0] in words for example in shown)
    assert run.predict(["good", "bad"])
    wrong = [({"input_ids": [5, 10**6], "label": "pos"}, "train: row 501: token 1000000 is not one of the tokenizer's")]
    wrong += [({"input_ids": [5] * 100, "label": "pos"}, "train: row 501: 100 tokens, and at most 64 are allowed")]
    wrong += [({"input_ids": [], "label": "pos"}, "data.train: row 501: 'input_ids' holds [], expected token ids.")]
    wrong += [({"input_ids": [5], "attention_mask": [1, 1]}, "row 501: 'input_ids', 'attention_mask' and")]
    for row, message in wrong:
        train = [*tokenise("train"), {"label": "pos", **row}]
        with pytest.raises(ValueError, match=re.escape(message)):
            distill(train=train, **loaded, **{**options, "output": f"{options['output']}-wrong"})


def test_a_data_set_with_its_splits(rows, loaded, options, from_files):
    splits = DatasetDict({split: Dataset.from_list(rows[split]) for split in SPLITS})
    assert read_all(distill(data=splits, **loaded, **options)) == read_all(from_files)
    other = DatasetDict({"a": splits["train"], "b": splits["validation"]})
    named = {"path": other, "train": "a", "validation": "b"}
    again = distill(data=named, **loaded, **options, overwrite=True)
    assert read_all(again) == read_all(from_files)


def test_given_models_stay_as_they_are(rows, loaded, options):
    model = loaded["teacher"].train()
    model.set_attn_implementation("sdpa")
    before = (
        weights_fingerprint(model),
        model.config.to_json_string(),
        json.dumps(loaded["tokenizer"].init_kwargs, default=str),
    )
    modules = [type(module) for module in model.modules()]
    distill(**rows, **loaded, **options)
    assert model.training and model.config._attn_implementation == "sdpa"
    assert [type(module) for module in model.modules()] == modules
    assert before == (
        weights_fingerprint(model),
        model.config.to_json_string(),
        json.dumps(loaded["tokenizer"].init_kwargs, default=str),
    )


def test_a_student_source_and_a_base_in_memory(rows, recipe, base_folder, tmp_path, make_model):
    content = recipe(tmp_path / "files", schedule=SHORT, student={"source": "base"})
    files = distill(content)
    from transformers import AutoModel

    base = AutoModel.from_pretrained(base_folder)
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    content = {**content, "teacher": {**content["teacher"], "base": base}, "output": tmp_path / "objects"}
    objects = distill(content, tokenizer=tokenizer)
    assert read_all(objects) == read_all(files)
    teacher = finetune(content, tokenizer=tokenizer, output=tmp_path / "teacher")
    assert teacher.scores["validation"]["student"]
    content = {**content, "teacher": {}, "student": {"num_layers": 2}}
    student = distill(content, teacher=teacher, output=tmp_path / "of-run")
    assert student.record.recipe.teacher.path == str(teacher / "model")


def test_the_finished_run(rows, loaded, options):
    run = distill(**rows, **loaded, **options, student=3)
    assert isinstance(run, Run) and run == Run.load(run) and Path(run) == run.folder
    assert run.model.config.num_hidden_layers == 3
    texts = [row["text"] for row in rows["validation"]]
    predicted = run.predict(texts)
    pipeline_labels = predicted[0].keys()
    assert pipeline_labels == {"predicted_label", "probability_neg", "probability_pos"}
    inputs = run.tokenizer(texts[:5], padding=True, return_tensors="pt")
    with torch.no_grad():
        probabilities = run.model(**inputs).logits.softmax(-1)[:, 1]
    assert probabilities.tolist() == pytest.approx([row["probability_pos"] for row in predicted[:5]], abs=1e-6)
    right = [row["predicted_label"] == given["label"] for row, given in zip(predicted, rows["validation"], strict=True)]
    assert run.scores["validation"]["student"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert "iframe" in run.report()._repr_html_() and "<table>" in run._repr_html_()
    wrong = {
        "put it into a list": "a text",
        "got a DataFrame; give a column": pandas.DataFrame({"text": texts}),
        "got a Dataset; give a column": Dataset.from_dict({"text": texts}),
        "example 2 is ('a', 'b'), expected a text": ["a", ("a", "b")],
        "example 1 is 3, expected a text": [3],
    }
    for message, given in wrong.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            run.predict(given)
    assert run.predict([]) == [] and run.predict(pandas.Series(texts[:2])) == run.predict(texts[:2])


def test_the_examples_of_the_guide_run(rows, loaded, recipe, teacher_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = recipe("unused", schedule=SHORT)
    (tmp_path / "recipe.yaml").write_text(write_yaml({**content, "teacher": {"path": str(teacher_folder)}}))
    given = {**loaded, "reviews": {split: Dataset.from_list(rows[split]) for split in SPLITS}}
    page = (Path(__file__).parents[2] / "docs/how-to/python.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for folder in ("runs/reviews", "runs/balanced"):
        (example,) = (code for code in examples if f'output="{folder}"' in code)
        exec(example, given)
    assert given["run"].record.data.metric == "balanced"
    assert "predicted_label" in capsys.readouterr().out


def cost(labels, predictions):
    return float((labels != predictions).mean() * 2)


def test_metrics_schedules_and_losses_of_ones_own(rows, loaded, options):
    def only_soft(plan):
        return [plan.build_classification_stage({"soft_labels": 1.0, "outside": 0.5}, steps=4)]

    outside = Loss(lambda logits: logits.square().mean(-1), needs=("student_logits",))
    given = {
        "metrics": {"balanced": balanced_accuracy_score, "cost": Metric(cost, "classes", higher_is_better=False)},
        "schedules": {"only soft": only_soft},
        "losses": {"outside": (outside, 0.5)},
        "schedule": "only soft",
        "data": {"metric": "balanced"},
    }
    run = distill(**rows, **loaded, **{**options, **given})
    scores = run.scores["validation"]["student"]
    assert scores["metric"] == "balanced" and scores["standard_error"] > 0
    assert scores["cost"] == pytest.approx(2 - 2 * scores["accuracy"])
    assert list_metrics(run.record.scores["validation"].student)[0] == "balanced"
    assert "cost" not in list_metrics(run.record.scores["validation"].student)  # of it, no share means anything
    assert [stage.stage.name for stage in run.record.stages] == ["classification"]
    objects = run.record.recipe.objects
    assert objects.keys() == {"losses.outside", "metrics.balanced", "metrics.cost", "schedules.only soft"}
    assert objects["metrics.balanced"].startswith("sklearn.metrics._classification.balanced_accuracy_score ")
    assert (
        evaluate(**rows, **loaded, **{**options, **given})["scores"]["validation"]["student"]["cost"] == scores["cost"]
    )


def test_the_command_line_has_no_objects(rows, loaded, options, capsys):
    run = distill(**rows, **loaded, **options)
    assert main(["distill", str(run / "recipe.yaml"), "output=elsewhere"]) == 2
    assert "data.train: the run was given a Python object here, which its recipe.yaml" in capsys.readouterr().err
    assert run.export().files.keys() == {"model", "float32", "int8"}
    with pytest.raises(ValueError, match="data.train: the run was given a Python object"):
        Run.load(run).export()


class Failing:
    """A score function that raises once, in its third call."""

    calls = 0

    def __call__(self, labels, predictions):
        Failing.calls += 1
        if Failing.calls == 3:
            raise RuntimeError("the server is down")
        return 0.5


def test_a_run_resumes_with_the_same_function_only(rows, loaded, options, from_files):
    changes = {"schedule": {"epochs_per_layer": 2, "classification_epochs": 1}, "checkpoint_minutes": 0}
    whole = distill(**rows, **loaded, **{**options, **changes, "output": options["output"] + "-whole"})
    failing = {**options, **changes, "metrics": {"mine": Failing()}}
    with pytest.raises(
        ValueError,
        match="stage '.*', step .*: metrics.mine raised RuntimeError: the server is down. .*the run resumes from",
    ):
        distill(**rows, **loaded, **failing)
    with pytest.raises(ValueError, match=r"objects\.metrics\.mine \('.*Failing .*', now '.*cost .*'\)"):
        distill(**rows, **loaded, **{**failing, "metrics": {"mine": cost}})
    resumed = distill(**rows, **loaded, **failing)
    assert (resumed / "model" / "model.safetensors").read_bytes() == (
        whole / "model" / "model.safetensors"
    ).read_bytes()


class Fails(TrainerCallback):
    """Fails in a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise RuntimeError("no more")


def test_other_rows_are_no_resume_and_a_failing_callback_leaves_the_models(rows, loaded, options):
    model = loaded["teacher"].train()
    before = (weights_fingerprint(model), model.config.to_json_string(), [type(module) for module in model.modules()])
    given = {**loaded, **options, "validation": rows["validation"], "checkpoint_minutes": 0, "callbacks": [Fails(3)]}
    with pytest.raises(ValueError, match="callback Fails: .*step 3.* with RuntimeError: no more"):
        distill(train=(row for row in rows["train"]), **given)
    after = (weights_fingerprint(model), model.config.to_json_string(), [type(module) for module in model.modules()])
    assert before == after and model.training and all(weight.requires_grad for weight in model.parameters())
    with pytest.raises(ValueError, match="holds an unfinished run that differs in .*data"):
        distill(train=(row for row in rows["train"][:-1]), **given)


def test_a_model_without_weights_is_refused(rows, loaded, options):
    with pytest.raises(ValueError, match="teacher.path: the BertForSequenceClassification is on the device meta"):
        distill(**rows, **{**loaded, "teacher": loaded["teacher"].to("meta")}, **options)


class Diary(TrainerCallback):
    """Counts steps, and stops the process as Ctrl-C does in one of them."""

    def __init__(self):
        self.steps, self.stop_at = 0, None

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)


def distil_all(given, diary, output):
    """A call with everything: a data set, a teacher, a metric, a callback and a tracker of one's own."""
    return distill(
        **given,
        metrics={"balanced": balanced_accuracy_score},
        callbacks=[diary],
        trainer={"learning_rate": 2e-3, "per_device_train_batch_size": 16, "use_cpu": True, "report_to": "wandb"},
        schedule=SHORT,
        output=output,
    )


def test_everything_of_ones_own_gives_the_same_bytes_and_resumes_to_them(
    rows, loaded, from_files, tmp_path, wandb_offline
):
    given = {**loaded, **{split: Dataset.from_list(rows[split]) for split in SPLITS}}
    diary = Diary()
    whole = distil_all(given, diary, tmp_path / "whole")
    theirs, ours = read_all(from_files), read_all(whole)
    assert ours["scores"]["validation"]["student"].pop("balanced") > 0.5
    for scores in (scores for split in ours["scores"].values() for scores in split.values()):
        scores.pop("balanced", None)
    assert ours == theirs and diary.steps == whole.record.steps
    files = {name for name in list_files(from_files) if not name.startswith("tensorboard")}
    assert {name for name in list_files(whole) if not name.startswith("tensorboard")} == files
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    stopped = Diary()
    stopped.stop_at = random.Random(whole.record.finished).randrange(2, diary.steps)
    with pytest.raises(Stopped):
        distil_all(given, stopped, tmp_path / "stopped")
    resumed = distil_all(given, Diary(), tmp_path / "stopped")
    assert read_all(resumed) == read_all(whole)


def stop(*_):
    raise RuntimeError("stop")


def break_off(rows):
    yield from rows[:20]
    raise OSError("the connection was lost")


def read_iterator(rows):
    """An iterator that has none left."""
    iterator = iter(rows)
    list(iterator)
    return iterator


def closed_file(path):
    with path.open() as file:
        pass
    return file


BAD = [
    (lambda rows, loaded, path: {"student": loaded["teacher"]}, "student: this is the teacher itself; give the number of layers"),
    (lambda rows, loaded, path: {"tokenizer": None}, "tokenizer: the teacher is an object, so give its tokenizer too."),
    (lambda rows, loaded, path: {"tokenizer": "bert"}, "tokenizer: expected a tokenizer of transformers, got str."),
    (lambda rows, loaded, path: {"teacher": torch.nn.Linear(2, 2)}, "teacher.path: expected a model of transformers, a folder or a name; got Linear."),
    (lambda rows, loaded, path: {"teacher": BertForSequenceClassification}, "got the class BertForSequenceClassification; load an object with from_pretrained."),
    (lambda rows, loaded, path: {"student": "3"}, "student: expected a whole number of layers, a model or a folder; got '3'."),
    (lambda rows, loaded, path: {"student": 3.0}, "student: expected a whole number of layers, a model or a folder; got 3.0."),
    (lambda rows, loaded, path: {"train": DatasetDict({"a": Dataset.from_list(rows["train"])})}, "train: this is a DatasetDict; give it as data=, or one of its splits here."),
    (lambda rows, loaded, path: {"train_dataset": rows["train"]}, "unknown argument 'train_dataset'. Did you mean 'train'?"),
    (lambda rows, loaded, path: {"learning_rate": 1}, "unknown argument 'learning_rate'. It is a key of the trainer: trainer={'learning_rate': ...}."),
    (lambda rows, loaded, path: {"metrics": [cost]}, "metrics: expected a dict of names and functions, got list."),
    (lambda rows, loaded, path: {"metrics": {"mine": lambda labels: 1.0}}, "It is called with labels and predictions."),
    (lambda rows, loaded, path: {"schedules": [cost]}, "schedules: expected a dict of names and functions, got list."),
    (lambda rows, loaded, path: {"callbacks": Fails(1)}, "callbacks: expected a list, got Fails."),
    (lambda rows, loaded, path: {"losses": {"mine": cost}}, "losses.mine: wrap the function: (innerdistill.Loss(function, needs=...), weight)."),
    (lambda rows, loaded, path: {"train": [*rows["train"][:2], {"text": "a", "label": float("nan")}]}, "data.train: row 3 has no 'label'; give rows without a label as data.unlabelled, or leave them out."),
    (lambda rows, loaded, path: {"recipe": loaded["teacher"]}, "recipe: expected a recipe, got BertForSequenceClassification; give objects by their names"),
    (lambda rows, loaded, path: {"train": pandas.DataFrame(rows["train"]).rename(columns={"text": "words"}), "data": {"text": "text"}}, "data.train: no column 'text'."),
    (lambda rows, loaded, path: {"train": [{"a": 1}]}, "data.text: name the text column, for example data={'text': 'sentence'}, or two for pairs; no column holds text. Columns: a."),
    (lambda rows, loaded, path: {"train": break_off(rows["train"])}, "data.train: row 21 cannot be read (OSError: the connection was lost)."),
    (lambda rows, loaded, path: {"train": closed_file(path)}, "data.train: row 1 cannot be read (ValueError: I/O operation on closed file)."),
    (lambda rows, loaded, path: {"train": [1, 2]}, "data.train: row 1 is 1, expected a dict by column, such as {'text': '...'}."),
    (lambda rows, loaded, path: {"train": 3}, "data.train: expected a file, a Dataset, a DataFrame, or rows as a list or iterable of dicts; got int."),
    (lambda rows, loaded, path: {"train": []}, "data.train: no rows."),
    (lambda rows, loaded, path: {"train": read_iterator(rows["train"])}, "data.train: no rows; an iterator that was read before has none left."),
    (lambda rows, loaded, path: {"data": DatasetDict({"train": Dataset.from_list(rows["train"])})}, "train is given twice, in data and as train=; leave one out."),
    (lambda rows, loaded, path: {"data": {"labels": "label"}}, "data.labels: expected a list of label names, got 'label'; data.label names the column"),
    (lambda rows, loaded, path: {"train": [*rows["train"][:5], {"text": None, "label": "pos"}]}, "data.train: row 6 has no text in 'text'."),
    (lambda rows, loaded, path: {"train": {"text": ["a"], "label": []}}, "data.train: expected columns of equal length; text has 1, label has 0."),
    (lambda rows, loaded, path: {"data": {"train": rows["train"]}}, "data.train is given twice; leave one out."),
    (lambda rows, loaded, path: {"data": Dataset.from_list(rows["train"])}, "data: this is one split; give it as train=."),
    (lambda rows, loaded, path: {"shcedule": "sid"}, "unknown argument 'shcedule'. Did you mean 'schedule'?"),
    (lambda rows, loaded, path: {"metrics": {"accuracy": cost}}, "metrics: 'accuracy' is taken; choose another name."),
    (lambda rows, loaded, path: {"metrics": {"mine": 3}}, "metrics: expected a function or a Metric as 'mine', got 3."),
    (lambda rows, loaded, path: {"metrics": {"mine": lambda labels, predictions: "high"}}, "metrics.mine returned 'high', expected a finite number."),
    (lambda rows, loaded, path: {"metrics": {"mine": lambda labels, predictions: float("nan")}}, "metrics.mine returned nan, expected a finite number."),
    (lambda rows, loaded, path: {"metrics": {"mine": stop}}, "metrics.mine raised RuntimeError: stop"),
    (lambda rows, loaded, path: {"losses": {"mine": Loss(cost, needs=("student_logits",))}}, "losses.mine: give the loss with its weight, for example (loss, 1.0)."),
    (lambda rows, loaded, path: {"losses": {"mine": (Loss(stop, needs=("student_logits",)), 1.0)}}, "stage 'classification', step 0: losses.mine raised RuntimeError: stop"),
    (lambda rows, loaded, path: {"callbacks": [print]}, "callbacks: expected objects of a transformers.TrainerCallback, got builtin_function_or_method."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_objects_in_one_sentence(change, message, rows, loaded, options, data_folder):
    given = {**rows, **loaded, **options}
    with pytest.raises(ValueError) as error:
        distill(**{**given, **change(rows, loaded, data_folder / "train.csv")})
    assert message in str(error.value) and "/tmp" not in str(error.value)


def test_a_label_column_that_train_lacks_is_told(rows, loaded, options, caplog):
    texts = [{"text": row["text"]} for row in rows["train"]]
    given = {**rows, **loaded, **options, "train": texts, "data": {"text": "text", "label": "label"}}
    distill(**given, losses={"gold_labels": 0}, overwrite=True)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any(message.startswith("data.train has no column 'label': the teacher labels it.") for message in said)


def test_a_tokenizer_of_another_model(rows, loaded, options, tokenizer, make_model):
    small = make_model(vocab_size=10, id2label={0: "neg", 1: "pos"})
    with pytest.raises(ValueError, match="tokenizer: the TokenizersBackend: "):
        distill(**rows, **{**loaded, "teacher": small}, **options)


def test_numbers_and_missing_labels(loaded, options, rows):
    ids = [{"text": row["text"], "label": int(row["label"] == "pos")} for row in rows["train"]]
    test = pandas.DataFrame(rows["validation"]).assign(label=[None, float("nan")] * (len(rows["validation"]) // 2))
    run = distill(train=ids, test=test, **loaded, **options)  # the teacher's own names are neg and pos
    assert run.record.data.names == ("0", "1") and "test" not in run.record.scores
    small = Dataset.from_list(ids).cast_column("label", Value("int8"))
    with pytest.raises(ValueError, match="holds a finished run"):  # of the same rows
        distill(train=small, test=test, **loaded, **options)
