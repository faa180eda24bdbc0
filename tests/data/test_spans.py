"""Spans of raw text become tags of words, and the same spans again; what fits no words is refused with its row."""

import json
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers.models.bert.tokenization_bert_legacy import BasicTokenizer

from innerdistill.data.formats import read_blocks
from innerdistill.data.spans import Span, find_spans, read_span_rows, split_words, tag_words

LABELS = ("person", "creative-work", "person")
PARTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["Zoë", "co-op", " ", "\n", "我爱北京", "🙂", "e\u0301", "\u200b", "$5.3M"])
)
texts = (
    st.lists(PARTS, max_size=8)
    .map("".join)
    .filter(lambda text: pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text))
)


@st.composite
def annotated(draw):
    """A text with some spans of whole words, in any order."""
    text = draw(texts)
    _, offsets = split_words(text)
    cuts = sorted(draw(st.sets(st.integers(0, len(offsets)), max_size=6)))
    spans = [
        Span(offsets[first][0], offsets[end - 1][1], draw(st.sampled_from(LABELS)))
        for first, end in pairwise(cuts)
        if draw(st.booleans())
    ]
    return text, draw(st.permutations(spans))


def as_bioes(tags):
    """The same entities in BIOES."""
    changed = []
    for tag, after in zip(tags, [*tags[1:], "O"], strict=True):
        ends = not after.startswith("I-")
        letter = {"B": "S" if ends else "B", "I": "E" if ends else "I", "O": "O"}[tag[0]]
        changed.append(letter + tag[1:])
    return changed


@settings(max_examples=500, deadline=None)
@given(annotated())
def test_spans_become_tags_and_the_same_spans_again(drawn):
    text, spans = drawn
    words, offsets = split_words(text)
    tags = tag_words(text, offsets, spans)
    assert find_spans(tags, offsets) == find_spans(as_bioes(tags), offsets) == sorted(spans)
    inside = [tag.replace("B-", "I-") for tag in tags]
    covered = {number for span in find_spans(inside, offsets) for number in range(*span[:2])}
    assert covered >= {number for span in spans for number in range(*span[:2])}
    assert all(text[start:end] == word for word, (start, end) in zip(words, offsets, strict=True))


LETTERS = st.characters(max_codepoint=0x17F, exclude_categories=["C"])  # newer Unicode is not the same for both
CHINESE = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5)


@settings(max_examples=500, deadline=None)
@given(st.text(st.one_of(LETTERS, CHINESE, st.sampled_from("  \n\u3000\u2014\u300cか")), min_size=1))
def test_words_are_those_of_bert(text):
    """Against its slow tokenizer, which is written in Python."""
    wanted = BasicTokenizer(do_lower_case=False).tokenize(text)
    assume(wanted)
    assert split_words(text)[0] == wanted


def test_white_space_at_the_ends_of_a_span_is_allowed():
    text = "In New York now"
    tags = tag_words(text, split_words(text)[1], [Span(2, 12, "place")])
    assert tags == ["O", "B-place", "I-place", "O"]
    assert find_spans(tags, split_words(text)[1]) == [Span(3, 11, "place")]


def test_spans_that_touch_stay_two():
    text = "Ada,Bob"
    assert tag_words(text, split_words(text)[1], [Span(3, 7, "b"), Span(0, 3, "b")]) == ["B-b", "B-b", "I-b"]


def test_json_lines_are_read(tmp_path):
    rows = [
        {"text": "Ada Lovelace wrote.", "spans": [{"start": 0, "end": 12, "label": "person", "source": "me"}]},
        {"text": "Nobody", "spans": []},
        {"text": "Unknown"},
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (block,) = read_blocks(path, columns=["text"], optional=["spans"])
    found = read_span_rows(block, text="text", spans="spans", where=str(path), first=1, labelled=None)
    assert [row.tags for row in found] == [["B-person", "I-person", "O", "O"], ["O"], None]
    assert found[0].words == ["Ada", "Lovelace", "wrote", "."] and found[0].offsets[1] == (4, 12)
    with pytest.raises(ValueError, match=r"train\.jsonl: row 3 has no 'spans'; .* an empty list\.$"):
        read_span_rows(block, text="text", spans="spans", where=str(path), first=1)
    unread = read_span_rows(block, text="text", spans="spans", where=str(path), first=1, labelled=False)
    assert [row.tags for row in unread] == [None, None, None]


def span(start, end, label="person"):
    return {"start": start, "end": end, "label": label}


@pytest.mark.parametrize(
    ("text", "spans", "message"),
    [
        ("Ada Lovelace", [span(0, 6)], r"the span from 0 to 6 \('Ada Lo'\) splits the word 'Lovelace'"),
        ("Ada Lovelace", [span(1, 12)], r"the span from 1 to 12 \('da Lovelace'\) splits the word 'Ada'"),
        ("Ada Lovelace", [span(5, 6)], "splits the word 'Lovelace'"),
        ("Ada Lovelace", [span(4, 13)], "the span from 4 to 13 leaves the text, which has 12 characters"),
        ("Ada Lovelace", [span(-1, 3)], "the span from -1 to 3 leaves the text"),
        ("Ada Lovelace", [span(3, 3)], "the span from 3 to 3 is empty; end is the position after"),
        ("Ada Lovelace", [span(4, 3)], "the span from 4 to 3 is empty"),
        ("Ada Lovelace", [span(3, 4)], r"the span from 3 to 4 \(' '\) holds no word"),
        ("Ada Lovelace", [span(4, 12), span(0, 12)], "the span from 0 to 12 .* overlaps with the span from 4 to 12"),
        ("Ada Lovelace", [span(0, 3), span(0, 3)], "the span from 0 to 3 .* overlaps with the span from 0 to 3"),
        ("Ada Lovelace", "0-3", "'entities' holds '0-3', expected a list such as"),
        ("Ada Lovelace", {"start": [0]}, "'entities' holds {'start': .0.}, expected a list such as"),
        ("Ada Lovelace", [span(0, 3), [0, 3]], r"span 2 of 'entities' is \[0, 3\], expected start, end and label"),
        ("Ada Lovelace", [{"start": 0, "end": 3}], "span 1 of 'entities' is .*, expected start, end and label"),
        ("Ada Lovelace", [span(0, 3.5)], "span 1 of 'entities': end is 3.5, expected a whole number"),
        ("Ada Lovelace", [span(0, True)], "span 1 of 'entities': end is True, expected a whole number"),
        ("Ada Lovelace", [span(0, 3, "")], "span 1 of 'entities': label is '', expected a name"),
        (
            "Ada Lovelace",
            [span(0, 3, ["a"])],
            r"span 1 of 'entities': label holds \['a'\], expected a name or a number",
        ),
        (" \n", [], r"'body' holds ' \\n', expected words"),
        (None, [], "'body' holds None, expected text"),
        ("Zo\udceb", [], r"'body' is not UTF-8 text \('Zo\\udceb'\); save the file as UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(text, spans, message):
    block = {"body": ["fine", text], "entities": [[], spans]}
    with pytest.raises(ValueError, match=rf"^train\.jsonl: row 12: .*{message}.*\.$"):
        read_span_rows(block, text="body", spans="entities", where="train.jsonl", first=11)
