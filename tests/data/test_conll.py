"""CoNLL and CoNLL-U files: sentences as they were written, or a sentence that names file and line."""

import pytest

from innerdistill.data import conll
from innerdistill.data.arrow import BLOCK
from innerdistill.data.formats import read_blocks
from innerdistill.data.text_files import find_broken_text

TABBED = "-DOCSTART-\tO\n\nEU\tB-org\nrejects\tO\n\n\n#\tO\nNew York\tB-place\n#tag\tO\n"
SPACED = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-org \nrejects  VBZ B-VP O\n\n# a comment\n# x y z\n. . O O"
UNIVERSAL = """# sent_id = 1
# text = Vámonos al mar
1-2	Vámonos	_	_	_	_	_	_	_	_
1	Vamos	ir	VERB	V	Mood=Imp	0	root	_	_
2	nos	nosotros	PRON	P	_	1	obj	_	_
2.1	he	_	_	_	_	_	_	_	_
3-4	al	_	_	_	_	_	_	_	_
3	a	a	ADP	E	_	5	case	_	_
4	el	el	DET	D	_	5	det	_	_
5	mar	mar	NOUN	S	_	1	obl	_	SpaceAfter=No

# sent_id = 2
1	_	_	_	_	_	0	root	_	_
"""


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="made.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def read(path, **options):
    """All rows of a file, by column."""
    columns = {}
    for block in read_blocks(path, **options):
        for name, values in block.items():
            columns.setdefault(name, []).extend(values)
    return columns


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ending", ["conll", "bio", "iob", "CONLL"])
def test_tabs_separate_words_that_hold_spaces_and_signs(write, ending, line_end):
    path = write(TABBED.replace("\n", line_end), f"made.{ending}")
    assert read(path) == {
        "tokens": [["EU", "rejects"], ["#", "New York", "#tag"]],
        "tags": [["B-org", "O"], ["O", "B-place", "O"]],
    }


def test_spaces_separate_columns_and_the_last_is_the_tag(write):
    path = write(SPACED)
    of_words = {"tokens": [["EU", "rejects"], ["."]], "tags": [["B-org", "O"], ["O"]]}
    assert read(path, columns=["tokens", "tags"]) == of_words
    others = {"column_2": [["NNP", "VBZ"], ["."]], "column_3": [["B-NP", "B-VP"], ["O"]]}
    assert read(path) == {**of_words, **others} and list(read(path)) == ["tokens", "column_2", "column_3", "tags"]
    assert read(path, columns=["tokens", "column_3"])["column_3"] == [["B-NP", "B-VP"], ["O"]]
    header = ["word", "pos", "chunk", "entity"]
    assert read(path, columns=["word"], optional=["pos", "none"], header=header)["pos"] == [["NNP", "VBZ"], ["."]]


def test_a_cell_that_nobody_asks_for_may_be_empty(write):
    path = write("EU\t\tB-org\nrejects\tVBZ\tO\n")
    assert read(path) == {"tokens": [["EU", "rejects"]], "column_2": [["", "VBZ"]], "tags": [["B-org", "O"]]}
    assert read(path, columns=["tokens"]) == {"tokens": [["EU", "rejects"]]}
    with pytest.raises(ValueError, match="line 1 has no value in column 'column_2'"):
        read(path, columns=["tokens", "column_2"])


def test_the_sign_of_a_comment_is_a_word_too(write):
    path = write("# id 1\tdomain=en\n# O\nhash NOUN\n# NOUN\n\n# newdoc\n# NOUN\nit O\n\n# id 2\n# B-a\n")
    assert read(path) == {
        "tokens": [["#", "hash", "#"], ["#", "it"], ["#"]],
        "tags": [["O", "NOUN", "NOUN"], ["NOUN", "O"], ["B-a"]],
    }


def test_words_without_tags_are_read_where_nobody_asks_for_tags(write):
    path = write("EU\nrejects\n\nit\n")
    assert read(path) == read(path, columns=["tokens"], optional=["tags"]) == {"tokens": [["EU", "rejects"], ["it"]]}
    with pytest.raises(ValueError, match=r"line 1 has no tag; expected a word and its tag, .*; got 'EU'\."):
        read(path, columns=["tokens", "tags"])


def test_universal_dependencies(write):
    path = write(UNIVERSAL, "made.conllu")
    words = [["Vamos", "nos", "a", "el", "mar"], ["_"]]
    tags = [["VERB", "PRON", "ADP", "DET", "NOUN"], None]
    assert read(path, columns=["tokens", "tags"]) == {"tokens": words, "tags": tags}
    of_all = read(path)
    assert list(of_all) == ["id", "tokens", "lemma", "tags", "xpos", "feats", "head", "deprel", "deps", "misc"]
    assert (of_all["tokens"], of_all["tags"], of_all["id"][1]) == (words, tags, ["1"])
    assert read(path, columns=["tokens", "deprel", "feats"]) == {
        "tokens": words,
        "deprel": [["root", "obj", "case", "det", "obl"], ["root"]],
        "feats": [["Mood=Imp", "_", "_", "_", "_"], ["_"]],
    }
    assert read(path, columns=["form", "xpos"])["xpos"] == [["V", "P", "E", "D", "S"], None]


LINE = "1\tcasa\tcasa\t{}\t_\t_\t0\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", "EU\tO\nrejects\tX\tO\n", "a.conll: line 2: expected 2 columns with a tab between them, .* got 3"),
        ("a.conll", "EU O\n\nrejects X O\n", "a.conll: line 3: expected 2 columns with spaces between them, .* got 3"),
        ("a.conll", "EU\tO\nrejects\n", "a.conll: line 2: expected 2 columns .* got 1"),
        ("a.conll", "EU\tO\nrejects\t\n", r"a.conll: line 2 has no tag\."),
        ("a.conll", "EU\tO\n \tO\n", r"a.conll: line 2 has no word\."),
        ("a.conll", "EU\tO\nIt\tO\n".encode("utf-16"), "a.conll: this is UTF-16"),
        ("a.conllu", LINE.format("NOUN") + "2\tmar\n", "a.conllu: line 2: expected the 10 columns of CoNLL-U .* got 2"),
        ("a.conllu", "x" + LINE.format("NOUN"), "a.conllu: line 1: expected the number of a word .* got 'x1'"),
        ("a.conllu", LINE.format("_") + LINE.format("NOUN"), r"a.conllu: line 1 has no tag\."),
        ("a.conllu", LINE.format(""), r"a.conllu: line 1 has no tag\."),
        ("a.conllu", "# text = a\n\n" + LINE, "a.conllu: line 2: a sentence without words ends here"),
        ("a.conllu", LINE.format("NOUN") + "\n# text = a", "a.conllu: line 4: a sentence without words ends here"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(write(content, name))


def test_columns_that_are_missing_are_named(write):
    with pytest.raises(ValueError, match=r"no column 'ner'\. .*Columns: column_2, column_3, tags, tokens\."):
        read(write(SPACED), columns=["tokens", "ner"])
    with pytest.raises(ValueError, match=r"line 3: expected 3 columns \(a, b, c\), got 4\."):
        read(write(SPACED), columns=["a"], header=["a", "b", "c"])
    with pytest.raises(ValueError, match="no column 'ner'"):
        read(write(UNIVERSAL, "a.conllu"), columns=["ner"])


def test_a_file_without_words_has_no_rows(write):
    assert read(write("\n# nothing\n\n-DOCSTART- O\n")) == read(write("", "a.conllu")) == {}


def test_other_encodings_leave_broken_text_where_it_is(write):
    tokens = read(write("Zoë\tB-per\nhat\tO\n".encode("latin-1")))["tokens"]
    assert find_broken_text(tokens[0]) == 0 and tokens[0][1] == "hat"
    assert read(write("\ufeffZoë\tO\n"))["tokens"] == [["Zoë"]]


def test_a_file_is_read_a_block_at_a_time(write):
    path = write("word\tO\n\n" * (BLOCK + 5) + "word\n")
    blocks = read_blocks(path)
    assert len(next(blocks)["tokens"]) == BLOCK  # before the line that is wrong is reached
    with pytest.raises(ValueError, match=f"line {2 * BLOCK + 11}"):
        next(blocks)


def test_a_file_without_blank_lines_is_not_held_in_memory(write, monkeypatch):
    monkeypatch.setattr(conll, "MOST_WORDS", 3)
    assert read(write("a O\n" * 3)) == {"tokens": [["a"] * 3], "tags": [["O"] * 3]}
    with pytest.raises(ValueError, match="line 4: a sentence has more than 3 words; expected a blank line"):
        read(write("a O\n" * 9))
