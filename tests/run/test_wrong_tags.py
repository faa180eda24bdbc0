"""Token classification: what is wrong is said in a sentence, before anything is written."""

import json

import numpy as np
import pytest
from conftest import tiny_model
from piece_tokenizers import make_word_piece_tokenizer
from transformers import AutoModelForTokenClassification, BertTokenizerLegacy

from innerdistill import distill, evaluate
from innerdistill.cli.main import main

NAMES = ("B-x", "I-x", "O")
TAGS, SPAN = ["O", "O", "B-x"], {"start": 6, "end": 9, "label": "x"}


def make_row(number):
    """Words `ab to t00`, `ab to t01`, ..., of which the last is an entity."""
    words = ["ab", "to", f"t{number:02}"]
    return {"tokens": words, "tags": TAGS, "text": " ".join(words), "spans": [SPAN]}


ROWS = [make_row(number) for number in range(60)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base model, a tagger and a classifier of random weights."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = make_word_piece_tokenizer()
    classifier = tiny_model(num_labels=3, id2label=dict(enumerate("abc")))
    classifier.save_pretrained(folder / "classifier")
    classifier.base_model.save_pretrained(folder / "base")
    tagger = AutoModelForTokenClassification.from_pretrained(
        folder / "base", id2label=dict(enumerate(NAMES)), label2id={name: number for number, name in enumerate(NAMES)}
    )
    tagger.save_pretrained(folder / "tagger")
    for name in ("classifier", "base", "tagger"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def refuse(models, tmp_path, capsys):
    """Refuse a run of some rows: the sentence. Nothing may be written."""

    def refuse(change=None, *, teacher="base", count=40, name="train.jsonl", **keys):
        rows = [dict(row) for row in ROWS[:count]]
        for number, row in (change or {}).items():
            rows[number].update(row)
        rows = [{key: value for key, value in row.items() if value is not ...} for row in rows]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run(path, teacher=teacher, **keys)

    def run(path, *, teacher="base", **keys):
        key = "teacher.path" if teacher != "base" else "teacher.base"
        given = {"data.train": path, "data.text": "tokens", "data.label": "tags", key: models / teacher}
        given |= {"output": tmp_path / "out", "teacher.folder": tmp_path / "teachers", **keys}
        assert main(["distill", *(f"{key}={value}" for key, value in given.items())]) == 2
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        assert not (tmp_path / "out").exists() and not (tmp_path / "teachers").exists()
        return " ".join(captured.err.split())

    refuse.of_file = run
    return refuse


SPANS = {"data.text": "text", "data.label": "spans"}


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        ({3: {"tags": ["O"]}}, {}, "row 4: 'tokens' and 'tags' differ in length: 3 words, 1 tag"),
        ({3: {"tokens": [], "tags": []}}, {}, "row 4: 'tokens' holds no words"),
        ({3: {"tokens": "ab to tom"}}, {}, "row 4: 'tokens' holds 'ab to tom'; expected a list of words, as in the rows before"),
        ({0: {"tokens": "ab to tom"}}, {}, "row 2: 'tokens' holds ['ab', 'to', 't01'], expected text"),
        ({3: {"tags": "O O O"}}, {}, "'tags' is a list in row 1 and none in row 4; write it as a list in every row"),
        ({3: {"tags": None}}, {}, "row 4 has no 'tags'; give rows without tags as data.unlabelled"),
        ({3: {"tags": ...}}, {}, "row 4 has no 'tags'"),
        ({3: {"tags": ["O", None, "O"]}}, {}, "row 4: tag 2 of 'tags' is missing"),
        ({3: {"tokens": ["a", None, "b"]}}, {}, "row 4: word 2 of 'tokens' is None, expected text"),
        ({3: {"tokens": None}}, {}, "row 4 has no text in 'tokens'"),
        ({3: {"tags": ["O", "O", "B-y"]}}, {"data.labels": "[O,B-x,I-x]"}, "row 4: unknown tag 'B-y'. Did you mean 'B-x'"),
        ({3: {"spans": [{"start": 0, "end": 2, "label": "x"}, {"start": 0, "end": 5, "label": "x"}]}}, SPANS,
         "row 4: the span from 0 to 2 ('ab') overlaps with the span from 0 to 5 ('ab to')"),
        ({3: {"spans": [{"start": 0, "end": 1, "label": "x"}]}}, SPANS, "row 4: the span from 0 to 1 ('a') splits the word 'ab'"),
        ({3: {"spans": [{"start": 6, "end": 12, "label": "x"}]}}, SPANS,
         "row 4: the span from 6 to 12 leaves the text, which has 9 characters"),
        ({3: {"spans": [{"start": 2, "end": 3, "label": "x"}]}}, SPANS, "row 4: the span from 2 to 3 (' ') holds no word"),
        ({3: {"spans": None}}, SPANS, "row 4 has no 'spans'"),
        ({3: {"spans": [{"start": 0, "end": 2}]}}, SPANS, "row 4: span 1 of 'spans' is {'end': 2, 'start': 0}, expected start, end and label"),
        ({3: {"text": " "}}, SPANS, "row 4: 'text' holds ' ', expected words"),
        ({}, {"data.text": "[tokens,text]"}, "data.text: token classification reads one column of words or of texts, got tokens, text"),
        ({}, {"data.metric": "accuracy"}, "data.metric: 'accuracy' is no metric for tags"),
        ({}, {"data.metric": "micro_f1", "data.problem_type": "token_classification"}, "data.metric: 'micro_f1' is no metric for tags"),
        ({}, {"data.problem_type": "token_tags"}, "data.problem_type: unknown problem type 'token_tags'. Did you mean 'token_classification'"),
        ({}, {"data.max_length": 2}, "data.max_length"),
        ({}, {"data.max_length": 1000}, "data.max_length: 1000 tokens were asked for, but the model allows 66"),
        ({}, {"schedule.threshold": "0.1", "losses.cls_cosine": 0}, "schedule.threshold: it is compared with the cosine loss"),
    ],
)  # fmt: skip
def test_bad_rows_and_options_are_refused(change, keys, message, refuse):
    assert message in refuse(change, **keys)


def test_token_ids_in_the_place_of_words(refuse):
    ids, of_tags = (
        {number: {"input_ids": [2, 6, 7]} for number in range(40)},
        {"data.problem_type": "token_classification"},
    )
    said = refuse(ids, **of_tags, **{"data.text": "input_ids"})
    assert "data.text: token classification reads one column of words or of texts, got input_ids" in said
    said = refuse({number: {"tokens": [2, 6, 7]} for number in range(40)}, **of_tags)
    assert "row 1: word 1 of 'tokens' is 2, expected text" in said


def test_teachers_of_another_kind(refuse, models):
    said = refuse(teacher="classifier")
    assert (
        f"teacher.path: {models / 'classifier'} predicts classes, but token classification by 'entity_f1' needs tags"
        in said
    )
    classes = {number: {"tags": "ab"[number % 2]} for number in range(40)}
    wanted = (
        f"teacher.path: {models / 'tagger'} predicts tags, but single-label classification by 'accuracy' needs classes"
    )
    for name in ("train.jsonl", "rows.jsonl"):
        assert wanted in refuse(classes, teacher="tagger", name=name, **{"data.text": "text"})
    assert wanted in refuse(classes, teacher="tagger", **{"data.text": "text", "data.metric": "accuracy"})
    several = {number: {"tags": ["ab"[number % 2]]} for number in range(40)}
    said = refuse(several, teacher="tagger", **{"data.text": "text", "data.problem_type": "multi_label_classification"})
    assert "predicts tags, but multi-label classification by 'micro_f1' needs label sets" in said


def test_a_table_of_classes_for_a_tagger(refuse, models, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "".join(f"ab to {number},{'ab'[number % 2]}\n" for number in range(40)))
    said = refuse.of_file(path, teacher="tagger", **{"data.text": "text", "data.label": "label"})
    assert "tagger predicts tags, but single-label classification by 'accuracy' needs classes" in said


def test_tags_that_the_teacher_does_not_have(refuse):
    said = refuse({3: {"tags": ["O", "O", "B-y"]}}, teacher="tagger")
    assert "data.label: 'tags': " in said and "B-y" in said and "B-x" in said


CONLL = "ab O\nto O\ntom B-x\n\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONLL * 3 + "ab\n\n" + CONLL, "line 13: expected 2 columns with spaces between them, as in the first line, got 1"),
        (CONLL * 3 + "ab O O\n", "line 13: expected 2 columns"),
        ("ab\nto\n\n" * 30, "innerdistill: data.train: no column 'tags'. Columns: tokens. If there are no labels, leave out data.label"),
        ("\n\n", "no rows"),
    ],
)  # fmt: skip
def test_bad_lines_are_refused_with_their_number(text, message, refuse, tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(text)
    said = refuse.of_file(path)
    assert message in said and ("train.conll" in said or "data.train" in said)


def test_a_slow_tokenizer_is_refused(refuse, models, tmp_path):
    rows = ROWS[:40]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "to", "tom"]))
    slow = BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
    assert not slow.is_fast
    teacher = AutoModelForTokenClassification.from_pretrained(models / "tagger")
    with pytest.raises(ValueError, match="needs a fast tokenizer, and .* is none"):
        distill(train=rows, teacher=teacher, tokenizer=slow, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_kind_is_not_scored(models, tmp_path):
    with pytest.raises(
        ValueError, match="model: .*classifier predicts classes, but token classification by 'entity_f1' needs tags"
    ):
        evaluate(train=ROWS[:40], data={"text": "tokens", "label": "tags"}, teacher=str(models / "tagger"),
                 model=models / "classifier", output=tmp_path / "out")  # fmt: skip


def test_broken_schemes_are_read_counted_and_reported(models, tmp_path):
    """I after O begins an entity, as in seqeval."""
    rows = [{**row, "tags": ["O", "I-x", "I-x"]} if number % 2 else row for number, row in enumerate(ROWS)]
    validation = [{**row, "tags": ["O", "O", "I-x"]} for row in ROWS[:4]]
    run = distill(
        train=rows, validation=validation, data={"text": "tokens", "label": "tags"}, output=tmp_path / "run",
        teacher={"path": str(models / "tagger"), "allow_weak": True}, student=1, trainer={"use_cpu": True},
        schedule={"name": "soft_labels", "classification_epochs": 1},
    )  # fmt: skip
    broken = [
        warning for warning in run.record.warnings if "breaks the scheme" in warning or "break the scheme" in warning
    ]
    assert len(broken) == 2 and "of train break the scheme BIO" in broken[0]
    assert "4 tags of validation break the scheme BIO, as I after O does" in broken[1]
    assert run.scores["validation"]["teacher"]["per_class"]["x"]["rows"] == 4
    assert "break the scheme BIO" in (run.folder / "report.html").read_text()
    assert np.isfinite(run.scores["validation"]["student"]["entity_f1"])
