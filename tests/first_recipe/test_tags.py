"""`innerdistill init` for token classification: words and tags, texts and spans, and the teacher that predicts them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import BAD, GOOD, PLAIN
from transformers import AutoModelForTokenClassification

from innerdistill import load_recipe
from innerdistill.cli.main import main

PLAN = ["trainer.use_cpu=true"]
NAMES = ("O", "B-good", "I-good", "B-bad")
# 60 sentences of five words; each has a good entity of two words, and every third a bad one.
SENTENCES = [
    ([GOOD[n % 5], GOOD[n % 3], PLAIN[n % 11], BAD[n % 5] if n % 3 == 0 else PLAIN[n % 8], PLAIN[n % 13]],
     ["B-good", "I-good", "O", "B-bad" if n % 3 == 0 else "O", "O"])
    for n in range(60)
]  # fmt: skip
FOUND = "BIO tags of 300 words. 2 types of entities, 1.3 per text: good (60), bad (20)."


def write_lines(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def write_conll(name, *, make_cells=lambda word, tag: [word, tag], sentences=SENTENCES):
    lines = []
    for words, tags in sentences:
        pairs = zip(words, tags, strict=True)
        lines += [*("\t".join(map(str, make_cells(word, tag))) for word, tag in pairs), ""]
    Path(name).write_text("\n".join(lines))
    return name


def write_conllu(name):
    kinds = {"O": "X", "B-good": "ADJ", "I-good": "ADJ", "B-bad": "NOUN"}
    lines = []
    for words, tags in SENTENCES:
        for number, (word, tag) in enumerate(zip(words, tags, strict=True), start=1):
            lines.append("\t".join([str(number), word, word, kinds[tag], "_", "_", str(number - 1), "dep", "_", "_"]))
        lines.append("")
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def write_spans(name, *, change=lambda row: row):
    rows = []
    for words, tags in SENTENCES:
        starts = [sum(len(word) + 1 for word in words[:n]) for n in range(5)]
        spans = [{"start": 0, "end": starts[2] - 1, "label": "good"}]
        if tags[3] != "O":
            spans.append({"start": starts[3], "end": starts[4] - 1, "label": "bad"})
        rows.append(change({"id": len(rows), "text": " ".join(words), "found": spans}))
    return write_lines(name, rows)


def list_rows(make_tag=str):
    rows = []
    for words, tags in SENTENCES:
        rows.append({"words": words, "kinds": [make_tag(tag) for tag in tags]})
    return rows


@pytest.fixture
def tagger(save):
    return save("tagger", *NAMES, head=AutoModelForTokenClassification)


def plans(capsys):
    assert main(["plan", "recipe.yaml", *PLAN]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["conll", "bio", "iob", "jsonl", "parquet"])
@pytest.mark.parametrize("is_teacher", [True, False])
def test_words_and_tags_are_planned(init, tagger, base_folder, suffix, is_teacher, capsys):
    file, columns = f"made.{suffix}", ("words", "kinds")
    if suffix == "jsonl":
        write_lines(file, list_rows())
    elif suffix == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(list_rows()), file)
    else:
        columns = ("tokens", "tags")
        write_conll(file)
    recipe, said, warned = init(file, *(["--teacher", tagger] if is_teacher else ["--base", base_folder]))
    assert (*recipe.data.text, recipe.data.label) == columns and recipe.data.labels is None
    assert (recipe.data.problem_type, recipe.data.metric) == ("token_classification", "entity_f1")
    assert f"Text column: {columns[0]} (lists of words)." in said and FOUND in said
    assert f"Label column: {columns[1]} (a tag for each word)." in said or is_teacher
    assert "(the teacher's tags)." in said or not is_teacher
    assert "99 % of 60 measured texts have at most 7 tokens, the longest 7." in said and "Warning" not in warned
    assert "Metric: entity F1." in plans(capsys)


@pytest.mark.parametrize(
    ("scheme", "changes"),
    [
        ("BIOES", {"I-good": "E-good", "B-bad": "S-bad"}),
        ("BILOU", {"I-good": "L-good", "B-bad": "U-bad"}),
        ("IO", {"B-good": "I-good", "B-bad": "I-bad"}),
    ],
)
def test_every_scheme_is_said(init, base_folder, scheme, changes):
    sentences = [(words, [changes.get(tag, tag) for tag in tags]) for words, tags in SENTENCES]
    recipe, said, warned = init(write_conll("made.conll", sentences=sentences), "--base", base_folder)
    assert FOUND.replace("BIO", scheme) in said and recipe.data.metric == "entity_f1" and "Warning" not in warned


def test_every_key_stands_under_a_comment_in_80_columns(init, base_folder):
    init(write_conll("made.conll"), "--base", base_folder)
    lines = Path("recipe.yaml").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    for number, line in enumerate(lines):
        if ": " in line and not line.lstrip().startswith("#"):
            assert lines[number - 1].lstrip().startswith("# "), line
    comments = " ".join(" ".join(lines).replace("#", "").split())
    assert FOUND in comments and "read in overlapping windows, each word in one of them." in comments
    assert "Also: entity_precision, entity_recall, tag_accuracy." in comments and "validation: dev.conll" in comments


def test_the_last_of_many_columns_is_the_tag(init, base_folder):
    file = write_conll("made.conll", make_cells=lambda word, tag: [word, "NN" if tag == "O" else "JJ", "B-NP", tag])
    recipe, said, _ = init(file, "--base", base_folder)
    assert "Columns: tokens, column_2, column_3, tags." in said and recipe.data.label == "tags"
    assert "Also possible (--label): column_2." in said  # column_3 has one value only
    recipe, said, _ = init(file, "--base", base_folder, "--label", "column_2", "-o", "other.yaml")
    assert (
        "Label column: column_2 (a tag for each word)." in said and "2 tags of 300 words: NN (160), JJ (140)." in said
    )
    assert load_recipe("other.yaml").data.metric == "tag_accuracy"


def test_the_column_with_the_teachers_tags_is_taken(init, save):
    rows = [{"words": words, "tags": ["X"] * 5, "kinds": tags} for words, tags in SENTENCES]
    recipe, said, _ = init(write_lines("made.jsonl", rows), "--teacher", save("tagger", *NAMES[::-1], head=AutoModelForTokenClassification))  # fmt: skip
    assert recipe.data.label == "kinds" and "Label column: kinds (the teacher's tags). Also possible (--label): tags." in said  # fmt: skip


def test_parts_of_speech_are_scored_word_by_word(init, base_folder, capsys):
    recipe, said, _ = init(write_conllu("made.conllu"), "--base", base_folder)
    assert (*recipe.data.text, recipe.data.label) == ("tokens", "tags")
    assert "made.conllu: CoNLL-U, 60 rows. Columns: id, tokens, lemma, tags," in said
    assert recipe.data.metric == "tag_accuracy" and "3 tags of 300 words: X (160), ADJ (120), NOUN (20)." in said
    assert "tag accuracy" in plans(capsys)


@pytest.mark.parametrize("is_teacher", [True, False])
def test_spans_of_texts_are_planned(init, tagger, base_folder, is_teacher, capsys):
    recipe, said, _ = init(write_spans("made.jsonl"), *(["--teacher", tagger] if is_teacher else ["--base", base_folder]))  # fmt: skip
    assert (recipe.data.text, recipe.data.label) == (("text",), "found") and recipe.data.metric == "entity_f1"
    assert "Label column: found (spans of text)." in said and FOUND in said
    plans(capsys)


def test_numbers_are_the_ids_of_a_teacher_with_names(init, tagger, capsys):
    file = write_lines("made.jsonl", list_rows(NAMES.index))
    recipe, said, warned = init(file, "--teacher", tagger)
    assert recipe.data.labels == NAMES and recipe.data.metric == "entity_f1" and FOUND in said
    assert "They are taken for the ids of tagger: 0 is O, 1 is B-good, 2 is I-good, and so on." in warned
    assert "# CHECK THIS" in Path("recipe.yaml").read_text() and "Metric: entity F1." in plans(capsys)


def test_numbers_that_nobody_names_mark_no_entities(init, base_folder, save, capsys):
    file = write_lines("made.jsonl", list_rows(NAMES.index))
    numbered = save("numbered", *(f"LABEL_{n}" for n in range(4)), head=AutoModelForTokenClassification)
    for model in (["--base", base_folder], ["--teacher", numbered]):
        Path("recipe.yaml").unlink(missing_ok=True)
        recipe, said, warned = init(file, *model)
        assert recipe.data.labels is None and recipe.data.metric == "tag_accuracy"
        assert "4 tags of 300 words: 0 (160), 1 (60), 2 (60), 3 (20)." in said
        assert "The tags are numbers, so nobody knows which of them mark entities" in warned
        assert "# labels: [O, B-person, I-person]" in Path("recipe.yaml").read_text()
        plans(capsys)


def test_a_teacher_that_only_numbers_its_tags_needs_a_look(init, save):
    numbered = save("numbered", *(f"LABEL_{n}" for n in range(5)), head=AutoModelForTokenClassification)
    recipe, _, warned = init(write_conll("made.conll"), "--teacher", numbered)
    assert recipe.data.labels == ("B-bad", "B-good", "I-bad", "I-good", "O")  # completed: five
    assert "numbered only numbers its labels. The order B-bad, B-good, I-bad," in warned


def test_tags_that_break_their_scheme_and_rare_types_are_said(init, base_folder):
    odd = [*SENTENCES, (["word1", "word2", "bad1"], ["O", "I-good", "B-odd"])]
    _, said, warned = init(write_conll("made.conll", sentences=odd), "--base", base_folder)
    assert "Warning: Fewer than 10 examples of odd." in warned and "odd (1)" in said
    assert "1 tag of train breaks the scheme BIO, as I after O does. Such tags are read as in seqeval" in warned


def test_long_texts_are_read_in_windows(init, tagger):
    long = [*SENTENCES, (["word1"] * 200, ["O"] * 200)]
    recipe, said, _ = init(write_conll("made.conll", sentences=long), "--teacher", tagger)
    assert "the longest 202. The model reads 64, so 1.6 % are read in several windows." in said
    assert recipe.data.max_length is None
    _, said, _ = init(write_conll("made.conll", sentences=[*SENTENCES] * 3 + [long[-1]]), "--teacher", tagger, "-o", "other.yaml")  # fmt: skip
    assert load_recipe("other.yaml").data.max_length == 8
    assert "Reading the few longer texts in several windows saves memory and time." in " ".join(Path("other.yaml").read_text().replace("#", "").split())  # fmt: skip


@pytest.mark.parametrize("kind", ["words", "texts"])
def test_a_tagger_labels_what_has_no_tags(init, tagger, base_folder, kind, capsys):
    rows = [{"content": words if kind == "words" else " ".join(words)} for words, _ in SENTENCES]
    recipe, said, _ = init(write_lines("made.jsonl", rows), "--teacher", tagger)
    assert recipe.data.label is None and recipe.data.text == ("content",) and not recipe.baseline
    assert recipe.data.problem_type == "token_classification" and recipe.losses["gold_labels"] == 0
    assert "A fine-tuned model with 4 layers. It predicts 4 tags: O, B-good, I-good, B-bad." in said
    assert "the teacher labels the texts" in said
    plans(capsys)
    what = "no column looks like tags of these words" if kind == "words" else "no column looks like labels"
    assert what in init("made.jsonl", "--base", base_folder, "-o", "b.yaml", code=2)[2]


def test_labels_of_texts_and_their_ids_are_no_words_and_tags(init, base_folder):
    rows = [{"text": " ".join(words), "labels": sorted(set(tags)), "ids": sorted(map(NAMES.index, set(tags)))} for words, tags in SENTENCES]  # fmt: skip
    recipe, _, _ = init(write_lines("made.jsonl", rows), "--base", base_folder)
    assert recipe.data.problem_type == "multi_label_classification"


def test_a_word_that_is_called_as_its_column_is_no_header(init, base_folder):
    sentences = [*SENTENCES, (["tokens", "tags"], ["O", "B-bad"]), (["tokens"], ["O"])]
    recipe, _, _ = init(write_conll("made.conll", sentences=sentences), "--base", base_folder)
    assert recipe.data.text == ("tokens",)


def test_what_does_not_fit_is_refused_in_a_sentence(init, save, tagger, base_folder, folder):
    few = save("few", "O", "B-good", "I-good", head=AutoModelForTokenClassification)
    classes = save("classes", "neg", "pos")
    conll, lists = write_conll("made.conll"), write_lines("made.jsonl", list_rows())
    rows = list_rows()
    rows[7]["kinds"] = rows[7]["kinds"][1:]
    write_lines("short.jsonl", rows)
    write_spans("split.jsonl", change=lambda row: {**row, "found": [{"start": 1, "end": 4, "label": "good"}]})
    pairs = [{"a": " ".join(words), "b": "good1 bad1", "label": "neg"} for words, _ in SENTENCES]
    write_lines("pairs.jsonl", pairs)
    Path("latin.conll").write_bytes("Zoë\tB-good\n\nit\tO\n".encode("latin-1"))
    for words, message in (
        ([conll, "--teacher", few], "label column 'tags': the data has 5 labels"),
        ([conll, "--teacher", classes], "column 'tokens' holds lists of words, but classes predicts classes of whole texts."),
        (["short.jsonl", "--teacher", tagger], "short.jsonl: row 8: 'words' and 'kinds' differ in length: 5 words, 4 tags"),
        (["split.jsonl", "--base", base_folder], "split.jsonl: row 1: the span from 1 to 4"),
        (["pairs.jsonl", "--teacher", tagger, "--label", "label"], "it holds 'neg', but tagger predicts a tag for each word."),
        (["pairs.jsonl", "--teacher", tagger, "--text", "a", "b"], "--text: a tagger reads one column of words or texts, got a, b."),
        ([lists, "--teacher", tagger, "--label", "kind"], "--label: made.jsonl has no column 'kind'. Did you mean"),
        (["latin.conll", "--base", base_folder], "latin.conll: row 1: 'tokens' is not UTF-8 text"),
    ):  # fmt: skip
        before = sorted(folder.rglob("*"))
        _, said, refused = init(*words, code=2)
        assert message in refused and not said, (words, refused)
        assert sorted(folder.rglob("*")) == before
