"""The model card: metadata that huggingface_hub reads, with the scores of run.json, and a body without others' markup."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import ModelCardData
from records import SPEED, make_record, make_scores

from innerdistill.problem_types.problem_types import PROBLEM_TYPES
from innerdistill.report.card import build_card, read_origin, write_card
from innerdistill.report.speed_record import OnnxRecord

HOSTILE = "</script><script>alert(1)</script> [click](javascript:alert(1)) {{ 7*7 }} `x` | y"


@pytest.fixture
def load(tmp_path):
    """A function that writes the card of a record and loads it as the Hub's own library does."""

    def load_card(record):
        (tmp_path / "model").mkdir(exist_ok=True)
        write_card(tmp_path, record)
        return ModelCard.load(tmp_path / "model" / "README.md")

    return load_card


def make_onnx():
    scores = {"accuracy": 0.8}
    file = {"file": "onnx/model.onnx", "file_bytes": 8_000_000, "latency_ms": SPEED["latency_ms"], "scores": scores}
    exact = {**file, "largest_difference": 1e-6, "standard_error": 0.0, "equal_predictions": 1.0}
    return OnnxRecord(
        rows=100, batch_size=1, length=12, threads=1, machine="CPU", onnxruntime="1.32", metric="accuracy",
        files={"model": file, "float32": exact, "int8": exact},
    )  # fmt: skip


def test_the_metadata_are_those_of_a_distilled_text_classifier(load):
    record = make_record({"data": {"task": "sst2"}, "output": "runs/reviews"})
    student = record.student.model_copy(update={"base_model": "google-bert/bert-base-uncased", "license": "apache-2.0"})
    data = load(record.model_copy(update={"student": student})).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-classification")
    assert (data.base_model, data.license) == ("google-bert/bert-base-uncased", "apache-2.0")
    assert data.tags == ["knowledge-distillation", "innerdistill"]
    assert data.model_name == "reviews"


def test_what_is_not_known_is_left_out(load):
    metadata = load(make_record()).data.to_dict()
    assert "base_model" not in metadata and "license" not in metadata


def test_the_model_index_has_the_scores_of_the_record(load):
    record = make_record({"data": {"task": "sst2"}})
    results = load(record).data.eval_results
    assert {result.metric_name: result.metric_value for result in results} == record.scores["validation"].student.values
    assert {(result.dataset_name, result.dataset_split, result.task_type) for result in results} == {
        ("sst2", "validation", "text-classification")
    }
    assert {result.metric_name: result.metric_type for result in results} == {"accuracy": "accuracy", "macro_f1": "f1"}


def test_the_body_has_the_scores_and_the_share_of_the_teachers(load):
    text = load(make_record({"data": {"task": "sst2", "note": "Reviews of films."}})).text
    assert "| accuracy | 0.9000 | 0.8000 | 88.9 % |" in text
    assert "Agreement with the teacher: 90.0 % (equal predictions)." in text and "Reviews of films." in text
    assert "onnx" not in text


def test_a_fine_tuned_model_has_no_teacher(load):
    scores = {"validation": {"student": make_scores(0.9)}}
    card = load(make_record(teacher=None, distances=None, agreement={}, scores=scores))
    assert card.data.tags == ["innerdistill"]
    assert "| accuracy | 0.9000 |\n" in card.text and "student" not in card.text


def test_onnx_files_have_a_tag_and_a_table(load):
    card = load(make_record().model_copy(update={"onnx": make_onnx()}))
    assert "onnx" in card.data.tags
    assert "| onnx/model.onnx | 8 MB | 0.8000 | 100.0 % | 1.5 ms |" in card.text


@pytest.mark.parametrize("outputs", [("logits",), ("start_logits", "end_logits")])
def test_the_lines_that_run_an_onnx_file_take_all_its_outputs(load, monkeypatch, outputs):
    record = make_record().model_copy(update={"onnx": make_onnx()})
    wording = replace(record.problem_type.wording, onnx_outputs=outputs)
    name = record.problem_type.name
    monkeypatch.setitem(PROBLEM_TYPES, name, replace(record.problem_type, wording=wording))
    (line,) = [line for line in load(record).text.splitlines() if "session.run(" in line]
    session = SimpleNamespace(get_inputs=list, run=lambda names, _: names)
    found = {"session": session, "inputs": {}}
    exec(line, found)
    assert tuple(found[output] for output in outputs) == outputs


def test_texts_of_others_stay_texts(load):
    scores = make_scores(0.8, per_class={HOSTILE: {"precision": 1.0, "recall": 1.0, "rows": 100}})
    record = make_record(
        {"data": {"text": "text", "note": HOSTILE}, "output": f"runs/{HOSTILE.replace('/', '-')}"},
        scores={"validation": {"student": scores, "teacher": scores}},
        warnings=[HOSTILE],
    )
    card = load(record)
    assert card.data.model_name == HOSTILE.replace("/", "-")
    assert not any(markup in card.text for markup in ("<script>", "[click](", "49"))


def test_the_card_of_a_record_is_always_the_same():
    assert str(build_card(make_record())) == str(build_card(make_record()))


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        ({"base_model": "org/base", "license": "mit"}, ("org/base", "mit")),
        ({"license": "mit"}, (None, "mit")),
        ({"base_model": ["org/one", "org/two"], "license": ["mit"]}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_a_model_folder_is_described_by_its_card(tmp_path, metadata, origin):
    ModelCard(f"---\n{ModelCardData(**metadata).to_yaml()}\n---\n# A model").save(tmp_path / "README.md")
    assert read_origin(str(tmp_path)) == origin


@pytest.mark.parametrize("text", [None, "", "---\n[\n---\n", "---\n- a\n---\n"])
def test_a_folder_without_a_readable_card_says_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert read_origin(str(tmp_path)) == (None, None)


def test_a_name_on_the_hub_is_the_base_model_and_a_lost_folder_is_not():
    assert read_origin("google-bert/bert-base-uncased") == ("google-bert/bert-base-uncased", None)
    assert read_origin("bert-base-uncased") == ("bert-base-uncased", None)
    assert read_origin("/models/gone/bert") == (None, None)
