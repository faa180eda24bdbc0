"""Distillation without labels: the teacher labels train, and scores are the agreement with it."""

import csv
import json

import numpy as np
import pandas
import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from innerdistill import distill, evaluate, load_recipe
from innerdistill.cli.main import main
from innerdistill.evaluation.predicted_classes import predict_classes
from innerdistill.losses.loss import Loss
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.objects import collect
from innerdistill.run.preview import refuse_early

AGREEMENT = "agreement_with_the_teacher"
SHORT = {"name": "soft_labels", "total_steps": 4}


@pytest.fixture(scope="session")
def text_folder(fill_once, data_folder):
    """The texts of train.csv and validation.csv without their labels."""

    def fill(folder):
        for name in ("train", "validation"):
            with (data_folder / f"{name}.csv").open(newline="") as file:
                texts = [row["text"] for row in csv.DictReader(file)]
            with (folder / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("text",), *((text,) for text in texts)])

    return fill_once("texts", fill)


@pytest.fixture
def without_labels(recipe, text_folder, teacher_folder, tmp_path):
    """A recipe without labels as a mapping."""

    def make(**sections):
        content = recipe(tmp_path / "run", **sections)
        content["data"] = {"train": f"{text_folder}/train.csv", "text": "text", **sections.get("data", {})}
        content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
        content["teacher"] |= sections.get("teacher", {})
        return content

    return make


def test_a_run_without_labels_is_scored_against_its_teacher(without_labels):
    record = read_record(distill(without_labels(checkpoint="best")))
    assert record.data.against_teacher == ("selection", "validation")
    assert record.data.metric == "agreement_with_the_teacher" and record.data.names == ("neg", "pos")
    scores, agreement = record.scores["validation"], record.agreement["validation"]
    assert scores.student.primary == agreement["equal_predictions"] > 0.7
    assert list(scores.student.values) == ["agreement_with_the_teacher"]
    assert 0 < agreement["output_distance"] < 1
    assert set(agreement) == {"equal_predictions", "output_distance"}
    assert scores.teacher.primary == 1
    assert set(record.stages[-1].epochs[-1].scores) == {"agreement_with_the_teacher"}
    assert record.scores["selection"].student.primary == max(
        epoch.scores["agreement_with_the_teacher"] for epoch in record.stages[-1].epochs
    )
    assert "accuracy" not in json.dumps(record.model_dump(mode="json", exclude={"recipe"}))


def test_the_command_line_without_labels(without_labels, text_folder, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(write_yaml(without_labels(onnx=True)))
    sentence = "No labels were given: scores on selection and validation are agreement with the teacher."
    assert main(["plan", str(file)]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert sentence in plan and "Metric: agreement with the teacher." in plan and "Examples of train by" not in plan

    assert main(["distill", str(file)]) == 0
    shown = capsys.readouterr()
    out, errors = (" ".join(stream.split()) for stream in shown)
    assert errors.count("data.train has no column 'label': the teacher labels it.") == 1
    assert out.startswith(f"{sentence} The 2-layer student of a 4-layer teacher has 0.")
    assert "accuracy" not in (out + errors).lower() and "of teacher" not in out and " keeps " not in out

    folder = tmp_path / "run"
    page, card = ((folder / name).read_text() for name in ("report.html", "model/README.md"))
    assert page.index(sentence) < page.index('<p class="answer">The 2-layer')
    assert card.split("---")[2].strip().splitlines()[2] == sentence
    for text in (page, card, (folder / "run.json").read_text()):
        assert "accuracy" not in text.lower() and "of the teacher's score" not in text
        assert "right and wrong" not in text.lower() and "model-index" not in text
    assert next(iter(json.loads((folder / "run.json").read_text())["data"])) == "labels"

    assert main(["evaluate", str(file)]) == 0
    assert "agreement with the teacher" in " ".join(capsys.readouterr().out.split())
    output = tmp_path / "predicted.csv"
    assert main(["predict", str(folder), str(text_folder / "validation.csv"), "--output", str(output)]) == 0
    assert {row["predicted_label"] for row in csv.DictReader(output.open(newline=""))} == {"neg", "pos"}
    assert main(["speed", str(folder / "model"), "--repeats", "2"]) == 0
    assert main(["report", str(folder)]) == 0


@pytest.mark.parametrize("name", ["soft_labels", "sid"])
def test_the_student_is_the_same_as_with_labels(without_labels, recipe, data_folder, teacher_folder, tmp_path, name):
    """Byte for byte, where no loss reads labels and the same rows are trained on."""
    schedule = {"name": name, "total_steps": 12}
    splits = {"validation": f"{data_folder}/validation.csv", "selection": f"{data_folder}/validation.csv"}
    teacher = {"path": str(teacher_folder), "base": None}
    labelled = distill(recipe(tmp_path / "labelled", data=splits, teacher=teacher, schedule=schedule))
    run = distill(without_labels(data=splits, schedule=schedule))
    assert (run / "model/model.safetensors").read_bytes() == (labelled / "model/model.safetensors").read_bytes()
    # Validation has labels here, so scores are those of any run.
    assert run.record.data.metric == "accuracy" and run.record.data.against_teacher == ()
    scores, others = (each.record.scores["validation"].student.values for each in (run, labelled))
    assert scores == others
    assert run.record.data.labels == "No labels were given for train: the teacher labelled it."


def test_labelled_validation_is_scored_by_its_labels_and_selection_by_the_teacher(without_labels, data_folder):
    data = {"validation": f"{data_folder}/validation.csv", "metric": "macro_f1"}
    record = distill(without_labels(data=data, schedule=SHORT, checkpoint="best")).record
    assert record.data.against_teacher == ("selection",) and record.data.metric == "macro_f1"
    assert set(record.scores["validation"].student.values) >= {"accuracy", "macro_f1"}
    assert list(record.scores["selection"].student.values) == [AGREEMENT] == list(record.stages[0].epochs[0].scores)
    assert record.data.labels == "No labels were given for train: scores on selection are agreement with the teacher."


def test_predictions_of_a_run_without_labels_have_no_labels(without_labels):
    run = distill(without_labels(schedule=SHORT))
    columns = read_predictions(run / "predictions.parquet", "validation")
    assert (columns["label"] == -100).all()
    equal = predict_classes(columns["teacher"]) == predict_classes(columns["student"])
    student = run.record.scores["validation"].student
    assert student.primary == equal.mean()
    assert student.standard_error == pytest.approx(equal.std(ddof=1) / np.sqrt(len(equal)))


def test_scores_without_labels_and_without_a_metric(without_labels, tmp_path, tokenizer, make_model):
    make_model(num_labels=1, problem_type="regression", seed=5).save_pretrained(tmp_path / "scorer")
    tokenizer.save_pretrained(tmp_path / "scorer")
    run = distill(without_labels(teacher={"path": str(tmp_path / "scorer")}, schedule={"total_steps": 20}))
    record, columns = run.record, read_predictions(run / "predictions.parquet", "validation")
    assert record.data.problem_type == "regression" and record.data.metric == "correlation_with_the_teacher"
    expected = np.corrcoef(columns["teacher"][:, 0], columns["student"][:, 0])[0, 1]
    assert record.scores["validation"].student.primary == pytest.approx(expected)
    distance = np.abs(columns["teacher"] - columns["student"]).mean()
    assert record.agreement["validation"]["output_distance"] == pytest.approx(distance)
    assert "pearson" not in (run / "report.html").read_text().lower()


def read_texts(text_folder):
    with (text_folder / "train.csv").open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


FORMS = {
    "texts": list,
    "dicts": lambda texts: [{"text": text} for text in texts],
    "columns": lambda texts: {"text": texts},
    "frame": lambda texts: pandas.DataFrame({"text": texts}),
    "dataset": lambda texts: Dataset.from_dict({"text": texts}),
    "iterator": lambda texts: ({"text": text} for text in texts),
}


@pytest.mark.parametrize("form", FORMS)
def test_python_objects_without_labels(text_folder, teacher_folder, form):
    rows = FORMS[form](read_texts(text_folder))
    job = assemble(*collect(None, {"teacher": str(teacher_folder), "train": rows}))
    assert job.data.against_teacher == ("selection", "validation")
    assert job.data.notes["rows"] == {"train": 405, "validation": 50, "selection": 45}


def test_a_teacher_in_memory_and_texts_in_a_list(text_folder, teacher_folder, tmp_path):
    run = distill(
        teacher=AutoModelForSequenceClassification.from_pretrained(teacher_folder),
        tokenizer=AutoTokenizer.from_pretrained(teacher_folder),
        train=read_texts(text_folder),
        schedule=SHORT,
        trainer={"use_cpu": True},
        output=tmp_path / "run",
    )
    assert run.record.data.against_teacher == ("selection", "validation")
    assert run.predict(["good1 good2"])[0].keys() == {"predicted_label", "probability_neg", "probability_pos"}


def test_a_dataset_of_named_splits_without_labels(text_folder, teacher_folder, tmp_path):
    texts = read_texts(text_folder)
    splits = {"train": Dataset.from_dict({"text": texts[:200]}), "validation": Dataset.from_dict({"text": texts[200:]})}
    DatasetDict(splits).save_to_disk(tmp_path / "data")
    data = {"path": str(tmp_path / "data"), "text": "text"}
    job = assemble(load_recipe({"data": data, "teacher": {"path": str(teacher_folder)}}))
    assert job.data.against_teacher == ("selection", "validation") and len(job.splits["validation"]) == 300


REFUSED = {
    "teacher.base: fine-tuning needs labels": {"teacher": {"path": None, "base": "BASE"}},
    "losses.gold_labels: this loss reads labels": {"losses": {"gold_labels": 0.5}},
    "baseline: it is trained on labels": {"baseline": True},
    "schedule.name: 'finetune' learns from labels alone": {"schedule": {"name": "finetune"}},
    "data.metric: 'macro_f1' needs labels": {"data": {"metric": "macro_f1"}},
    "data.train: no column 'verdict'. .*If there are no labels, leave out data.label": {"data": {"label": "verdict"}},
    "data.train: no column 'label'. The task 'sst2' has labels": {"data": {"task": "sst2"}},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_needs_labels_is_refused_before_any_work(without_labels, base_folder, tmp_path, sentence):
    changes = REFUSED[sentence]
    content = without_labels(**changes)
    if content["teacher"].get("base") == "BASE":
        content["teacher"]["base"] = str(base_folder)
    with pytest.raises(ValueError, match=sentence):
        refuse_early(load_recipe(content))
    with pytest.raises(ValueError, match=sentence):
        distill(content)
    assert not (tmp_path / "run").exists()


def test_a_loss_from_python_that_reads_labels_is_refused(without_labels, tmp_path):
    own = Loss(lambda student, labels: student[:, 0] * labels, needs=("student_logits", "labels"))
    content = without_labels()
    with pytest.raises(ValueError, match="losses.own: this loss reads labels, and data.train has no column 'label'"):
        distill(content, losses={"own": (own, 1.0)})


def test_a_collapsed_teacher_is_seen_without_labels(without_labels, teacher_folder, tokenizer, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    model.classifier.bias.data[1] = 1e3
    model.save_pretrained(tmp_path / "collapsed")
    tokenizer.save_pretrained(tmp_path / "collapsed")
    content = without_labels(teacher={"path": str(tmp_path / "collapsed")}, schedule=SHORT)
    with pytest.raises(ValueError, match=r"The teacher predicts 'pos' for all 45 examples of selection \(collapsed\)"):
        distill(content)
    content["teacher"]["allow_weak"] = True
    run = distill(content)
    answer = "Nothing can be concluded from this run: the teacher predicts the same for every example"
    assert answer in (run / "report.html").read_text()


def test_held_out_splits_without_labels_depend_on_the_texts_alone(without_labels, text_folder, tmp_path):
    texts = read_texts(text_folder)
    (tmp_path / "turned.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in reversed(texts)))
    jobs = [
        assemble(load_recipe(without_labels(data=data))) for data in ({}, {"train": str(tmp_path / "turned.jsonl")})
    ]
    for split in ("train", "selection", "validation"):
        chosen, others = (set(job.data.splits[split]["text1"].to_pylist()) for job in jobs)
        assert chosen == others
    assert "stratified" not in jobs[0].data.notes["selection"]


def test_json_lines_with_a_label_further_down_are_labelled(without_labels, tmp_path):
    rows = [{"text": "good1"}, *({"text": f"good{n}", "label": "pos"} for n in range(2, 40))]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="row 1 has no 'label'"):
        distill(without_labels(data={"train": str(tmp_path / "train.jsonl")}))


def test_groups_count_as_one_without_labels(without_labels, text_folder, tmp_path):
    texts = read_texts(text_folder)
    with (tmp_path / "grouped.csv").open("w", newline="") as file:
        rows = [(text, f"g{number // 5}") for number, text in enumerate(texts)]
        csv.writer(file).writerows([("text", "source"), *rows])
    data = {"train": str(tmp_path / "grouped.csv"), "group": "source"}
    record = distill(without_labels(data=data, schedule=SHORT)).record
    assert record.data.groups["validation"] < record.data.rows["validation"]
    with pytest.raises(ValueError, match="no column 'source'"):
        distill(without_labels(data={"group": "source"}))


def test_a_run_without_labels_resumes_and_is_evaluated(without_labels):
    content = without_labels(schedule=SHORT)
    run = distill(content)
    (run / "run.json").unlink()
    assert distill(content).record.scores == run.record.scores
    result = evaluate(content)
    student = result["scores"]["validation"]["student"]
    assert student[AGREEMENT] == run.record.scores["validation"].student.primary


def test_onnx_files_are_exported_later_without_labels(without_labels):
    run = distill(without_labels(schedule=SHORT))
    record = run.export()
    assert record.metric == AGREEMENT
    assert record.files["model"].scores == {AGREEMENT: run.record.scores["validation"].student.primary}
    assert "accuracy" not in (run / "model/README.md").read_text()
