"""Tests of examples/prepare_demo.py: how the rated sentences are split into files."""

import sys
from pathlib import Path

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
