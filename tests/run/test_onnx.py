"""ONNX files of runs and models: beside the model, scored, timed, and refused if they answer otherwise."""

import json
import shutil
from datetime import UTC, datetime

import numpy as np
import onnxruntime
import pytest
from transformers import AutoTokenizer

from innerdistill import distill, export
from innerdistill.cli.main import main
from innerdistill.report.run_folder import read_predictions, read_record, write_record
from innerdistill.run import onnx as exporting
from innerdistill.run.onnx import list_onnx_warnings


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    schedule = {"name": "soft_labels"}
    return distill(recipe(tmp_path_factory.mktemp("runs") / "run", onnx=True, baseline=True, schedule=schedule))


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_a_run_leaves_files_that_onnxruntime_reads_alone(run, data_folder):
    record = read_record(run).onnx
    predictions = read_predictions(run / "predictions.parquet", "validation")
    rows = [line.split(",") for line in (data_folder / "validation.csv").read_text().splitlines()[1:]]
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    for name, closeness in (("float32", 1e-4), ("int8", 0.2)):
        path = run / "model" / record.files[name].file
        session = onnxruntime.InferenceSession(path)
        logits = []
        for text, _ in rows:
            inputs = tokenizer([text], return_tensors="np")
            asked = {node.name: inputs[node.name] for node in session.get_inputs()}
            logits.append(session.run(["logits"], asked)[0][0])
        assert np.allclose(logits, predictions["student"], atol=closeness * np.abs(predictions["student"]).max())
        accuracy = (np.argmax(logits, 1) == predictions["label"]).mean()
        assert accuracy == pytest.approx(record.files[name].scores["accuracy"])
        assert record.files[name].file_bytes == path.stat().st_size


def test_the_record_the_card_and_the_report_say_what_they_do(run, capsys):
    record = read_record(run)
    onnx = record.onnx
    assert onnx.rows == 140 and onnx.metric == "accuracy" and list(onnx.files) == ["model", "float32", "int8"]
    model, exact, rounded = onnx.files.values()
    assert model.scores["accuracy"] == record.scores["validation"].student.values["accuracy"]
    assert (
        exact.agreement["equal_predictions"] == 1
        and exact.standard_error == pytest.approx(2**0.5 / 140)  # no example differs
        and rounded.agreement["equal_predictions"] > 0.9
    )
    assert exact.largest_difference < 1e-4 < rounded.largest_difference
    assert (model.agreement, model.standard_error, model.largest_difference) == ({}, None, None)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "agreement with the model" in page and "A dash means" not in page
    assert "ONNX files" in page and "onnx/model_quantized.onnx" in page
    assert "onnx/model_quantized.onnx" in (run / "model" / "README.md").read_text()
    assert not (run / "baseline" / "model" / "onnx").exists() and read_record(run / "baseline").onnx is None


def test_everything_that_a_page_shows_is_timed_in_one_measurement(run):
    record, baseline = read_record(run), read_record(run / "baseline")
    assert record.times_onnx_with_models and record.onnx.length == record.speed.student.length
    assert record.speed.baseline.parameters == record.speed.student.parameters
    assert record.speed.baseline.latency_ms != baseline.speed.student.latency_ms  # which is of another measurement
    assert not baseline.times_onnx_with_models


def test_a_run_records_when_it_ended_and_what_it_took(run):
    record, baseline = read_record(run), read_record(run / "baseline")
    assert datetime.fromisoformat(record.finished) <= datetime.now(UTC)
    assert record.seconds >= sum(stage.seconds for stage in [*record.stages, *baseline.stages])


def test_without_the_key_nothing_is_written(recipe, tmp_path):
    folder = distill(recipe(tmp_path / "run", schedule={"name": "finetune"}))
    assert not (folder / "model" / "onnx").exists() and read_record(folder).onnx is None
    assert main(["report", str(folder)]) == 0
    assert "<h2>ONNX files" not in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_finished_run_is_exported_later_and_again(copied, capsys):
    before = read_record(copied)
    shutil.rmtree(copied / "model" / "onnx")
    write_record(copied, before.model_copy(update={"onnx": None}))
    for folder in (copied, copied / "model"):  # the model of a run means the run
        assert main(["export", str(folder)]) == 0
        after = read_record(copied)
        assert (copied / "model" / "onnx" / "model.onnx").is_file()
        assert after.onnx.files["int8"].scores == before.onnx.files["int8"].scores
        assert after.times_onnx_with_models
        assert after.model_copy(update={"onnx": before.onnx, "speed": before.speed}) == before
    printed = capsys.readouterr().out
    assert "onnx/model_quantized.onnx" in printed and "100.0 %" in printed
    assert sorted(path.name for path in (copied / "model" / "onnx").iterdir()) == ["model.onnx", "model_quantized.onnx"]


@pytest.mark.slow  # every export takes seconds
def test_scores_of_a_regression(recipe, data_folder, tmp_path, capsys):
    data = {"train": f"{data_folder}/scores.csv", "validation": f"{data_folder}/scores_validation.csv",
            "label": "score", "metric": "pearson"}  # fmt: skip
    folder = distill(recipe(tmp_path / "run", data=data, onnx=True, schedule={"name": "soft_labels"}))
    files = read_record(folder).onnx.files
    assert files["float32"].agreement["pearson"] == pytest.approx(1) and files["int8"].scores["pearson"] > 0.7
    assert main(["export", str(folder)]) == 0
    for text in (
        capsys.readouterr().out,
        (folder / "report.html").read_text(),
        (folder / "model/README.md").read_text(),
    ):
        assert "r = 1.0000" in text


def test_a_model_without_a_run_is_compared_on_random_tokens(teacher_folder, tmp_path, capsys):
    model = shutil.copytree(teacher_folder, tmp_path / "model")
    shutil.copytree(model, model / ".onnx.partial-1")  # left by a process that was killed
    assert main(["export", str(model)]) == 0
    assert "logit error" in capsys.readouterr().out
    assert not (model / ".onnx.partial-1").exists() and (model / "onnx" / "model_quantized.onnx").is_file()


def test_few_positions_and_a_tokenizer_that_makes_more_than_the_model_reads(make_model, tokenizer, tmp_path):
    make_model("distilbert", layers=1, max_position_embeddings=24).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "token_type_ids" in AutoTokenizer.from_pretrained(tmp_path).model_input_names
    record = export(tmp_path)
    assert record.files["int8"].scores is None and record.files["float32"].largest_difference < 1e-4
    assert record.length == 24


def test_a_run_survives_what_cannot_be_exported(recipe, tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("no such operator\nmore")

    content = recipe(tmp_path / "run", schedule={"name": "finetune"}, onnx=True)
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(content))
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "write_float32", fail)
        assert main(["distill", str(file)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no file of" in said and "RuntimeError: no such operator" in said and "The run in" in said
    trained = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert main(["distill", str(file), "onnx=false"]) == 0
    assert (tmp_path / "run" / "report.html").is_file() and read_record(tmp_path / "run").onnx is None
    assert main(["distill", str(file)]) == 0  # wants them still, and trains nothing
    assert read_record(tmp_path / "run").onnx is not None
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == trained
    assert main(["distill", str(file)]) == 2  # now it is finished


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_file_that_answers_otherwise_is_refused_and_the_old_one_stays(copied, monkeypatch, make_model, capsys):
    before = content(copied)
    write = exporting.write_float32
    other = make_model(layers=2, seed=9)
    monkeypatch.setattr(exporting, "write_float32", lambda model, path, **names: write(other, path, **names))
    assert main(["export", str(copied)]) == 2
    assert "differ from the model's by" in capsys.readouterr().err
    assert content(copied) == before


def test_other_data_than_the_runs_are_refused(copied, capsys):
    record = read_record(copied)
    data = record.data.model_copy(update={"fingerprint": "0" * 64})
    write_record(copied, record.model_copy(update={"data": data}))
    assert main(["export", str(copied)]) == 2
    assert "its data has changed since the run" in capsys.readouterr().err


def test_no_model(tmp_path, capsys):
    assert main(["export", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder." in capsys.readouterr().err
    assert main(["export", str(tmp_path)]) == 2
    assert "expected a model folder with a config.json" in capsys.readouterr().err


def test_a_loss_by_rounding_is_said(run):
    record = read_record(run).onnx
    assert list_onnx_warnings(None) == list_onnx_warnings(record) == []
    wanted = record.files["model"].scores["accuracy"]

    def lose(error):
        changes = {"scores": {"accuracy": wanted - 0.05}, "standard_error": error}
        files = {**record.files, "int8": record.files["int8"].model_copy(update=changes)}
        return record.model_copy(update={"files": files})

    (sentence,) = list_onnx_warnings(lose(0.02))
    assert sentence.startswith(
        f"onnx/model_quantized.onnx scores {wanted - 0.05:.3f} accuracy, the model {wanted:.3f}: a loss"
    )
    assert list_onnx_warnings(lose(0.03)) == []
