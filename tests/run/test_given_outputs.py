"""Runs without a teacher: outputs of another model, in columns of the data, take its place."""

import csv
import json

import numpy as np
import pandas
import pytest
from datasets import Dataset
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from innerdistill import distill, evaluate, load_recipe
from innerdistill.cli.main import main
from innerdistill.evaluation.predicted_classes import predict_classes
from innerdistill.models.heads import read_thresholds
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.preview import describe_run, refuse_early
from innerdistill.run.teacher_cache import fill_store
from innerdistill.training.schedules import Schedule
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import LOGITS
from innerdistill.training.trainer import DistillationTrainer

AGREEMENT = "agreement_with_the_teacher"
COLUMNS = {"pos": "probability_pos", "neg": "probability_neg"}
WHERE = "The teacher's outputs are the probabilities in the columns probability_neg, probability_pos."
WEIGHTS = "model/model.safetensors"
SHORT = {"name": "soft_labels", "total_steps": 12}


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def given_folder(fill_once, data_folder, teacher_folder):
    """Files as `predict` writes them with the teacher; texts.csv is train.csv without its labels."""

    def fill(folder):
        for name in ("train", "validation", "unlabelled"):
            source, output = str(data_folder / f"{name}.csv"), folder / f"{name}.csv"
            assert main(["predict", str(teacher_folder), source, "--text", "text", "--output", str(output)]) == 0
        rows = [
            {"text": row["text"], **{name: row[name] for name in COLUMNS.values()}}
            for row in read(folder / "train.csv")
        ]
        write(folder / "texts.csv", rows)

    return fill_once("given", fill)


@pytest.fixture
def given(recipe, given_folder, teacher_folder, tmp_path):
    """A recipe without a teacher as a mapping; the student starts from some layers of the model that is not named."""

    def make(name="run", **sections):
        content = recipe(tmp_path / name, **{"schedule": SHORT, **sections})
        content["data"] = {"train": f"{given_folder}/texts.csv", "text": "text", "probabilities": COLUMNS}
        content["data"] |= sections.get("data", {})
        content["teacher"] = {"folder": str(tmp_path / "stores"), **sections.get("teacher", {})}
        content["student"] = {"source": str(teacher_folder), "num_layers": 2, **sections.get("student", {})}
        return content

    return make


def test_a_run_is_scored_against_the_outputs(given):
    run = distill(given(schedule={"name": "soft_labels"}, checkpoint="best"))
    record = run.record
    assert record.data.against_teacher == ("selection", "validation") and record.data.names == ("neg", "pos")
    assert record.teacher.path is None and record.teacher.layers is None and record.teacher.is_given
    assert record.teacher.targets.cached.keys() == {"logits"} and record.teacher.targets.precision_live is None
    assert record.distances is None and record.layer_map == {} and record.speed.teacher is None
    assert record.stages[0].distances in (None, {})
    scores, agreement = record.scores["validation"], record.agreement["validation"]
    assert scores.student.primary == agreement["equal_predictions"] > 0.7 and scores.teacher.primary == 1
    assert record.scores["selection"].student.primary == max(
        epoch.scores[AGREEMENT] for epoch in record.stages[-1].epochs
    )
    columns = read_predictions(run / "predictions.parquet", "validation")
    assert (columns["label"] == -100).all()
    assert scores.student.primary == (predict_classes(columns["teacher"]) == predict_classes(columns["student"])).mean()
    assert run.model.config.id2label == {0: "neg", 1: "pos"} and run.model.config.num_hidden_layers == 2
    assert read_record(run).model_dump() == record.model_dump()


def test_the_outputs_are_those_of_the_rows(given, given_folder):
    run = distill(given())
    columns = read_predictions(run / "predictions.parquet", "validation")
    rows = read(given_folder / "texts.csv")
    expected = [
        [float(rows[row - 1]["probability_neg"]), float(rows[row - 1]["probability_pos"])] for row in columns["row"]
    ]
    np.testing.assert_allclose(softmax(columns["teacher"], axis=1), expected, rtol=1e-4)


def test_every_command(given, given_folder, data_folder, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(write_yaml(given(onnx=True)))
    refuse_early(load_recipe(file))
    described = describe_run(load_recipe(file))
    assert described.startswith("Distil the probabilities in probability_pos, probability_neg into a student from")
    assert "with 2 layers. Schedule: soft_labels." in described
    assert main(["plan", str(file)]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "Teacher: the probabilities in probability_pos, probability_neg. Student: 2 layers" in plan
    assert "Student: hidden size 32, 4 attention heads." in plan and "given outputs" in plan
    assert "scoring the student" in plan

    assert main(["distill", str(file)]) == 0
    shown = capsys.readouterr()
    out, errors = (" ".join(stream.split()) for stream in shown)
    assert "data.train has no column 'label': the outputs of data.probabilities stand in their place." in errors
    assert out.startswith("No labels were given: scores on selection and validation are agreement with the teacher.")
    assert "The 2-layer student has 0." in out and "layer teacher" not in out and "None" not in out
    page, card = ((tmp_path / "run" / name).read_text() for name in ("report.html", "model/README.md"))
    for text in (page, card):
        assert "accuracy" not in text.lower() and "layer teacher" not in text
    assert WHERE.replace("'", "&#39;") in page and "nothing is known of its layers, its size or its speed" in page
    assert "probability\\_neg" in card and "It learned from the outputs of another model" in card
    assert (
        "Where student and teacher disagree" in page
        or not json.loads((tmp_path / "run" / "examples.json").read_text())["disagreements"]
    )
    assert "Distance from the teacher" not in page and "Attention explorer" not in page

    assert main(["evaluate", str(file)]) == 0
    evaluated = " ".join(capsys.readouterr().out.split())
    assert "agreement with the teacher" in evaluated
    output = tmp_path / "predicted.csv"
    assert main(["predict", str(tmp_path / "run"), str(data_folder / "validation.csv"), "--output", str(output)]) == 0
    assert {row["predicted_label"] for row in read(output)} == {"neg", "pos"}
    assert main(["speed", str(tmp_path / "run"), "--repeats", "2"]) == 0
    assert "teacher of" not in capsys.readouterr().out
    assert main(["export", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    assert main(["distill", str(file)]) == 2  # it is finished
    assert main(["distill", str(file), "overwrite=true"]) == 0


def test_labels_in_train_are_used_and_score_the_outputs(given, given_folder):
    data = {"train": f"{given_folder}/train.csv", "validation": f"{given_folder}/validation.csv"}
    run = distill(given(data=data, losses={"gold_labels": 1}, baseline=True, schedule={"name": "soft_labels"}))
    record, page = run.record, (run / "report.html").read_text()
    assert record.data.metric == "accuracy" and record.data.labels is None
    assert {"soft_labels", "gold_labels"} <= set(record.stages[0].epochs[0].losses)
    teacher = record.scores["validation"].teacher
    columns = read_predictions(run / "predictions.parquet", "validation")
    assert teacher.primary == (predict_classes(columns["teacher"]) == columns["label"]).mean()
    assert record.differences["validation"].difference == pytest.approx(
        record.scores["validation"].student.primary - teacher.primary
    )
    assert "its teacher's outputs" in " ".join(page.split()).replace("&#39;", "'") and "baseline" in page
    baseline = read_record(run / "baseline")
    assert baseline.teacher.fingerprint == record.teacher.fingerprint and baseline.teacher.targets.cached == {}
    assert baseline.agreement["validation"]["equal_predictions"] > 0.5


def test_the_schedule_without_distillation(given, given_folder):
    data = {"train": f"{given_folder}/train.csv"}
    record = distill(given(data=data, schedule={"name": "finetune", "total_steps": 6})).record
    assert record.teacher.targets.cached == {} and set(record.stages[0].stage.losses) == {"gold_labels"}


def test_validation_with_labels_and_without_outputs(given, data_folder, capsys):
    content = given(data={"validation": f"{data_folder}/validation.csv", "test": f"{data_folder}/unlabelled.csv"})
    run = distill(content)
    record, page = run.record, (run / "report.html").read_text()
    assert record.data.metric == "accuracy" and record.data.against_teacher == ("selection",)
    assert record.scores["validation"].teacher is None and "validation" not in record.agreement
    assert record.agreement.keys() == {"selection"} and set(record.scores) == {"selection", "validation"}
    assert "teacher" not in read_predictions(run / "predictions.parquet", "validation")
    assert read_predictions(run / "predictions.parquet", "selection")["teacher"].shape == (50, 2)
    assert "The validation split has no such columns, so it shows no agreement with the teacher." in page
    assert "Right and wrong together" not in page and "None" not in page
    card = (run / "model/README.md").read_text()
    assert "| metric | student |" in card and "None" not in card
    result = evaluate(content)
    assert result["scores"]["validation"]["student"]["accuracy"] == record.scores["validation"].student.primary
    assert run._repr_html_()


def test_texts_without_labels_are_added_with_their_outputs(given, given_folder, data_folder):
    data = {"train": f"{given_folder}/train.csv", "unlabelled": f"{given_folder}/unlabelled.csv"}
    run = distill(given(data=data))
    assert run.record.data.rows["unlabelled"] == 100
    assert run.record.teacher.targets.cached["logits"] == 4 * 2 * (run.record.data.rows["train"] + 100)
    with pytest.raises(ValueError, match="data.unlabelled: there is no teacher for its texts"):
        distill(given("other", data={"unlabelled": f"{data_folder}/unlabelled.csv"}))


def store_teacher_logits(content):
    """The logits that a run with a teacher learns from and is scored against, by row of the training file."""
    job, logits = assemble(load_recipe(content)), {}
    for split, examples in job.splits.items():
        store = job.make_target_store(examples)
        fill_store(job.teacher, store, [LOGITS], examples, job.collate)
        logits |= dict(zip(job.splits[split]["row"], np.array(store.arrays[LOGITS]).tolist(), strict=True))
    return logits


def test_the_student_is_that_of_the_teacher_whose_outputs_are_given(given, given_folder, teacher_folder, tmp_path):
    """To the byte with its logits; from the probabilities of `predict`, to the digits that these have."""
    teacher = {"path": str(teacher_folder), "targets": "cache"}
    schedule = {"name": "soft_labels", "total_steps": 60}
    with_teacher = given("teacher", data={"probabilities": None}, teacher=teacher, schedule=schedule, temperature=2.0)
    expected = distill(with_teacher)
    logits = store_teacher_logits(with_teacher)
    rows = read(given_folder / "texts.csv")
    for number, row in enumerate(rows, start=1):
        row |= dict(zip(("logit_neg", "logit_pos"), logits[number], strict=True))
    data = {"train": write(tmp_path / "logits.csv", rows), "probabilities": None}
    options = {"schedule": schedule, "temperature": 2.0}
    exact = distill(given("exact", data={**data, "logits": {"pos": "logit_pos", "neg": "logit_neg"}}, **options))
    assert (exact / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
    configs = [json.loads((run / "model/config.json").read_text()) for run in (exact, expected)]
    assert configs[0] == configs[1]
    assert exact.record.student.start == expected.record.student.start
    assert exact.record.scores == expected.record.scores and exact.record.agreement == expected.record.agreement

    near = distill(given("near", **options))
    columns = [read_predictions(run / "predictions.parquet", "validation") for run in (near, expected)]
    difference = columns[0]["student"] - columns[1]["student"]
    assert 0 < np.abs(difference).max() < 0.01


def test_rows_in_memory_give_the_student_of_the_file(given, given_folder, teacher_folder, tmp_path):
    content = given("file")
    in_file = distill(content)
    rows = [
        {**row, **{name: float(row[name]) for name in COLUMNS.values()}} for row in read(given_folder / "texts.csv")
    ]
    lists = [{"text": row["text"], "scores": [row["probability_neg"], row["probability_pos"]]} for row in rows]
    model, tokenizer = (
        kind.from_pretrained(teacher_folder) for kind in (AutoModelForSequenceClassification, AutoTokenizer)
    )
    options = {name: content[name] for name in ("schedule", "trainer", "teacher")}
    with_lists = {"labels": ["neg", "pos"], "probabilities": "scores"}
    for number, (train, data) in enumerate(
        (
            (rows, {"probabilities": COLUMNS}),
            (pandas.DataFrame(rows), {"probabilities": COLUMNS}),
            (iter(rows), {"probabilities": COLUMNS}),
            (Dataset.from_list(lists), with_lists),
        )
    ):
        student = {"source": model, "num_layers": 2}
        output = tmp_path / f"memory-{number}"
        run = distill(train=train, data=data, student=student, tokenizer=tokenizer, output=output, **options)
        assert (run / WEIGHTS).read_bytes() == (in_file / WEIGHTS).read_bytes()
    with pytest.raises(ValueError, match="tokenizer: the student is an object, so give its tokenizer too"):
        distill(train=rows, data={"probabilities": COLUMNS}, student=model, schedule="soft_labels")


def test_all_layers_of_the_source_by_default(given, teacher_folder):
    job = assemble(load_recipe(given(student={"num_layers": None})))
    assert job.num_layers == 4 and job.build_fresh_student().config.num_hidden_layers == 4
    with pytest.raises(ValueError, match="student.layers|student.num_layers"):
        assemble(load_recipe(given(student={"num_layers": 5})))
    with pytest.raises(ValueError, match="student.layers|student.num_layers"):
        refuse_early(load_recipe(given(student={"num_layers": 5})))


def test_a_run_that_is_stopped_resumes_to_the_byte(given, monkeypatch, given_folder):
    class Killed(BaseException):
        pass

    whole, step = distill(given("whole", checkpoint_minutes=0)), DistillationTrainer.training_step
    calls = []

    def die_at_seventh(*arguments, **options):
        calls.append(None)
        if len(calls) == 7:
            raise Killed
        return step(*arguments, **options)

    content = given("stopped", checkpoint_minutes=0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(DistillationTrainer, "training_step", die_at_seventh)
        distill(content)
    resumed = distill(content)
    assert (resumed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert resumed.record.scores == whole.record.scores
    (resumed / "run.json").unlink()  # trained, and not yet scored
    assert distill(content).record.scores == whole.record.scores


def test_other_outputs_are_another_run(given, given_folder, tmp_path):
    rows = read(given_folder / "texts.csv")
    file = tmp_path / "texts.csv"
    run = distill(given(data={"train": write(file, rows)}))
    rows[0]["probability_neg"], rows[0]["probability_pos"] = "0.5", "0.5"
    write(file, rows)
    (run / "report.html").unlink()
    with pytest.raises(ValueError, match="holds a run of other data"):
        distill(given(data={"train": str(file)}))


def test_label_sets_and_their_thresholds(given, data_folder, sentences, tmp_path):
    """Bernoulli outputs. Thresholds of both are chosen on selection where there are labels; else the outputs have 0.5."""
    rows = []
    for text, _ in sentences[:500]:
        good, bad = (sum(word.startswith(kind) for word in text.split()) for kind in ("good", "bad"))
        names = [name for name, count in (("good", good), ("bad", bad)) if count > 1]
        shares = [round(1 / (1 + np.exp(-2.0 * count + 3)), 6) for count in (good, bad)]
        rows.append({"text": text, "labels": ",".join(names), "g": shares[0], "b": min(1.0, shares[1])})
    data = {"probabilities": {"good": "g", "bad": "b"}, "problem_type": "multi_label_classification"}
    labelled = {**data, "train": write(tmp_path / "rows.csv", rows), "label": "labels"}
    run = distill(given(data=labelled, schedule={"name": "soft_labels"}))
    record, columns = run.record, read_predictions(run / "predictions.parquet", "selection")
    assert record.data.problem_type == "multi_label_classification" and record.data.names == ("bad", "good")
    assert record.teacher.thresholds is not None and record.scores["validation"].teacher.primary > 0.9
    cut = np.log(record.teacher.thresholds[0] / (1 - record.teacher.thresholds[0]))
    by_row = {number: row["b"] for number, row in enumerate(rows, start=1)}
    expected = [np.log(by_row[row] / (1 - by_row[row])) - cut for row in columns["row"]]
    np.testing.assert_allclose(columns["teacher"][:, 0], expected, rtol=1e-3, atol=1e-3)
    without = [{name: row[name] for name in ("text", "g", "b")} for row in rows]
    alone = {**data, "train": write(tmp_path / "alone.csv", without)}
    run = distill(given("alone", data=alone))
    assert run.record.teacher.thresholds is None and run.record.data.against_teacher == ("selection", "validation")
    assert read_thresholds(run.model.config) is not None
    assert run.export().files["float32"].scores is not None


REFUSED = {
    "data.probabilities: these columns take the teacher's place, but teacher.path (TEACHER) is set too": {
        "teacher": {"path": "TEACHER"}
    },
    "data.probabilities: these columns take the teacher's place, but teacher.base (TEACHER) is set too": {
        "teacher": {"base": "TEACHER"}
    },
    "teacher.internal: it is for losses that compare layers": {"teacher": {"internal": "TEACHER"}},
    "student.source: with data.probabilities there is no teacher to copy layers from": {
        "student": {"source": "teacher"}
    },
    "student.source: with data.logits there is no teacher": {
        "student": {"source": "random"},
        "data": {"probabilities": None, "logits": COLUMNS},
    },
    "student.head: with data.probabilities there is no teacher whose head": {"student": {"head": "teacher"}},
    "schedule.name: 'sid' compares the student's layers with a teacher's, and with data.probabilities there are none; "
    "set schedule.name=soft_labels.": {"schedule": {"name": "sid"}},
    "schedule.name: 'joint' compares the student's layers": {"schedule": {"name": "joint"}},
    "baseline: it is trained on labels": {"baseline": True},
    "losses.gold_labels: this loss reads labels": {"losses": {"gold_labels": 1}},
    "data: both data.probabilities and data.logits are set": {"data": {"logits": COLUMNS}},
    "no column 'p_good'": {"data": {"probabilities": {"pos": "p_good", "neg": "probability_neg"}}},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_needs_a_teacher_is_refused_before_any_work(given, teacher_folder, tmp_path, sentence):
    changes = json.loads(json.dumps(REFUSED[sentence]).replace("TEACHER", str(teacher_folder)))
    content = given(**changes)
    for refuse in (lambda content: refuse_early(load_recipe(content)), distill):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as error:
            refuse(content)
        assert sentence.replace("TEACHER", str(teacher_folder)) in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_default_schedule_says_what_to_write(given):
    content = given()
    del content["schedule"]
    with pytest.raises(ValueError, match="set schedule.name=soft_labels"):
        distill(content)


def test_a_schedule_from_python_that_compares_layers_is_refused(given):
    def compare(plan):
        return [Stage("both", {"cls_cosine": 1.0, "soft_labels": 1.0}, {1: 2}, steps=2)]

    schedule = Schedule(compare, has_internal_stages=False, compares_layers=False)
    with pytest.raises(ValueError, match="schedule.name: 'own' compares the student's layers with a teacher's"):
        distill(given(schedule={"name": "own"}), schedules={"own": schedule})


def test_other_problem_types_are_refused(given):
    with pytest.raises(ValueError, match="data.probabilities: labels of regression are numbers already"):
        distill(given(data={"metric": "pearson", "label": "text"}))
    with pytest.raises(ValueError, match="data.probabilities: labels of regression are numbers already"):
        distill(given(data={"problem_type": "regression"}))


def test_outputs_that_are_all_alike_or_swapped_are_seen(given, given_folder, tmp_path):
    rows = [{**row, "probability_neg": 0.9, "probability_pos": 0.1} for row in read(given_folder / "texts.csv")]
    content = given(data={"train": write(tmp_path / "alike.csv", rows)})
    with pytest.raises(ValueError, match=r"The teacher predicts 'neg' for all .* \(collapsed\)") as error:
        distill(content)
    assert "Check that the columns of data.probabilities belong to these texts, each to its label." in str(error.value)
    content["teacher"]["allow_weak"] = True
    assert "Nothing can be concluded" in (distill(content) / "report.html").read_text()
    swapped = {"pos": "probability_neg", "neg": "probability_pos"}
    data = {"train": f"{given_folder}/train.csv", "probabilities": swapped}
    with pytest.raises(ValueError, match="Check data.probabilities: the outputs for neg, pos mean pos, neg"):
        distill(given("swapped", data=data))


def test_a_store_that_cannot_be_written_is_named(given, tmp_path):
    (tmp_path / "stores").write_text("")
    with pytest.raises(ValueError, match="teacher.targets: the teacher outputs cannot be cached in"):
        distill(given())
