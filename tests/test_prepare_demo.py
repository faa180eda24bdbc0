"""Tests of examples/prepare_demo.py: how the rated sentences are split into files, and what is beside the weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_models import encode, make_modules, write_sentence_model

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import prepare_demo


def make_rows(*texts: str) -> list[tuple[str, str, str]]:
    return [(text, "positive", "1.0000") for text in texts]


def test_near_duplicates_have_a_cosine_over_the_limit() -> None:
    known = make_rows("a b c d e", "one two")
    rows = make_rows("E d c b A!", "a b c d x", "a b c d e f", "one two three", "other")
    # Cosines by hand: 1; 4 / 5 = .8, not over it; 5 / sqrt(30) = .913; 2 / sqrt(6) = .816; 0.
    assert prepare_demo.find_near_duplicates(rows, known) == [True, False, True, True, False]


def test_no_sentence_is_in_two_files_and_the_first_two_stay_what_they_were() -> None:
    rows = make_rows(*(f"sentence number {number} word{number} other{number}" for number in range(5_405)))
    copy = rows[5_399][0].upper()  # of the last sentence of tuning.csv
    rows[5_402] = (copy, "positive", "1.0000")
    files = prepare_demo.split_sentences(rows)
    assert files["validation.csv"] == rows[:1_500]
    assert files["train.csv"] == rows[1_500:3_900]
    assert files["tuning.csv"] == rows[3_900:5_400]
    assert files["validation_more.csv"] == [rows[5_400], rows[5_401], *rows[5_403:]]


def test_texts_without_labels_repeat_no_sentence_that_is_scored() -> None:
    rows = make_rows(*(f"sentence number {number} word{number} other{number}" for number in range(5_402)))
    files = prepare_demo.split_sentences(rows)
    neutral = make_rows(rows[0][0].upper(), rows[5_401][0] + "!", "a text of its own")  # of both scored files
    assert prepare_demo.select_unlabelled(files, neutral) == [
        *(row[0] for row in rows[3_900:5_400]),
        "a text of its own",
    ]


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_before_becomes_a_sentence_encoder_and_its_files_stay(make_model, tokenizer, tmp_path) -> None:
    folder, texts = tmp_path / "encoder", ["good1 word2", "bad3", "word1 " * 40]
    make_model().base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    before = list_files(folder)
    prepare_demo.write_sentence_files(folder, hidden_size=32, max_seq_length=12)
    after = list_files(folder)
    assert before.items() <= after.items()
    assert set(after) - set(before) == {
        "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"
    }  # fmt: skip
    library = write_sentence_model(
        tmp_path / "other", make_model().base_model, tokenizer, *make_modules(), max_seq_length=12
    )
    assert np.abs(encode(folder, texts) - library.encode(texts)).max() < 1e-6
    prepare_demo.write_sentence_files(folder, hidden_size=99, max_seq_length=99)
    assert list_files(folder) == after


def test_a_complete_demo_gets_the_files_without_a_download(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare_demo, "fetch", lambda *_, **__: pytest.fail("downloads"))
    (tmp_path / "demo-data/minilm").mkdir(parents=True)
    for name in ("complete", prepare_demo.REST, prepare_demo.UNLABELLED):
        (tmp_path / "demo-data" / name).touch()
    for _ in range(2):
        prepare_demo.main()
        assert (tmp_path / "demo-data/minilm/modules.json").is_file()
        assert capsys.readouterr().out == "demo-data/ already exists.\n"
