"""`predict` with a tagger: files of words, texts and CoNLL; lists and spans in every format; the same from Python."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from conftest import tiny_model
from transformers import AutoModelForTokenClassification, pipeline

from innerdistill import distill
from innerdistill.cli.main import main
from innerdistill.data.tag_schemes import find_entities
from innerdistill.run.predict import load_predictor, predict_file, predict_texts

NAMES = ["O", "B-good", "I-good", "B-bad"]
WORDS = [["good1", ",", "word2", "bad3", "good4"], ["bad1"], ["word7", "good2", "bad2", "bad6", "word3", "good5"] * 20]
TEXTS = [" ".join(words) for words in WORDS]


@pytest.fixture(scope="module")
def tagger(tokenizer, tmp_path_factory):
    """A random tagger that finds entities of both types; the last text is longer than it reads."""
    config = tiny_model(num_labels=4).config
    config.id2label, config.label2id = dict(enumerate(NAMES)), {name: index for index, name in enumerate(NAMES)}
    folder = tmp_path_factory.mktemp("tagger")
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():  # no tag is more probable than the others
        model.classifier.weight.mul_(20)
        model.classifier.bias.sub_(model(**tokenizer(" ".join(TEXTS[:2]), return_tensors="pt")).logits[0].mean(0))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(tagger):
    rows = predict_texts(load_predictor(tagger, max_length=None, texts=1), WORDS, number=1)
    assert len({tag for row in rows for tag in row["predicted_tags"]}) > 2
    assert len({span["label"] for row in rows for span in row["predicted_spans"]}) == 2
    return rows


@pytest.fixture(scope="module")
def run(tagger, tmp_path_factory):
    """A student of the tagger, with ONNX files."""
    folder = tmp_path_factory.mktemp("run")
    rows = [{"kinds": ["O", "B-good"], "words": [f"word{n % 24}", f"good{n % 8}"]} for n in range(60)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return distill(
        teacher={"path": str(tagger), "allow_weak": True, "folder": str(folder / "teachers")},
        train=str(folder / "train.jsonl"),
        data={"text": "words", "label": "kinds"},
        student=2,
        schedule={"total_steps": 4},
        trainer={"use_cpu": True},
        onnx=True,
        output=str(folder / "run"),
    )


@pytest.fixture
def predict(tagger, tmp_path, capsys):
    def run(file, output, *options, code=0):
        assert main(["predict", str(tagger), str(file), "--output", str(tmp_path / output), *options]) == code
        return " ".join(capsys.readouterr().err.split())

    return run


def write_file(path):
    if path.suffix == ".conll":
        path.write_text("\n\n".join("\n".join(f"{word} - NN O" for word in words) for words in WORDS))
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.table({"tokens": WORDS, "id": [1, 2, 3]}), path)
    else:
        path.write_text("".join(json.dumps({"tokens": words, "id": 1}) + "\n" for words in WORDS))


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "conll"])
@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet", "out.csv"])
def test_files_of_words_in_every_format(predict, tmp_path, expected, ending, output):
    write_file(tmp_path / f"new.{ending}")
    predict(tmp_path / f"new.{ending}", output, *(() if ending == "conll" else ("--text", "tokens")))
    if output == "out.csv":
        with (tmp_path / output).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["tokens"] for row in rows] == TEXTS  # to which the spans belong
        rows = [
            {**row, "tokens": row["tokens"].split(" "), "predicted_tags": row["predicted_tags"].split(","),
             "predicted_spans": json.loads(row["predicted_spans"])}
            for row in rows
        ]  # fmt: skip
    elif output == "out.jsonl":
        rows = [json.loads(line) for line in (tmp_path / output).read_text().splitlines()]
    else:
        rows = pa.parquet.read_table(tmp_path / output).to_pylist()
    others = ["column_2", "column_3", "tags"] if ending == "conll" else ["id"]
    assert list(rows[0]) == ["tokens", *others, "predicted_tags", "predicted_spans"]
    for row, words, of_words in zip(rows, WORDS, expected, strict=True):
        assert row["tokens"] == words and row["predicted_tags"] == of_words["predicted_tags"]
        for span, of_span in zip(row["predicted_spans"], of_words["predicted_spans"], strict=True):
            assert span == {**of_span, "score": pytest.approx(of_span["score"])}


def test_spans_are_those_of_the_tags(expected):
    for words, text, row in zip(WORDS, TEXTS, expected, strict=True):
        entities = find_entities(row["predicted_tags"])
        assert [span["text"] for span in row["predicted_spans"]] == [" ".join(words[e.first : e.end]) for e in entities]
        assert [span["label"] for span in row["predicted_spans"]] == [entity.type for entity in entities]
        assert all(text[span["start"] : span["end"]] == span["text"] for span in row["predicted_spans"])
        assert all(0.25 <= span["score"] <= 1 for span in row["predicted_spans"])


def test_texts_are_split_into_words(tagger, expected):
    predictor = load_predictor(tagger, max_length=None, texts=1)
    assert predict_texts(predictor, TEXTS, number=1) == predict_texts(predictor, WORDS, number=1) == expected
    (row,) = predict_texts(predictor, ["  good1,\tword2  "], number=1)
    assert len(row["predicted_tags"]) == 3  # the comma is a word
    for span in row["predicted_spans"]:
        assert "  good1,\tword2  "[span["start"] : span["end"]] == span["text"]
    assert predict_texts(predictor, [], number=1) == []


def test_short_texts_are_tagged_as_by_the_pipeline_of_transformers(tagger, expected):
    find = pipeline("token-classification", model=str(tagger), aggregation_strategy="none", ignore_labels=[])
    for text, row in list(zip(TEXTS, expected, strict=True))[:2]:
        assert [token["entity"] for token in find(text)] == row["predicted_tags"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("In Rome", "expected a list of texts, got one text"),
        ([["In", 3]], r"example 1 is \['In', 3\], expected a text or a list of words"),
        (["In", []], "example 2 is .*, expected a text or a list of words"),
        (["In", None], "example 2 is None, expected a text or a list of words"),
        ([["In"], "Rome"], "row 2: 'text1' holds 'Rome'; expected a list of words, as in the rows before"),
    ],
)
def test_what_is_neither_text_nor_words_is_refused(tagger, given, message):
    with pytest.raises(ValueError, match=f"predict: {message}"):
        predict_texts(load_predictor(tagger, max_length=None, texts=1), given, number=1)


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet", "out.csv"])
def test_rows_without_words_are_refused_or_skipped(predict, tmp_path, output):
    (tmp_path / "new.jsonl").write_text('{"text": "good1 bad2"}\n{"text": null}\n{"text": " "}\n')
    options = ("--text", "text")
    assert "row 2 has no text in 'text'" in predict(tmp_path / "new.jsonl", output, *options, code=2)
    predict(tmp_path / "new.jsonl", output, *options, "--skip-empty")
    if output == "out.parquet":
        rows = pa.parquet.read_table(tmp_path / output).to_pylist()
        assert [row["predicted_tags"] is None for row in rows] == [False, True, True]
        assert [row["predicted_spans"] is None for row in rows] == [False, True, True]
    elif output == "out.csv":
        with (tmp_path / output).open(newline="") as file:
            assert [row["predicted_spans"] == "" for row in csv.DictReader(file)] == [False, True, True]


def test_a_table_in_python(tagger, tmp_path, expected):
    write_file(tmp_path / "new.conll")
    table = predict_file(tagger, tmp_path / "new.conll")
    assert table.column_names == ["tokens", "column_2", "column_3", "tags", "predicted_tags", "predicted_spans"]
    assert table["predicted_tags"].to_pylist() == [row["predicted_tags"] for row in expected]


def test_a_run_reads_the_column_of_training(run, tmp_path):
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"words": words}) + "\n" for words in WORDS))
    table = predict_file(run.folder, tmp_path / "new.jsonl")
    expected = run.predict(WORDS)
    assert table["predicted_tags"].to_pylist() == [row["predicted_tags"] for row in expected]
    assert run.predict(TEXTS) == expected and list(map(len, WORDS)) == [len(row["predicted_tags"]) for row in expected]


def test_onnx_files_give_the_same_tags(run):
    files = run.record.onnx.files
    assert files["float32"].largest_difference < 1e-4 and files["float32"].equal_predictions == 1
    assert set(files["int8"].scores) >= {"entity_f1", "tag_accuracy"}


def test_other_files_need_the_name_of_a_column(predict, tmp_path):
    write_file(tmp_path / "new.jsonl")
    assert "name the text columns with --text" in predict(tmp_path / "new.jsonl", "out.jsonl", code=2)
    assert "token classification reads one column of words or of texts" in predict(
        tmp_path / "new.jsonl", "out.jsonl", "--text", "tokens", "id", code=2
    )
