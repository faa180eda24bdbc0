"""YAML 1.2 as recipes use it: what plain values mean, and that what is written is read as it was."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from innerdistill.recipe.yaml import parse_yaml, write_yaml

TEXTS = ["no", "Yes", "on", "off", "y", "007", "09", "0o17", "0x1f", "1_000", "1:30", "2024-01-31", "-.5", ".5e5", "=",
         "null", "~", "true", "1", "1.5", "1e5", ".5", ".inf", "<<", "", " a", "a: b", "#", "é", ":0", "\x85", "\u2028", "\0", "\ufeff"]  # fmt: skip
texts = st.one_of(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=["Cs"])))
numbers = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False))
contents = st.recursive(
    st.one_of(texts, numbers, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner), st.dictionaries(st.integers(0, 99), inner)),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5), ("1E5", 1e5), ("1.5e+5", 1.5e5), (".5", 0.5), ("-.inf", -math.inf), ("+3", 3), ("-0", 0),
        ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
    ],
)  # fmt: skip
def test_numbers_truth_values_and_null(text, value):
    read = parse_yaml(text, where="test")
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["no", "yes", "on", "Off", "y", "007", "09", "0o17", "0x1f", "1_000", "1:30", "2024-01-31"])  # fmt: skip
def test_everything_else_is_text(text):
    assert parse_yaml(text, where="test") == text
    assert parse_yaml(f"%YAML 1.1\n---\n{text}", where="test") == text


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(contents, st.booleans())
def test_what_is_written_is_read_as_it_was(content, one_line):
    written = write_yaml(content, one_line=one_line)
    read = parse_yaml(written, where="test")
    assert read == content and repr(read) == repr(content)
    assert write_yaml(read, one_line=one_line) == written
    if one_line:
        assert "\n" not in written.removesuffix("\n").removesuffix("\n...")


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(st.lists(texts))
def test_texts_are_written_so_that_yaml_1_1_reads_them_too(content):
    older = YAML(typ="safe", pure=True)
    older.version = "1.1"
    assert older.load(write_yaml(content)) == content


def test_texts_that_earlier_versions_wrote_without_quotes_stay_texts():
    earlier = "labels:\n- 09\n- 08.1e\n- 0o17\n- -.5\n- .5e5\n- 1__\n- 0b2\n- 0x\n- 1:3a\n- 2024-1\n"
    assert all(isinstance(label, str) for label in parse_yaml(earlier, where="test")["labels"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3 not valid YAML (the key 'a' occurs twice)"),
        ("layer_map: {1: 2, '1': 4}", "line 1 not valid YAML (the key '1' occurs twice)"),
        ("a: &a {<<: *a}", "its references unfold to more than 100,000 values"),
        ("a: !!python/name:os.system x", "line 1 not valid YAML (could not determine a constructor for the tag"),
        ("a: 1\n---\nb: 2", "line 2 not valid YAML (but found another document)"),
        ("- " * 2_000, "too deeply nested"),
        ("[" * 100_000, "too deeply nested"),
        ('"\\ud800"', "line 1 not valid YAML (half a character, '\\ud800')"),
        ("!!int abc", "not valid YAML (invalid literal for int() with base 10: 'abc')"),
        ("a: \0", "not valid YAML (unacceptable character #x0000"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(text, message):
    with pytest.raises(ValueError) as raised:
        parse_yaml(text, where="file.yaml")
    assert str(raised.value).startswith("file.yaml:") and message in str(raised.value)
    assert str(raised.value).endswith(".") and "\n" not in str(raised.value)


def test_an_anchor_that_is_used_twice_is_no_warning(recwarn):
    assert parse_yaml("a: &a 1\nb: &a 2\nc: *a", where="test") == {"a": 1, "b": 2, "c": 2}
    assert not recwarn.list
