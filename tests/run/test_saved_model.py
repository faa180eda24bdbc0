"""The saved model gives the same predictions everywhere: in `predict`, in transformers' pipeline and as an ONNX file."""

import csv
import json
import re
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from innerdistill import distill, evaluate
from innerdistill.run.predict import predict_file

LONG = " ".join(f"good{n % 8}" for n in range(800))
SHORT = {"name": "soft_labels", "total_steps": 4}


def run_card(folder):
    """Run all Python lines of a model card; its two example texts are replaced."""
    card = (folder / "README.md").read_text()
    space = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL)).replace("path/to/this/folder", str(folder))
    code = re.sub(r'"A (first |)text\."|"A second one\."', repr(LONG), code)
    exec(re.sub(r"\n(classify|predict)\(", r"\nanswer = \1(", code), space)  # our own card
    return space


def write_rows(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def scored(recipe, data_folder, tmp_path_factory):
    """A run whose teacher predicts scores and does not say so in its config.json."""
    folder = tmp_path_factory.mktemp("scores")
    data = {"train": f"{data_folder}/scores.csv", "validation": f"{data_folder}/scores_validation.csv",
            "label": "score", "metric": "pearson", "max_length": 12}  # fmt: skip
    first = distill(recipe(folder / "first", data=data, teacher={"epochs": 3}, schedule=SHORT))
    config = json.loads((first / "model/config.json").read_text())
    (first / "model/config.json").write_text(json.dumps({**config, "problem_type": None}))
    content = recipe(folder / "run", data=data, onnx=True, schedule=SHORT)
    content["teacher"] = {"path": str(first / "model")}
    return distill(content)


@pytest.mark.slow  # writes ONNX files
def test_a_score_is_the_same_in_predict_pipeline_and_onnx(scored, tmp_path):
    assert json.loads((scored / "model/config.json").read_text())["problem_type"] == "regression"
    predicted = predict_file(scored, write_rows(tmp_path / "rows.csv", ["text"], [LONG]))["predicted_score"].to_pylist()
    answers = run_card(scored / "model")
    assert answers["answer"][0]["score"] == pytest.approx(predicted[0], rel=1e-4)
    plain = pipeline("text-classification", model=str(scored / "model"), truncation=True)
    assert plain(LONG)[0]["score"] == pytest.approx(predicted[0], rel=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(scored / "model")
    session = onnxruntime.InferenceSession(scored / "model/onnx/model.onnx")
    inputs = tokenizer([LONG], truncation=True, return_tensors="np")
    assert inputs["input_ids"].shape == (1, 12)
    logits = session.run(["logits"], {node.name: inputs[node.name] for node in session.get_inputs()})[0]
    assert logits[0, 0] == pytest.approx(predicted[0], rel=1e-4)
    assert np.shape(answers["logits"]) == (1, 1)


def test_a_class_of_a_long_text_is_the_same_in_predict_and_pipeline_under_the_names_of_the_data(
    recipe, teacher_folder, tmp_path
):
    teacher = shutil.copytree(teacher_folder, tmp_path / "teacher")
    config = json.loads((teacher / "config.json").read_text())
    stock = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (teacher / "config.json").write_text(json.dumps({**config, **stock}))
    content = recipe(tmp_path / "run", data={"labels": ["neg", "pos"], "max_length": 12}, schedule=SHORT)
    content["teacher"] = {"path": str(teacher)}
    folder = distill(content) / "model"
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"} and config["label2id"] == {"neg": 0, "pos": 1}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 12
    # transformers 4 knows this class, and this form of further special tokens.
    saved = json.loads((folder / "tokenizer_config.json").read_text())
    assert saved["tokenizer_class"] == "PreTrainedTokenizerFast" and "extra_special_tokens" not in saved
    assert tokenizer("good1")["input_ids"] == AutoTokenizer.from_pretrained(teacher_folder)("good1")["input_ids"]
    predicted = predict_file(folder.parent, write_rows(tmp_path / "rows.csv", ["text"], [LONG])).to_pylist()[0]
    for answer in (
        run_card(folder)["answer"][0],
        pipeline("text-classification", str(folder), truncation=True)(LONG)[0],
    ):
        assert answer["label"] == predicted["predicted_label"]
        assert answer["score"] == pytest.approx(predicted[f"probability_{answer['label']}"], rel=1e-4)
    evaluate(content)  # the student has other names than its teacher, in the same order
    # Without a run beside it, the folder alone truncates as in training.
    alone = shutil.copytree(folder, tmp_path / "alone")
    assert predict_file(alone, tmp_path / "rows.csv", text=["text"]).to_pylist()[0] == predicted


def test_a_student_can_be_the_teacher_of_longer_texts(recipe, teacher_folder, tmp_path):
    content = recipe(tmp_path / "run", data={"max_length": 12}, schedule=SHORT)
    content["teacher"] = {"path": str(teacher_folder)}
    content = recipe(tmp_path / "next", data={"max_length": 40}, teacher={"path": str(distill(content) / "model")},
                     schedule=SHORT)  # fmt: skip
    content["teacher"].pop("base")
    assert AutoTokenizer.from_pretrained(distill(content) / "model").model_max_length == 40


def test_a_tokenizer_without_a_limit_gets_that_of_the_model(recipe, teacher_folder, tmp_path):
    teacher = shutil.copytree(teacher_folder, tmp_path / "teacher")
    config = json.loads((teacher / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (teacher / "tokenizer_config.json").write_text(json.dumps(config))
    content = recipe(tmp_path / "run", schedule=SHORT)
    content["teacher"] = {"path": str(teacher)}
    assert AutoTokenizer.from_pretrained(distill(content) / "model").model_max_length == 66


def test_a_pair_is_the_same_in_predict_and_pipeline_and_an_empty_text_differs_in_the_pipeline_alone(
    recipe, data_folder, tmp_path
):
    with (data_folder / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [(row["text"], "" if number % 4 == 0 else row["text"], row["label"]) for number, row in enumerate(rows)]
    data = {"train": str(write_rows(tmp_path / "train.csv", ["text", "other", "label"], *pairs)),
            "validation": None, "text": ["text", "other"], "max_length": 30}  # fmt: skip
    run = distill(recipe(tmp_path / "run", data=data, teacher={"epochs": 3}, schedule=SHORT))
    folder = run / "model"
    texts = [(LONG, LONG), ("good1 word2", ""), ("good1 word2", "bad1")]
    predicted = predict_file(run, write_rows(tmp_path / "rows.csv", ["text", "other"], *texts))
    values = [
        max(pair)
        for pair in zip(*(predicted[f"probability_{name}"].to_pylist() for name in ("neg", "pos")), strict=True)
    ]
    assert run_card(folder)["answer"]["score"] == pytest.approx(values[0], rel=1e-4)
    classify = pipeline("text-classification", model=str(folder), truncation=True)
    assert classify({"text": "good1 word2", "text_pair": "bad1"})["score"] == pytest.approx(values[2], rel=1e-4)
    # What the card and the documentation say of an empty second text.
    assert "leaves out an empty second text" in (folder / "README.md").read_text()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(["good1 word2"], [""], truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(folder)(**inputs).logits
    assert float(logits.softmax(-1).max()) == pytest.approx(values[1], rel=1e-4)
    assert len(inputs["input_ids"][0]) == len(tokenizer("good1 word2", "")["input_ids"]) + 1
