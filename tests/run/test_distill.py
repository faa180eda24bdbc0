"""Whole runs on tiny models: every schedule, classes and scores, and what a run leaves behind."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from innerdistill import distill, evaluate, finetune, load_recipe
from innerdistill.cli.printing import print_summary
from innerdistill.evaluation.compare import score_with_errors
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.losses.loss import Loss
from innerdistill.models.families import encoder_layers
from innerdistill.report.page import write_report
from innerdistill.report.record import Scores
from innerdistill.report.run_folder import read_predictions, read_record
from innerdistill.run.assemble import assemble
from innerdistill.run.finetune import load_or_finetune_teacher
from innerdistill.run.predict import predict_file, write_tables
from innerdistill.training.schedules import SCHEDULES, Schedule
from innerdistill.training.trainer import DistillationTrainer


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    """One SID run with its plainly fine-tuned baseline."""
    return distill(recipe(tmp_path_factory.mktemp("runs") / "sid", baseline=True))


@pytest.fixture
def scores(data_folder):
    return {
        "train": f"{data_folder}/scores.csv", "validation": f"{data_folder}/scores_validation.csv",
        "label": "score", "metric": "pearson",
    }  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_on_classes(recipe, tmp_path, schedule):
    folder = distill(recipe(tmp_path / "run", schedule={"name": schedule, "classification_epochs": 1}))
    record = read_record(folder)
    assert record.scores["validation"].teacher.values["accuracy"] > 0.85
    assert len(record.stages) == {"all_layers": 2, "pid": 3, "sid": 3}.get(schedule, 1)
    for stage in record.stages:
        assert stage.steps > 0 and stage.ended == "epochs done" and stage.epochs[-1].scores["accuracy"] > 0
    if schedule in ("all_layers", "sid"):
        for layer, before in record.distances.before.items():
            assert record.distances.after[layer].attention_kl < before.attention_kl


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_on_scores(recipe, scores, tmp_path, schedule):
    record = read_record(distill(recipe(tmp_path / "run", data=scores, schedule={"name": schedule, "total_steps": 12})))
    assert record.scores["validation"].teacher.values["pearson"] > 0.8
    assert set(record.agreement["validation"]) == {"pearson", "mse"}


def test_the_objectives_of_other_papers_in_a_whole_run(recipe, tmp_path):
    names = ("attention_score_mse", "hidden_mse", "token_cosine", "relation_kl", "normalised_cls_mse")
    rivals = dict.fromkeys(names, 1.0)
    losses = {"attention_kl": 0.0, "cls_cosine": 0.0, **rivals}
    schedule = {"name": "all_layers", "epochs_per_layer": 2, "classification_epochs": 1}
    record = read_record(distill(recipe(tmp_path / "run", schedule=schedule, losses=losses)))
    first, *_, last = (epoch.losses for epoch in record.stages[0].epochs)
    # Values are for the student's layers 1 and 2, and of the embeddings.
    assert set(first) == {"loss", "hidden_mse/0", *(f"{name}/{layer}" for name in rivals for layer in (1, 2))}
    assert all(last[name] < first[name] for name in first if name != "hidden_mse/0")


@pytest.mark.parametrize("kind", ["classes", "scores"])
def test_soft_labels_alone_bring_a_fresh_student_to_its_teacher(recipe, scores, tmp_path, kind):
    changes = {"schedule": {"name": "soft_labels", "classification_epochs": 12}, "student": {"source": "random"}}
    record = read_record(distill(recipe(tmp_path / "run", data=scores if kind == "scores" else {}, **changes)))
    scores = record.scores["validation"]
    assert scores.student.primary >= 0.9 * scores.teacher.primary


def test_the_result_works_with_transformers_alone(run, data_folder):
    record, rows = read_record(run), read_predictions(run / "predictions.parquet", "validation")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    model = AutoModelForSequenceClassification.from_pretrained(run / "model")
    texts = [line.split(",")[0] for line in (data_folder / "validation.csv").read_text().splitlines()[1:]]
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    assert np.allclose(logits, rows["student"], atol=1e-4)
    assert (logits.argmax(1) == rows["label"]).mean() == record.scores["validation"].student.values["accuracy"]
    assert pipeline("text-classification", model=str(run / "model"))("good1 good2 word3")[0]["label"] == "pos"
    files = {path.name for path in (run / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)


def test_every_score_can_be_computed_again(run):
    record = read_record(run)
    for split in ("selection", "validation"):
        rows = read_predictions(run / "predictions.parquet", split)
        for model in ("teacher", "student"):
            again = score_with_errors(
                LabelledExamples.from_columns(rows, scoring=record.data.scoring),
                rows[model],
                scoring=record.data.scoring,
            )
            assert Scores.model_validate(again) == getattr(record.scores[split], model)
        again = record.problem_type.predictions.compare(rows["label"], rows["teacher"], rows["student"])
        assert again == record.agreement[split]


def test_report_and_card_show_the_scores(run):
    record, page = read_record(run), write_report(run).read_text()
    card = (run / "model" / "README.md").read_text()
    for scores in (record.scores["validation"].teacher, record.scores["validation"].student):
        assert f"{scores.values['accuracy']:.3f}" in page and f"{scores.values['accuracy']:.4f}" in card
    assert "baseline" in page and page.count("<svg xmlns") == 2
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_what_rounds_the_numbers_is_recorded(run):
    assert f"{torch.get_num_threads()} of {os.cpu_count()} cores" in read_record(run).machine


def test_the_baseline_has_the_same_steps(run):
    steps = [read_record(folder).steps for folder in (run, run / "baseline")]
    assert steps[0] == steps[1]


def test_repeated_run_gives_the_same_bytes(recipe, tmp_path):
    short = {"total_steps": 24}
    runs = [distill(recipe(tmp_path / str(number), schedule=short)) for number in range(2)]
    first, second = ((run / "model" / "model.safetensors").read_bytes() for run in runs)
    assert first == second
    other = distill(recipe(tmp_path / "other", schedule=short, seed=2))
    assert (other / "model" / "model.safetensors").read_bytes() != first


def test_evaluate_says_what_run_json_says(run):
    scores = evaluate(load_recipe(run / "recipe.yaml"))["scores"]
    assert scores == json.loads((run / "run.json").read_text())["scores"]


def test_predict_file(run, data_folder, tmp_path):
    table = predict_file(run, data_folder / "validation.csv")
    rows = read_predictions(run / "predictions.parquet", "validation")
    labels = [("neg", "pos")[index] for index in rows["student"].argmax(1)]
    assert table["predicted_label"].to_pylist() == labels
    assert np.allclose(np.add(table["probability_neg"], table["probability_pos"]), 1)
    for ending in ("csv", "jsonl", "parquet"):
        write_tables([table], tmp_path / f"out.{ending}")
        assert (tmp_path / f"out.{ending}").stat().st_size > 1000


def test_a_given_teacher_and_the_best_checkpoint(recipe, teacher_folder, tmp_path):
    content = recipe(tmp_path / "run", checkpoint="best", schedule={"name": "soft_labels", "classification_epochs": 4})
    content["teacher"] = {"path": str(teacher_folder)}
    record = read_record(distill(content))
    epochs = record.stages[0].epochs
    best = max(epoch.scores["accuracy"] for epoch in epochs)
    assert record.scores["selection"].student.values["accuracy"] == pytest.approx(best)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_unlabelled_rows_are_distilled_on(recipe, data_folder, tmp_path):
    common = {"data": {"unlabelled": f"{data_folder}/unlabelled.csv"}, "teacher": {"epochs": 1}}
    steps = []
    for name, schedule_name in (("run", "soft_labels"), ("plain", "finetune")):
        schedule = {"name": schedule_name, "classification_epochs": 1}
        steps.append(read_record(distill(recipe(tmp_path / name, schedule=schedule, **common))).stages[0].steps)
    assert steps[0] > steps[1]
    teacher = {read_record(tmp_path / name).teacher.fingerprint for name in ("run", "plain")}
    assert len(teacher) == 1  # unlabelled rows are the student's only


def test_runs_with_and_without_unlabelled_rows_share_a_teacher(recipe, data_folder, tmp_path, caplog):
    contents, records = [], []
    for name, data in (("plain", {}), ("more", {"unlabelled": f"{data_folder}/unlabelled.csv"})):
        content = recipe(tmp_path / name, data=data)
        content["teacher"] |= {"epochs": 1, "folder": str(tmp_path / "teachers")}
        contents.append(content)
        records.append(read_record(finetune(content)))
    plain, more = records
    assert plain.stages == more.stages  # the same, not one just like it
    (cached,) = (tmp_path / "teachers").glob("custom-*")
    assert "unlabelled" not in read_record(cached).data.rows
    assert "unlabelled" in more.data.rows and more.recipe.data.unlabelled is not None
    (tmp_path / "more" / "report.html").unlink()
    with caplog.at_level("INFO", logger="innerdistill"):
        finetune(contents[1])  # the record is taken for one of these data
    assert "Fine-tune the teacher" not in caplog.text


def test_a_teacher_from_finetune_is_cached_for_distill(recipe, tmp_path, capsys, monkeypatch):
    """It outlives its run folder, and a baseline is the student's only."""
    teacher = {"epochs": 1, "folder": str(tmp_path / "teachers")}
    schedule = {"name": "soft_labels", "total_steps": 4}
    content = recipe(tmp_path / "teacher", teacher=teacher, schedule=schedule, baseline=True)
    folder = finetune(content).folder
    print_summary(folder)
    shown = capsys.readouterr().out
    assert "teacher" in shown and "student" not in shown and "baseline" not in shown
    assert {path.name for path in folder.iterdir()} == {
        "recipe.yaml", "model", "run.json", "predictions.parquet", "tensorboard", "report.html",
    }  # fmt: skip
    assert (folder / "model" / "README.md").read_text().startswith("---")
    (cached,) = (tmp_path / "teachers").glob("custom-*")
    weights = [(place / "model" / "model.safetensors").read_bytes() for place in (folder, cached)]
    assert weights[0] == weights[1]
    with pytest.raises(ValueError, match="holds a fine-tuned teacher; name another one"):
        distill(content)
    (folder / "model" / "model.safetensors").write_bytes(b"")
    trained = []
    original = DistillationTrainer.training_step
    monkeypatch.setattr(DistillationTrainer, "training_step", lambda *args: (trained.append(1), original(*args))[1])
    run = distill({**content, "output": str(tmp_path / "run")})
    assert len(trained) == 4 + 4  # student and baseline
    assert read_record(run).teacher.path == f"{cached}/model"
    again = finetune({**content, "output": str(tmp_path / "again")})
    assert len(trained) == 8 and (again / "model" / "model.safetensors").read_bytes() == weights[0]


def test_a_baseline_is_added_to_a_finished_run(recipe, tmp_path, monkeypatch):
    content = recipe(tmp_path / "run", schedule={"name": "soft_labels", "total_steps": 4})
    before = read_record(distill(content))
    with pytest.raises(ValueError, match=r"holds a finished run; .*in Python overwrite=True"):
        distill(content)
    trained = []
    original = DistillationTrainer.training_step
    monkeypatch.setattr(DistillationTrainer, "training_step", lambda *args: (trained.append(1), original(*args))[1])
    folder = distill({**content, "baseline": True})
    after = read_record(folder)
    assert len(trained) == 4 and after.speed.baseline is not None  # all are timed once more, in turns
    own = {"speed": before.speed, "seconds": before.seconds, "finished": before.finished}
    assert after.model_copy(update=own) == before
    assert read_record(folder / "baseline").steps == 4 and "baseline" in (folder / "report.html").read_text()


def test_a_loss_from_outside_the_package(recipe, tmp_path):
    def hidden_mse(teacher, student, token_mask):
        squares = (teacher - student).square().mean(-1)
        return (squares * token_mask).sum(-1) / token_mask.sum(-1)

    schedule = {"name": "pid", "classification_epochs": 1}
    content = recipe(tmp_path / "run", losses={"attention_kl": 0, "cls_cosine": 0}, schedule=schedule)
    weighted = {"hidden_mse": (Loss(hidden_mse, needs=("hidden", "token_mask")), 0.1)}
    folder = distill(content, losses=weighted)
    assert evaluate(content, losses=weighted)["scores"] == json.loads((folder / "run.json").read_text())["scores"]
    losses = [set(epoch.losses) for stage in read_record(folder).stages for epoch in stage.epochs]
    assert {"hidden_mse/1", "loss"} in losses


def test_a_schedule_without_internal_stages(recipe, tmp_path, monkeypatch):
    def soft_then_gold(plan):
        return [
            plan.build_classification_stage({f"{kind}_labels": 1.0}, steps=6, name=kind) for kind in ("soft", "gold")
        ]

    traits = {"has_internal_stages": False, "compares_layers": False}
    monkeypatch.setitem(SCHEDULES, "soft_then_gold", Schedule(soft_then_gold, **traits))
    losses = {"attention_kl": 0, "cls_cosine": 0}
    record = read_record(distill(recipe(tmp_path / "run", losses=losses, schedule={"name": "soft_then_gold"})))
    assert [(stage.stage.name, stage.steps) for stage in record.stages] == [("soft", 6), ("gold", 6)]


def test_layer_map_and_student_options(recipe, tmp_path):
    content = recipe(
        tmp_path / "run",
        teacher={"epochs": 1},
        student={"num_layers": 3, "source": "base", "layers": [1, 2, 4], "head": "teacher"},
        layer_map={3: 4},
        schedule={"name": "sid", "classification_always": True, "threshold": 1.9},
        pad_to_max_length=True,
        group_by_length=False,
        temperature=2.0,
    )
    record = read_record(distill(content))
    assert record.layer_map == {3: 4} and record.student.layers == 3
    assert record.stages[0].ended.startswith("threshold")


def test_kept_targets_give_the_live_student_and_are_shared_by_seeds(recipe, teacher_folder, tmp_path):
    def run(name, **changes):
        content = recipe(tmp_path / name, data={"train_rows": 160}, **changes)
        keep = {"folder": str(tmp_path / "teachers"), "precision": "float32"}
        content["teacher"] = {"path": str(teacher_folder), **keep, **changes.get("teacher", {})}
        return read_record(distill(content))

    live, kept = (run(mode, teacher={"targets": mode}) for mode in ("live", "cache"))
    assert live.teacher.targets.cached == {}
    names = list(kept.teacher.targets.cached)
    assert names == ["logits", *(f"layer_{n}_{kind}" for kind in ("cls", "attention", "entropy") for n in ("02", "04"))]
    for ours, theirs in zip(live.stages, kept.stages, strict=True):
        for first, second in zip(ours.epochs, theirs.epochs, strict=True):
            assert first.losses == pytest.approx(second.losses, rel=2e-3, abs=1e-4)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("teachers/targets/*/*.npy")}
    run("other", seed=2, teacher={"targets": "cache"})
    assert len(files) == 7 + 2  # and the logits of selection and validation
    assert kept.scores["validation"].teacher == live.scores["validation"].teacher
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("teachers/targets/*/*.npy")} == files


def test_a_store_that_cannot_be_written(recipe, teacher_folder, tmp_path, caplog):
    (tmp_path / "teachers").write_text("a file where a folder should be")
    content = recipe(tmp_path / "run", schedule={"name": "soft_labels"})
    content["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers"), "targets": "cache"}
    with pytest.raises(ValueError, match=r"teacher.targets: the teacher outputs cannot be cached in .*Not a directory"):
        distill(content)
    content["teacher"]["targets"], content["overwrite"] = "auto", True
    assert read_record(distill(content)).teacher.targets.cached == {}
    assert "the teacher runs in every step instead" in caplog.text


def test_layers_that_cannot_be_compared_do_not_lose_the_run(recipe, tokenizer, make_model, tmp_path):
    """A student's sliding window under a teacher's whole layer: allowed without the KL, whose value is infinite."""
    make_model("modernbert", id2label={0: "neg", 1: "pos"}, local_attention=4).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    content = recipe(tmp_path / "run", student={"layers": [2, 3]}, layer_map=[1, 3], losses={"attention_kl": 0})
    content["teacher"] = {"path": str(tmp_path / "teacher"), "folder": str(tmp_path / "teachers"), "allow_weak": True}
    folder = distill(content)
    assert read_record(folder).distances.after[1].attention_kl is None
    shown = json.loads((folder / "examples.json").read_text())["attention"][0]["layers"]
    assert None in shown["1"]["kl"]
    assert None not in shown["2"]["kl"]
    page = write_report(folder).read_text()
    assert "all heads ∞" in page
    assert not re.search(r"\d{20}", page)  # a hidden key's stand-in for minus infinity


def test_f1_is_of_the_second_label_of_the_data_whatever_its_id_in_the_model(recipe, tokenizer, make_model, tmp_path):
    for names, positive in ((("neg", "pos"), 1), (("pos", "neg"), 0)):
        make_model(id2label=dict(enumerate(names))).save_pretrained(tmp_path / "teacher")
        tokenizer.save_pretrained(tmp_path / "teacher")
        content = recipe(tmp_path / "run")
        content["teacher"] = {"path": str(tmp_path / "teacher")}
        scoring = assemble(load_recipe(content)).scoring
        assert (scoring.names, scoring.positive) == (names, positive)


def test_the_example_without_a_recipe(teacher_folder, data_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    from in_memory import distil

    student = distil(str(teacher_folder), str(data_folder / "train.csv"), folder=str(tmp_path))
    assert len(encoder_layers(student)) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "layer 1", "layer 1+2", "classification"
    ]  # fmt: skip


def test_every_part_of_a_run_is_announced(recipe, tmp_path, caplog):
    caplog.set_level("INFO", logger="innerdistill")
    content = recipe(tmp_path / "run", baseline=True, onnx=True)
    content["teacher"] |= {"targets": "cache", "folder": str(tmp_path / "teachers")}
    distill(load_recipe(content))
    stages = (
        "Stage 1 of 3: layer 1, 29 steps.|Stage 2 of 3: layer 1+2, 29 steps.|Stage 3 of 3: classification, 58 steps."
    )
    parts = [
        "Load data and models.",
        "Fine-tune the teacher for 8 epochs.",
        "Stage 1 of 1: fine-tuning, 232 steps.",
        "Compute and cache teacher outputs for ",
        *stages.split("|"),
        "Score student and teacher on 140 examples of validation.",
        "Export to ONNX, and compare the files with the model on 140 examples.",
        "Baseline: the same student, trained without distillation.",
        "Stage 1 of 1: classification, 116 steps.",
        "Write the report.",
    ]
    said = iter(record.getMessage() for record in caplog.records)
    for part in parts:  # in this order
        assert any(line.startswith(part) for line in said), part
    assert "Training takes less than a minute, judged by its first steps." in caplog.text


def test_a_cached_teacher_is_announced(recipe, teacher_folder, tmp_path, caplog):
    caplog.set_level("INFO", logger="innerdistill")
    load_or_finetune_teacher(assemble(load_recipe(recipe(tmp_path / "run"))))
    assert "Use the fine-tuned teacher from the cache." in caplog.text
