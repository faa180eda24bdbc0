"""Runs of sentence similarity: the student's folder is one of sentence-transformers, whatever happened on the way."""

import csv
import re
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file
from sentence_models import encode, make_modules, write_sentence_model
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from innerdistill import Run, distill
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_record
from innerdistill.run.predict import predict_file

PROMPT = "good7 "
DENSE = "2_Dense/model.safetensors"


@pytest.fixture(scope="module")
def pairs(sentences, tmp_path_factory):
    """Pairs of texts with a score, and texts alone."""
    folder = tmp_path_factory.mktemp("pairs")
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = [(first, second, f"{abs(one - two)}") for (first, one), (second, two) in zip(sentences[:40], sentences[40:80], strict=True)]  # fmt: skip
        csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sentence",), *((text,) for text, _ in sentences[100:220])])
    return folder


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory):
    from conftest import tiny_model

    folder = tmp_path_factory.mktemp("sentence") / "teacher"
    prompts = {"prompts": {"query": PROMPT}, "default_prompt_name": "query"}
    write_sentence_model(
        folder, tiny_model().base_model, tokenizer, *make_modules(dense=8), max_seq_length=12, **prompts
    )
    return folder


@pytest.fixture(scope="module")
def make(recipe, pairs, teacher, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def make(output, **sections):
        data = {"train": f"{pairs}/texts.csv", "validation": f"{pairs}/pairs.csv", "text": "sentence",
                "pairs": ["sentence1", "sentence2"], "label": "score"}  # fmt: skip
        schedule = {"epochs_per_layer": 1, "classification_epochs": 2}
        made = recipe(output, **{"checkpoint_minutes": 0, "schedule": schedule, **sections})
        made["data"] = data | sections.get("data", {})
        made["teacher"] = {"path": str(teacher), "folder": str(cache)} | sections.get("teacher", {})
        return made

    return make


@pytest.fixture(scope="module")
def whole(make, tmp_path_factory):
    return distill(make(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def texts(sentences):
    return [text for text, _ in sentences[:20]]


def read_weights(folder):
    return [(folder / "model" / name).read_bytes() for name in ("model.safetensors", DENSE)]


def test_the_folder_of_a_student_is_one_of_sentence_transformers(whole, teacher, texts, tmp_path):
    folder = whole / "model"
    library = SentenceTransformer(str(folder), device="cpu")
    assert (library.default_prompt_name, library.max_seq_length) == ("query", 12)
    assert AutoModel.from_pretrained(folder).config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 12
    wanted = library.encode(texts)
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sentence",), *((text,) for text in texts)])
    found = predict_file(whole, tmp_path / "texts.csv")["embedding"].to_pylist()
    assert np.abs(np.array(found) - wanted).max() < 1e-6
    assert not np.allclose(wanted, SentenceTransformer(str(folder), device="cpu").encode(texts, prompt=""), atol=1e-3)
    of_teacher = encode(teacher, texts)
    assert (wanted * of_teacher).sum(1).mean() > 0.5  # both are normalised
    record, weights = read_record(whole), [len(content) for content in read_weights(whole)]
    assert (record.student.layers, record.speed.student.file_bytes) == (2, sum(weights))


def test_a_killed_run_ends_with_the_same_student(make, whole, kill_after, tmp_path):
    with kill_after(12):
        distill(make(tmp_path / "run"))
    assert read_weights(distill(make(tmp_path / "run"))) == read_weights(whole)


def test_a_sentence_transformer_in_memory_gives_the_same_student(make, whole, teacher, tmp_path):
    library = SentenceTransformer(str(teacher), device="cpu")
    content = make(tmp_path / "run")
    del content["teacher"]["path"]
    run = distill(content, teacher=library)
    assert read_weights(run) == read_weights(whole)
    again = make(tmp_path / "again")
    del again["teacher"]["path"]
    student_as_teacher = distill(again, teacher=Run.load(whole).model, tokenizer=Run.load(whole).tokenizer)
    assert SentenceTransformer(str(student_as_teacher / "model"), device="cpu").encode(["word1"]).shape == (1, 8)


@pytest.mark.slow  # writes ONNX files
def test_the_onnx_files_answer_as_the_folder_does(make, texts, tmp_path):
    run = distill(make(tmp_path / "run", onnx=True, schedule={"name": "soft_labels", "total_steps": 4}))
    files = read_record(run).onnx.files
    assert files["float32"].largest_difference < 1e-5 and files["int8"].scores["spearman"] <= 1
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    session = onnxruntime.InferenceSession(run / "model/onnx/model.onnx")
    encoded = tokenizer([PROMPT + text for text in texts], padding=True, truncation=True, return_tensors="np")
    found = session.run(["sentence_embedding"], {node.name: encoded[node.name] for node in session.get_inputs()})[0]
    assert np.abs(found - encode(run / "model", texts)).max() < 1e-5


@pytest.mark.slow  # starts two processes
def test_two_processes_train_the_same_student_as_one(make, tmp_path):
    options = {"schedule": {"name": "sid", "total_steps": 12}, "student": {"dropout": False}}
    one = distill(make(tmp_path / "one", **options))
    two = make(tmp_path / "two", **options)
    two["trainer"] = {**two["trainer"], "per_device_train_batch_size": 8}
    (tmp_path / "two.yaml").write_text(write_yaml(two))
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "innerdistill"]
    subprocess.run([sys.executable, *together, "distill", str(tmp_path / "two.yaml")], check=True)
    for name in ("model.safetensors", DENSE):
        ours, theirs = load_file(tmp_path / "two/model" / name), load_file(one / "model" / name)
        assert ours.keys() == theirs.keys()
        # A key's bias moves no distribution, so its gradient is rounding alone, which Adam makes steps of.
        assert all(np.allclose(ours[key], theirs[key], atol=1e-5) for key in ours if not key.endswith("key.bias"))


def refuse(content, message):
    with pytest.raises(ValueError, match=message) as error:
        distill(content)
    assert "\n" not in str(error.value)


def test_models_of_another_kind_are_refused_by_both_names(make, recipe, teacher_folder, base_folder, teacher, tmp_path):
    output = tmp_path / "run"
    sentences = {"problem_type": "sentence_similarity"}
    refuse(
        make(output, teacher={"path": str(teacher_folder)}, data=sentences),
        rf"^teacher.path: {re.escape(str(teacher_folder))} predicts classes, but sentence similarity by 'spearman' needs embeddings",
    )
    refuse(
        make(output, teacher={"path": str(base_folder)}, data=sentences),
        "it has no modules.json, .* teacher.pooling says it, for example mean",
    )
    content = recipe(output)
    content["teacher"] = {"path": str(teacher)}
    refuse(content | {"data": {**content["data"], "metric": "accuracy"}}, rf"^teacher.path: {re.escape(str(teacher))} is a sentence encoder, which makes embeddings, but single-label classification by 'accuracy' needs classes")  # fmt: skip
    content["teacher"] = {"path": str(teacher_folder), "pooling": "mean"}
    refuse(content, "teacher.pooling: for sentence encoders only; this run is single-label classification")
    assert not output.exists()


def test_a_sentence_encoder_is_a_base_model_of_a_classifier(recipe, teacher, tmp_path):
    content = recipe(tmp_path / "run", teacher={"base": str(teacher), "epochs": 1, "folder": str(tmp_path / "cache")})
    run = distill(content | {"schedule": {"name": "soft_labels", "total_steps": 2}})
    assert not (run / "model/modules.json").exists()


def test_a_plain_encoder_with_pooling_and_another_source(make, base_folder, texts, tmp_path):
    content = make(
        tmp_path / "run",
        teacher={"path": str(base_folder), "pooling": "cls"},
        data={"problem_type": "sentence_similarity"},
        schedule={"name": "soft_labels", "total_steps": 4},
        student={"source": str(base_folder), "num_layers": 3, "dropout": False},
    )
    library = SentenceTransformer(str(distill(content) / "model"), device="cpu")
    assert library[1].pooling_mode == "cls" and library.encode(texts).shape == (20, 32)
