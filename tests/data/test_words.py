"""Words as tokens: against a reference that tokenises word by word and places every window by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from piece_tokenizers import make_byte_tokenizer, make_word_piece_tokenizer
from transformers import PythonBackend

from innerdistill.data.spans import split_words
from innerdistill.data.words import OVERLAP, Words, encode_words, join_words, pack_words, show_words, unpack_words

WORD_PIECE, BYTES, UNTRIMMED = (
    make_word_piece_tokenizer(),
    make_byte_tokenizer(),
    make_byte_tokenizer(trim_offsets=False),
)
TOKENIZERS = {"word pieces": WORD_PIECE, "bytes": BYTES, "bytes with their space": UNTRIMMED}
LONG = 10_000  # tokens that no text here has

# Letters of one and of several bytes, a letter with an accent of its own, punctuation, a control character that BERT
# drops, and a letter that its vocabulary lacks.
words = st.lists(st.text("abcdxyz0é\u0301-.ß\u0007", min_size=1, max_size=9), min_size=1, max_size=30)


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]


def encode(tokenizer, examples, labels=None, *, max_length=LONG, **columns):
    labels = [[]] * len(examples) if labels is None else labels
    columns = {"text1": [pack_words(each) for each in examples], "labels": labels, **columns}
    return encode_words(columns, tokenizer, texts=["text1"], max_length=max_length)


def tokenise_one(tokenizer, word, is_first):
    text = word if is_first or tokenizer is WORD_PIECE else f" {word}"
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def place_pieces(tokenizer, listed):
    """Ids of the tokens of a text, and for each word its first and its last token, word by word."""
    ids, places = [], []
    for number, word in enumerate(listed):
        own = tokenise_one(tokenizer, word, number == 0)
        # Of a word of which nothing is left, the token before.
        places.append((len(ids), len(ids) + len(own) - 1) if own else (max(len(ids) - 1, 0),) * 2)
        ids += own
    return ids, places


def share_by_hand(ids, places, size):
    """Windows as lists of (word, position among the tokens of the window)."""
    overlap = size // OVERLAP if len(ids) > size else 0
    begins = [0]
    while begins[-1] + size < len(ids):
        begins.append(begins[-1] + size - overlap)
    windows = [[] for _ in begins]
    for word, (first, last) in enumerate(places):
        margins = []
        for number, begin in enumerate(begins):
            end = min(begin + size, len(ids)) - 1
            left = first - begin if number > 0 else LONG
            right = end - last if number + 1 < len(begins) else LONG
            margins.append(min(left, right) if begin <= first <= end or not ids else -LONG)
        best = margins.index(max(margins))
        windows[best].append((word, first - begins[best], margins[best] < 0))
    return begins, windows


@settings(max_examples=150, deadline=None)
@given(words)
@example(["\u0007", "ab", "\u0007\u0007", "é"])  # nothing is left of the first and of the third
@example(["\u0007"])
@example(["ß", "abcd", "e\u0301"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_first_piece_of_a_word_stands_for_it(name, listed):
    tokenizer = TOKENIZERS[name]
    found = encode(tokenizer, [join_words(listed)], [list(range(len(listed)))])
    ids, places = place_pieces(tokenizer, listed)
    assert found["input_ids"] == [[2, *ids, 3]]
    expected = [first + 1 for first, _ in places] if ids else [0] * len(listed)
    assert found["pieces"][0].tolist() == expected and found["labels"][0].tolist() == list(range(len(listed)))
    assert found["length"] == [len(ids) + 2] and found["truncated"] == [False]


@settings(max_examples=200, deadline=None)
@given(words, st.integers(3, 24))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_long_text_is_read_in_windows_each_word_once_where_it_is_furthest_from_a_cut(name, listed, max_length):
    tokenizer = TOKENIZERS[name]
    found = encode(tokenizer, [join_words(listed)], [list(range(len(listed)))], max_length=max_length, row=[7])
    ids, places = place_pieces(tokenizer, listed)
    size = max_length - 2
    begins, windows = share_by_hand(ids, places, size)
    assert found["input_ids"] == [[2, *ids[begin : begin + size], 3] for begin in begins]
    assert max(found["length"]) <= max_length and found["row"] == [7] * len(begins)
    assert [labels.tolist() for labels in found["labels"]] == [[word for word, *_ in window] for window in windows]
    assert np.concatenate(found["labels"]).tolist() == list(range(len(listed)))
    assert found["truncated"] == [any(cut for *_, cut in window) for window in windows]
    if ids:
        assert [pieces.tolist() for pieces in found["pieces"]] == [
            [at + 1 for _, at, _ in window] for window in windows
        ]


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=2, max_size=5), st.integers(6, 40))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_text_is_encoded_the_same_beside_others(name, texts, max_length):
    tokenizer, examples = TOKENIZERS[name], [join_words(listed) for listed in texts]
    labels = [list(range(len(listed))) for listed in texts]
    together = encode(tokenizer, examples, labels, max_length=max_length, row=list(range(len(texts))))
    alone = [encode(tokenizer, [each], [of], max_length=max_length, row=[row]) for row, (each, of) in enumerate(zip(examples, labels, strict=True))]  # fmt: skip
    for column, values in together.items():
        of_each = [value for found in alone for value in found[column]]
        assert [np.asarray(value).tolist() for value in values] == [np.asarray(value).tolist() for value in of_each]


def test_short_texts_are_encoded_as_transformers_encodes_them(tokenizer):
    texts = ["in rome", "ada wrote: a letter", "to tom-tom, in abcding"]
    found = encode(tokenizer, [Words(text, split_words(text)[1]) for text in texts])
    expected = tokenizer(texts)
    assert found["input_ids"] == expected["input_ids"] and found["attention_mask"] == expected["attention_mask"]
    assert [len(labels) for labels in found["labels"]] == [0, 0, 0] and found["length"] == list(
        map(len, expected["input_ids"])
    )


@settings(max_examples=60, deadline=None)
@given(words)
def test_a_side_that_is_truncated_changes_nothing(listed):
    """Some tokenizers truncate on the left, as those of dialogues do."""
    left = make_word_piece_tokenizer(truncation_side="left")
    labels = [list(range(len(listed)))]
    found, expected = (encode(each, [join_words(listed)], labels, max_length=9) for each in (left, WORD_PIECE))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert [np.asarray(value).tolist() for value in found[name]] == [np.asarray(value).tolist() for value in values]


def test_a_word_that_is_longer_than_a_window_is_counted_as_cut():
    found = encode(WORD_PIECE, [join_words(["x" * 20, "ab"])], [[0, 1]], max_length=8)
    assert found["truncated"] == [True, *[False] * (len(found["length"]) - 1)] and found["pieces"][0].tolist() == [1]


def test_words_in_raw_text_are_read_where_they_stand(tokenizer):
    """Offsets need not be those of words joined by single spaces."""
    text = "  in   rome, ada"
    words, offsets = split_words(text)
    found = encode(tokenizer, [Words(text, offsets)])
    (ids,), (pieces,) = found["input_ids"], found["pieces"]
    parts = [tokenizer.decode(ids[begin:end]).strip() for begin, end in zip(pieces, [*pieces[1:], -1], strict=True)]
    assert parts == words == ["in", "rome", ",", "ada"]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_packed_words_are_unpacked_again(listed):
    joined = join_words(listed)
    packed = pack_words(joined)
    assert "\n" not in packed and unpack_words(packed) == joined and joined.words == listed
    assert show_words(packed) == " ".join(listed) == joined.text


def test_nothing_is_left_of_a_text():
    found = encode(WORD_PIECE, [join_words(["\u0007", "\u0007\u0007"]), join_words(["ab"])], [[0, 1], [0]])
    assert found["input_ids"][0] == [2, 3] and found["pieces"][0].tolist() == [0, 0]
    assert [labels.tolist() for labels in found["labels"]] == [[0, 1], [0]]


def test_a_slow_tokenizer_is_refused():
    class SlowTokenizer(PythonBackend):
        """A tokenizer of Python, which does not say where its tokens are."""

        vocab_size = 1

        def get_vocab(self):
            return {"a": 0}

    with pytest.raises(ValueError, match="token classification needs a fast tokenizer, and SlowTokenizer is none"):
        encode(SlowTokenizer(), [join_words(["a"])])
