"""Long sentences and rejected phrases are named with their line; plain English passes."""

from pathlib import Path

import pytest
from lint_prose import LONGEST, find_faults, find_files
from prose import Block


def complaints(text):
    return [fault.complaint for fault in find_faults(Path("page.md"), [Block(7, text)])]


def test_a_sentence_has_at_most_thirty_words():
    assert not complaints(" ".join(["word"] * LONGEST) + ". And another.")
    [complaint] = complaints(" ".join(["word"] * (LONGEST + 1)) + ".")
    assert complaint.startswith("31 words, at most 30: word")


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("The run goes on with the same command.", "resume"),
        ("The share of rows as teacher.", "agreement"),
        ("A student that is fine-tuned plainly.", "baseline"),
        ("Files of 32 and of 8 bits.", "int8"),
        ("It learns from its inside.", "internal representations"),
        ("On a processor it is slow.", "CPU"),
        ("The teacher's answers are on disk.", "teacher outputs"),
        ("The same student, byte for byte.", "identical to the byte"),
        ("of the run.", "a noun"),
    ],
)
def test_rejected_phrases(text, better):
    [complaint] = complaints(text)
    assert better in complaint


@pytest.mark.parametrize(
    "text",
    [
        "`make test` keeps 98 % of the score.",
        "The log goes one line further.",
        "A tokenizer's preprocessor runs once.",
        "Read the files inside of a run folder.",
        "Say `goes on with` in code only.",
        "Of the eight teachers, all agree.",
    ],
)
def test_plain_english_passes(text):
    assert not complaints(text)


def test_files_are_found_in_folders(tmp_path):
    for name in ("a.md", "sub/b.yaml", "picture.svg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find_files([tmp_path])
    assert [path.name for path in found] == ["a.md", "b.yaml"]
