"""Contract of ONNX files: every family answers the same in onnxruntime, for any number of texts of any length."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sentence_models import make_modules, write_sentence_model
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModelForQuestionAnswering
from try_families import compare_onnx, make_inputs

from innerdistill.models.capture import capture
from innerdistill.models.families import FAMILIES, prepare
from innerdistill.models.onnx_files import OnnxClassifier, size_of, write_float32, write_int8
from innerdistill.models.probe import probe
from innerdistill.models.sentence_encoder import ONNX_OUTPUTS, SentenceEncoder
from innerdistill.models.student import build_student
from innerdistill.models.tried_families import read_tried_families


def fails_to_export(family):
    """Whether this torch cannot export a family, as docs/how-to/serving.md says."""
    return family == "deberta" and torch.__version__.startswith("2.11")


QUICK = ("bert", "mpnet", "modernbert")  # token types, shared position bias, rotary positions and windows
SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in QUICK]


@pytest.mark.parametrize("family", [*QUICK, *SLOW])
def test_every_family_answers_the_same(make_model, tmp_path, family):
    model = make_model(family, layers=2, num_labels=3)
    types = family in ("bert", "electra")
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    if fails_to_export(family):
        with pytest.raises(RuntimeError):
            write_float32(model, tmp_path / "model.onnx", inputs=inputs, outputs=["logits"])
        return
    assert compare_onnx(model, tmp_path, types=types) == (True, True)
    tried = read_tried_families()[family]
    assert tried.onnx and tried.int8


def test_several_outputs_are_stacked_as_capture_does(make_model, tmp_path):
    model = AutoModelForQuestionAnswering.from_config(make_model(layers=2).config).eval()
    names = ["start_logits", "end_logits"]
    write_float32(model, tmp_path / "model.onnx", inputs=["input_ids", "attention_mask"], outputs=names)
    batch = make_inputs(3, 16, types=False)
    answer = OnnxClassifier(tmp_path / "model.onnx", threads=1)(batch)
    with torch.no_grad():
        wanted = capture(prepare(model), batch, layers={}).logits
    assert answer.shape == (3, 16, 2) and np.allclose(answer, wanted, rtol=1e-4, atol=1e-5)


def test_files_are_small_and_say_nothing_of_this_machine(make_model, tmp_path):
    model = make_model(layers=2, hidden_size=256, intermediate_size=512)
    root = logging.getLogger()
    before, handlers = root.level, list(root.handlers)
    for name in ("one.onnx", "two.onnx"):
        write_float32(model, tmp_path / name, inputs=["input_ids", "attention_mask"], outputs=["logits"])
    write_int8(tmp_path / "one.onnx", tmp_path / "int8.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert size_of(tmp_path / "int8.onnx") < 0.3 * size_of(tmp_path / "one.onnx")
    for name in ("one.onnx", "int8.onnx"):
        content = (tmp_path / name).read_bytes()
        assert b".py" not in content and b"site-packages" not in content
        onnx.checker.check_model(tmp_path / name)
    assert root.level == before and root.handlers == handlers


def test_a_student_of_a_model_in_training_is_written_as_it_answers(make_model, tmp_path):
    # What is saved and loaded again is exported; a prepared model has an attention that no other program knows.
    student = build_student(make_model(), 2)
    probe(student)
    student.save_pretrained(tmp_path / "student")
    from innerdistill.models.pretrained import load_classifier
    from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION

    loaded = load_classifier(str(tmp_path / "student"), SINGLE_LABEL_CLASSIFICATION.head)
    write_float32(loaded, tmp_path / "model.onnx", inputs=["input_ids", "attention_mask"], outputs=["logits"])
    batch = make_inputs(2, 12, types=False)
    with torch.no_grad():
        wanted = student.eval()(**batch).logits.numpy()
    assert np.allclose(OnnxClassifier(tmp_path / "model.onnx", threads=1)(batch), wanted, atol=1e-5)


@pytest.mark.parametrize("family", [*QUICK, *SLOW])
def test_a_sentence_encoder_pools_and_normalises_inside_its_file(make_model, tokenizer, tmp_path, family):
    """The file also has the activations of the tokens, which the backend of sentence-transformers pools itself."""
    encoder = make_model(family, layers=2).base_model
    write_sentence_model(tmp_path / "folder", encoder, tokenizer, *make_modules(dense=8), truncate_dim=6)
    model = SentenceEncoder.from_pretrained(str(tmp_path / "folder")).eval()
    types = family in ("bert", "electra")
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    if fails_to_export(family):
        with pytest.raises(RuntimeError):
            write_float32(model, tmp_path / "model.onnx", inputs=inputs, outputs=ONNX_OUTPUTS)
        return
    write_float32(model, tmp_path / "model.onnx", inputs=inputs, outputs=ONNX_OUTPUTS)
    write_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    exact, rounded = (OnnxClassifier(tmp_path / name, threads=1) for name in ("model.onnx", "int8.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [node.name for node in session.get_outputs()] == ["sentence_embedding", "last_hidden_state"]
    for rows, length in ((1, 5), (3, 16), (7, 40)):
        batch = make_inputs(rows, length, types=types)
        with torch.no_grad():
            wanted = model(**batch)
        assert np.allclose(exact(batch), wanted.logits, rtol=1e-4, atol=1e-5)
        found = rounded(batch)
        assert found.shape == (rows, 6) and 0 < np.abs(found - wanted.logits.numpy()).max() < 0.2
        given = {node.name: batch[node.name].numpy() for node in session.get_inputs()}
        (hidden,) = session.run(["last_hidden_state"], given)
        real = batch["attention_mask"].bool()  # in a sliding window, padding may attend to nothing
        assert np.allclose(hidden[real], wanted.last_hidden_state[real], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", [*Pooling.POOLING_MODES, ["cls", "max"]], ids=str)
def test_every_pooling_mode_is_written(make_model, tokenizer, tmp_path, mode):
    encoder = make_model(layers=1).base_model
    write_sentence_model(tmp_path / "folder", encoder, tokenizer, *make_modules(mode, normalize=False))
    model = SentenceEncoder.from_pretrained(str(tmp_path / "folder")).eval()
    write_float32(model, tmp_path / "model.onnx", inputs=["input_ids", "attention_mask"], outputs=ONNX_OUTPUTS)
    exact = OnnxClassifier(tmp_path / "model.onnx", threads=1)
    for rows, length in ((1, 5), (3, 16)):
        batch = make_inputs(rows, length, types=False)
        with torch.no_grad():
            wanted = model(**batch).logits
        assert np.allclose(exact(batch), wanted, rtol=1e-4, atol=1e-5)
