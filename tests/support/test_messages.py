"""Sentences about mistakes have one shape."""

import pytest

from innerdistill.support.messages import suggest_name


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("kommentar", ["emotion", "comment"], "Did you mean 'comment'? Columns: comment, emotion."),
        ("sentence", ["emotion", "comment"], "Columns: comment, emotion."),
        ("sentence", [], "There are no columns."),
    ],
)
def test_a_hint_is_whole_sentences(name, known, hint):
    assert suggest_name(name, known, kind="columns") == hint
