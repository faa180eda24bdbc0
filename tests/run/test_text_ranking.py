"""Rankers through a whole run: queries in every layout, scores, files of the run, predictions, and what is refused."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import tiny_model
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, TrainerCallback

from innerdistill import distill, evaluate, load_recipe
from innerdistill.cli.main import main
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.predict import predict_file
from innerdistill.run.preview import refuse_early

TRAINER = {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "use_cpu": True}
COLUMNS = ["query", "document", "relevance"]


@pytest.fixture(scope="module")
def queries(sentences):
    """Queries of one word with three to five documents; the relevance counts how often the word occurs there."""
    texts = [text for text, _ in sentences]
    rows = []
    for number in range(120):
        documents = texts[number * 5 : number * 5 + 3 + number % 3]
        words = [word for document in documents for word in document.split()]
        query = f"{words[0]} word{number % 24} word{number // 24}"
        relevances = [min(2, document.split().count(words[0])) for document in documents]
        rows.append({"query": query, "document": documents, "relevance": relevances})
    return rows


def write_pairs(path, rows):
    """One row for each pair, those of neighbouring queries mixed."""
    pairs = [list(pair) for row in rows for pair in zip(row["document"], row["relevance"], strict=True)]
    names = [row["query"] for row in rows for _ in row["document"]]
    lines = [[name, *pair] for name, pair in zip(names, pairs, strict=True)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *lines[::2], *lines[1::2]])
    return str(path)


def write_lists(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory, queries, tokenizer):
    folder = tmp_path_factory.mktemp("ranking")
    teacher = tiny_model(layers=4, num_labels=1, seed=3)
    teacher.save_pretrained(folder / "plain")
    tokenizer.save_pretrained(folder / "plain")
    CrossEncoder(str(folder / "plain"), device="cpu", activation_fn=torch.nn.Tanh()).save_pretrained(
        str(folder / "teacher")
    )
    teacher.base_model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_pairs(folder / "train.csv", queries[:80])
    write_lists(folder / "validation.jsonl", queries[80:])
    return folder


@pytest.fixture(scope="module")
def make_recipe(files):
    def make(output, **changes):
        data = {"train": str(files / "train.csv"), "validation": str(files / "validation.jsonl")}
        data |= {"text": COLUMNS[:2], "label": "relevance", **changes.pop("data", {})}
        return {
            "data": data,
            "teacher": {"path": str(files / "teacher"), "folder": str(files / "cache"), "allow_weak": True},
            "schedule": {"total_steps": 8},
            "trainer": TRAINER,
            "output": str(files / output),
            **changes,
        }

    return make


@pytest.fixture(scope="module")
def run(make_recipe):
    losses = {"gold_labels": 0.5, "margin_mse": 0.1, "rank_kl": 1.0}
    return distill(make_recipe("run", losses=losses, onnx=True, baseline=True))


def test_modules_of_a_ranker_make_it_no_sentence_encoder(files, make_recipe):
    """CrossEncoder writes modules.json too."""
    assert (files / "teacher" / "modules.json").is_file()
    refuse_early(load_recipe(make_recipe("early", baseline=True)))


def test_queries_are_examples_and_their_files_are_found_to_be_rankings(run, queries):
    record = read_record(run.folder)
    assert record.data.problem_type == "text_ranking" and record.data.metric == "ndcg_at_10"
    columns = read_predictions(run.folder / "predictions.parquet", "validation")
    assert [labels.tolist() for labels in columns["label"]] == [row["relevance"] for row in queries[80:]]
    assert columns["row"].tolist() == list(range(1, 41)) and columns["student"][0].shape == (3 + 80 % 3, 1)
    stages = [set(stage.stage.losses) for stage in record.stages]
    assert stages[-1] == {"soft_labels", "gold_labels", "margin_mse", "rank_kl"}
    agreement = record.agreement["validation"]
    assert {"rank_correlation", "rank_correlation_error", "same_first", "same_first_error"} <= set(agreement)
    page = (run.folder / "report.html").read_text()
    assert "Ranks are those of a query" in page and "Neighbours are" not in page
    assert "queries with the same first document" in page and "nDCG@10" in page
    card = (run.folder / "model" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(from sentence_transformers import CrossEncoder.*?)```", card, re.DOTALL)
    scope = {}
    exec(code.replace("path/to/this/folder", str(run.folder / "model")), scope)
    (expected,) = run.predict([("good1", "good1 bad2")])
    pair = {"text": "good1", "text_pair": "good1 bad2"}
    assert scope["score"](pair) == pytest.approx(expected["predicted_score"], abs=1e-5) and "pipeline" not in code
    assert "This pipeline" not in card
    examples = json.loads((run.folder / "examples.json").read_text())["disagreements"]
    assert examples and examples[0]["texts"][1].startswith("1. ")


def test_predictions_are_enough_to_compute_every_score_again(run):
    record = read_record(run.folder)
    for split, scores in record.scores.items():
        columns, scoring = read_predictions(run.folder / "predictions.parquet", split), record.data.scoring
        examples = LabelledExamples.from_columns(columns, scoring=scoring)
        again = score_with_errors(examples, columns["student"], scoring=scoring)
        assert again["ndcg_at_10"] == pytest.approx(scores.student.primary, abs=1e-6)
        assert again["standard_error"] == pytest.approx(scores.student.standard_error, abs=1e-6)
        assert 0 < again["constant"] < 1 and again["rows"] <= len(columns["row"])


def test_predictions_equal_those_of_the_library(run, files, queries):
    model = CrossEncoder(str(run.folder / "model"), device="cpu")
    assert isinstance(model.activation_fn, torch.nn.Tanh)
    by_pair = predict_file(run.folder, files / "train.csv")
    pairs = list(zip(*(by_pair[name].to_pylist() for name in COLUMNS[:2]), strict=True))
    np.testing.assert_allclose(by_pair["predicted_score"].to_numpy(), model.predict(pairs), atol=1e-5)
    assert by_pair.num_rows == sum(len(row["document"]) for row in queries[:80])
    by_query = predict_file(run.folder, files / "validation.jsonl")
    for row, scores in zip(queries[80:], by_query["predicted_score"].to_pylist(), strict=True):
        expected = model.predict([(row["query"], document) for document in row["document"]])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    scores = run.predict([(queries[0]["query"], queries[0]["document"])])[0]["predicted_score"]
    single = run.predict([(queries[0]["query"], queries[0]["document"][0])])[0]["predicted_score"]
    assert scores[0] == pytest.approx(single, abs=1e-6)
    with pytest.raises(ValueError, match="example 1 is .*, expected a query with a document or a list of documents"):
        run.predict([("one", [])])


def test_a_cross_encoder_predicts_as_the_library_does(files, tmp_path):
    output = tmp_path / "out.jsonl"
    arguments = ["predict", str(files / "teacher"), str(files / "train.csv"), "--text", "query", "document"]
    assert main([*arguments, "--output", str(output)]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    model = CrossEncoder(str(files / "teacher"), device="cpu")
    expected = model.predict([(row["query"], row["document"]) for row in rows])
    np.testing.assert_allclose([row["predicted_score"] for row in rows], expected, atol=1e-5)


def test_a_ranker_without_a_run_is_exported_and_gets_no_guessed_recipe(files, tmp_path, capsys):
    shutil.copytree(files / "teacher", tmp_path / "model")
    assert main(["export", str(tmp_path / "model")]) == 0
    assert main(["init", str(files / "train.csv"), "--teacher", str(files / "teacher")]) == 2
    assert "this is a ranker, and init guesses no recipe" in capsys.readouterr().err


def test_without_labels_students_agree_with_their_teacher(make_recipe, files, queries):
    for name, rows in (("texts", queries[:80]), ("more", queries[80:])):
        write_lists(files / f"{name}.jsonl", [{key: row[key] for key in COLUMNS[:2]} for row in rows])
    data = {"train": str(files / "texts.jsonl"), "validation": str(files / "more.jsonl"), "label": None}
    record = read_record(distill(make_recipe("unlabelled", data=data)).folder)
    assert record.data.metric == "rank_correlation_with_the_teacher" and record.is_against_teacher
    assert record.scores["validation"].teacher.primary == pytest.approx(1)
    agreement = record.agreement["validation"]
    assert agreement["rank_correlation"] == pytest.approx(record.scores["validation"].student.primary, abs=1e-6)
    assert record.scores["validation"].student.constant == 0


def test_a_base_model_becomes_a_teacher_by_labels(make_recipe, files):
    teacher = {"base": str(files / "base"), "epochs": 2, "folder": str(files / "cache"), "allow_weak": True}
    record = read_record(distill(make_recipe("based", teacher=teacher, data={"problem_type": "text_ranking"})).folder)
    assert record.data.problem_type == "text_ranking" and record.scores["validation"].teacher is not None
    model = AutoModelForSequenceClassification.from_pretrained(files / "based" / "model")
    assert model.config.sentence_transformers["activation_fn"].endswith("Sigmoid")


class Interrupt(TrainerCallback):
    """Stops the process once, in the middle of a stage."""

    is_armed = True

    def on_step_end(self, args, state, control, **_):
        if Interrupt.is_armed and state.global_step == 2:
            Interrupt.is_armed = False
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_same_student(make_recipe, files):
    changes = {"losses": {"gold_labels": 1, "rank_kl": 1}, "checkpoint_minutes": 0}
    whole = distill(make_recipe("whole", **changes)).folder
    with pytest.raises(KeyboardInterrupt):
        distill(make_recipe("again", **changes), callbacks=[Interrupt()])
    assert not (files / "again" / "run.json").exists() and any((files / "again" / "checkpoints").rglob("*.safetensors"))
    again = distill(make_recipe("again", **changes), callbacks=[Interrupt()]).folder
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, again)]
    assert weights[0] == weights[1]
    scores = evaluate(make_recipe("whole", **changes))["scores"]["validation"]["student"]
    assert scores["ndcg_at_10"] == pytest.approx(read_record(whole).scores["validation"].student.primary, abs=1e-6)


def test_wrong_rows_are_refused_in_one_sentence(make_recipe, files, capsys):
    path = files / "wrong.csv"
    path.write_text("query,document,relevance\none,two,1\none,three,-1\n")
    arguments = [f"data.train={path}", "data.text=[query,document]", "data.label=relevance"]
    arguments += [f"teacher.path={files / 'teacher'}", f"output={files / 'wrong'}"]
    assert main(["distill", *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{path}: row 2: 'relevance' holds '-1', expected a number from 0 to 100" in said
    assert not (files / "wrong").exists()


def test_a_cross_encoder_of_other_scores_can_be_a_teacher_for_regression(make_recipe, files, data_folder):
    data = {"train": str(data_folder / "scores.csv"), "validation": None, "text": "text", "label": "score"}
    record = read_record(distill(make_recipe("scores", data={**data, "metric": "pearson"})).folder)
    assert record.data.problem_type == "regression"
