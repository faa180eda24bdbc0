"""Which column is the text and which the label: by name, by content, or not at all."""

import pytest

from innerdistill.first_recipe.columns import choose_label, choose_text, refuse_missing_header
from innerdistill.first_recipe.sample import Column, Sample

WORDS = [f"a sentence number {n} with words" for n in range(12)]
LONGER = [f"{text}, and many more of them than in the others" for text in WORDS]
NUMBERS, DECIMALS = [str(n) for n in range(12)], [f"{n / 3:.2f}" for n in range(12)]
TWO, THREE, CODES = ["a", "b"] * 6, ["x", "y", "z"] * 4, [f"k{n:03}" for n in range(12)]


def make_sample(**columns):
    return Sample("f.csv", {name: Column(name, values) for name, values in columns.items()}, 12, is_whole=True)


def choose(columns, *, outputs=(), scores=False, text=(), label=None):
    sample = make_sample(**columns)
    chosen = choose_label(sample, label, outputs=outputs, scores=scores)
    return choose_text(sample, text, label=chosen.columns[0]), chosen


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"id": NUMBERS, "text": WORDS, "label": TWO}, ("text",), "label"),
        ({"review": WORDS, "sentiment": TWO, "score": DECIMALS}, ("review",), "sentiment"),  # the surer name
        ({"label_text": THREE, "text": WORDS, "label": TWO}, ("text",), "label"),  # a whole name before a part of one
        ({"tweet_id": NUMBERS, "airline_sentiment": THREE, "body": WORDS}, ("body",), "airline_sentiment"),
        ({"isDuplicate": TWO, "question1": WORDS, "question2": LONGER}, ("question1", "question2"), "isDuplicate"),
        ({"#1 String": WORDS, "#2 String": LONGER, "Quality": TWO}, ("#1 String", "#2 String"), "Quality"),
        ({"pair_ID": NUMBERS, "sentence_A": WORDS, "sentence_B": WORDS, "relatedness_score": DECIMALS},
         ("sentence_A", "sentence_B"), "relatedness_score"),
        ({"hypothesis": WORDS, "premise": LONGER, "gold_label": THREE}, ("premise", "hypothesis"), "gold_label"),
        ({"title": WORDS, "article": LONGER, "kind": THREE}, ("article",), "kind"),  # the longest; few values
        ({"text": WORDS, "explanation": LONGER, "label": TWO}, ("text",), "label"),  # a usual name before the longest
        ({"words": WORDS, "number": NUMBERS, "strength": DECIMALS}, ("words",), "strength"),
        ({"code": CODES, "words": WORDS, "kind": TWO}, ("words",), "kind"),  # codes are no texts
        ({"query": CODES, "intent": TWO}, ("query",), "intent"),  # single words, but nothing else is there
        ({"文": ["这部电影很好看"] * 6 + ["太无聊了"] * 6, "label": TWO}, ("文",), "label"),  # no spaces between words
        ({"when": ["2024-01-01 10:00"] * 12, "words": WORDS, "kind": TWO}, ("words",), "kind"),
        ({"text": WORDS, "label": [0, 1] * 6}, ("text",), "label"),
        ({"text": WORDS, "label": [True, False] * 6}, ("text",), "label"),
        ({"text": WORDS, "label": [None, "a"] * 6, "tokens": [[1, 2]] * 12}, ("text",), "label"),
    ],
)  # fmt: skip
def test_columns_are_found(columns, text, label):
    chosen, labels = choose(columns)
    assert (chosen.names, labels.names) == (text, (label,))


def test_a_choice_says_why_and_what_else_is_possible():
    text, label = choose({"title": WORDS, "article": LONGER, "kind": THREE, "group": TWO})
    assert (text.reason, text.others) == ("the longest texts", ("title",))
    assert (label.names, label.reason, label.others) == (("group",), "few different values", ("kind",))


def test_the_teachers_labels_are_found_whatever_the_column_is_called():
    columns = {"text": WORDS, "label": TWO, "kind": THREE}
    _, label = choose(columns, outputs=("X", "Y", "Z"))
    assert (label.names, label.reason) == (("kind",), "it holds the teacher's labels")
    _, label = choose({"text": WORDS, "label": TWO, "stars": DECIMALS}, scores=True)
    assert label.names == ("stars",)


def test_columns_that_are_given_are_taken():
    columns = {"text": WORDS, "label": TWO, "kind": THREE, "other": LONGER}
    text, label = choose(columns, text=("other", "text"), label="kind")
    assert (text.names, label.names, text.reason) == (("other", "text"), ("kind",), "as given")
    with pytest.raises(ValueError, match=r"--label: f.csv has no column 'knd'. Did you mean 'kind'\?"):
        choose(columns, label="knd")
    with pytest.raises(ValueError, match=r"--text: f.csv has no column 'txt'. Did you mean 'text'\?"):
        choose(columns, text=("txt",))
    with pytest.raises(ValueError, match="--text: column 'number' of f.csv does not hold texts"):
        choose({**columns, "number": [1] * 12}, text=("number",))
    with pytest.raises(ValueError, match="--label: column 'tokens' of f.csv does not hold labels"):
        choose({**columns, "tokens": [{"a": 1}] * 12}, label="tokens")
    with pytest.raises(ValueError, match="--text: 'label' is the label column"):
        choose(columns, text=("label",))


def test_nothing_that_fits_is_refused_with_all_columns():
    with pytest.raises(ValueError, match=r"no column looks like labels; name one with --label. Columns: id, words."):
        choose({"id": NUMBERS, "words": WORDS})
    with pytest.raises(ValueError, match=r"no column looks like scores; name one with --label. Columns: text, label."):
        choose({"text": WORDS, "label": TWO}, scores=True)
    with pytest.raises(ValueError, match=r"no column looks like texts; name one with --text. Columns: number, label."):
        choose({"number": NUMBERS, "label": TWO})


def test_a_first_line_that_is_no_header_is_refused():
    for columns in ({"a": TWO, "some words": WORDS}, {"1": ["0", "1"] * 6, "some words": WORDS}):
        sample = make_sample(**columns)
        with pytest.raises(ValueError, match="its first line holds values"):
            refuse_missing_header(sample, list(sample.columns.values()))
    with pytest.raises(ValueError, match="its first line holds values"):  # also where no column looks like labels
        choose({"some words": WORDS, "k1": [f"k{n // 2}" for n in range(12)][::-1], "k000": CODES}, scores=True)
    for columns in ({"text": WORDS, "label": TWO}, {"2 words": WORDS, "label": ["0", "1"] * 6}):
        sample = make_sample(**columns)
        refuse_missing_header(sample, list(sample.columns.values()))
