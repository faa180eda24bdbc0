"""Made files and recipes, good, strange and damaged, through the whole load path: read as they are, or one clear sentence.

A few hundred of each kind here; MADE_INPUTS=50000 makes more of them (`make soak`).
"""

import csv
import io
import json
import math
import os
import sys
import unicodedata
from collections import Counter
from contextlib import suppress
from copy import deepcopy

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innerdistill.data.formats import read_blocks
from innerdistill.data.spans import find_spans, read_span_rows
from innerdistill.data.tables import read_file
from innerdistill.data.tagged_rows import read_tagged_rows
from innerdistill.data.task_data import load_task
from innerdistill.data.tasks import Task
from innerdistill.data.tokens import tokenise
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.recipe import DataRecipe, Recipe
from innerdistill.recipe.yaml import write_yaml
from innerdistill.run.assemble import assemble

MADE = int(os.environ.get("MADE_INPUTS", "200"))
made = settings(
    max_examples=MADE, deadline=None, derandomize=MADE < 1_000, database=None, suppress_health_check=list(HealthCheck)
)
LINE_ENDS = ("\n", "\r\n", "\r")
STRANGE = [
    "", " ", "NA", "null", "007", "1e5", "nan", "true", '"', '""', "'", ",", "\t", "\\", "\\N", "a\nb", "a\r\nb", "a\rb",
    "\0", "\ufeff", "\u2028", "\x1a", "é", "日本", "🙂", "[CLS]", "x" * 5_000,
]  # fmt: skip
BYTES = [
    b"",
    b"\xff",
    b"\xe9",
    b"\xed\xa0\x80",
    b"\0",
    b'"',
    b"'",
    b"\n",
    b"\r",
    b",",
    b"\t",
    b"{",
    b"[",
    b"\\ud800",
    b"1e999",
]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.one_of(st.sampled_from(STRANGE), text, st.sampled_from(["good1 word2", "bad3", "word4 word5 word6"]))
labels = st.one_of(
    st.sampled_from(["pos", "neg"] * 8), st.sampled_from(["", "0", "1", "1.5", "NA", "é", "x" * 300]), text
)
values = st.one_of(
    texts,
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.booleans(),
    st.none(),
    st.just([1]),
    st.just({}),
)
plain_rows = st.lists(st.tuples(texts, st.sampled_from(["pos", "neg"])), min_size=20, max_size=40)
rows = st.one_of(plain_rows, plain_rows, plain_rows, st.lists(st.tuples(texts, labels), max_size=30))
headers = st.sampled_from([["text", "label"]] * 20 + [["label", "text"], ["text"], ["text", "text"], ["a", "é"], []])


@st.composite
def damaged(draw, contents):
    """Bytes, of which a few are cut, repeated or replaced."""
    content = draw(contents)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        between = draw(st.sampled_from(BYTES))
        changed = (content[:start] + between + content[end:], content[:start], content + content[start:end])
        content = draw(st.sampled_from(changed))
    return content


@st.composite
def delimited(draw, delimiter):
    """A CSV or TSV file, often with rows that are too long or too short, in some encoding."""
    common = [csv.QUOTE_NONE] if delimiter == "\t" else [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]
    quoting = draw(st.sampled_from([*common, *common, csv.QUOTE_MINIMAL, csv.QUOTE_NONE]))
    buffer = io.StringIO()
    layout = {"delimiter": delimiter, "quoting": quoting, "lineterminator": draw(st.sampled_from(LINE_ENDS))}
    writer = csv.writer(buffer, escapechar="\\", **layout)
    lines = [draw(headers), *draw(rows)]
    if draw(st.sampled_from([False, False, True])):
        number = draw(st.integers(0, len(lines) - 1))
        lines[number] = [*lines[number], *lines[number]][: draw(st.integers(0, 4))]
    with suppress(csv.Error):  # not every row can be written without quotes
        writer.writerows(lines)
    content = buffer.getvalue()
    if draw(st.booleans()):
        content = content.rstrip("\r\n")
    return content.encode(
        draw(st.sampled_from(["utf-8"] * 20 + ["utf-8-sig", "utf-16", "latin-1", "cp1252"])), "replace"
    )


@st.composite
def json_lines(draw):
    """JSON lines of objects, and sometimes of something else."""
    objects = [dict(zip(("text", "label"), row, strict=True)) for row in draw(rows)]
    if objects and draw(st.sampled_from([False, False, True])):
        of_any_kind = st.dictionaries(st.sampled_from(["text", "label", "other"]), values)
        objects[draw(st.integers(0, len(objects) - 1))] = draw(of_any_kind)
    lines = [json.dumps(content, ensure_ascii=draw(st.booleans())) for content in objects]
    if draw(st.sampled_from([False, False, True])):
        other = ["", "[]", "1", "null", '{"text": "a", "text": "b"}', "[" * 9_999, "NaN"]
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(other)))
    return "\n".join(lines).encode()


@st.composite
def parquet(draw):
    """A Parquet file with columns of some types."""
    texts_or_bytes = [pa.string()] * 9 + [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
    table_rows, names = draw(rows), draw(headers)
    columns = [pa.array([row[n] for row in table_rows], draw(st.sampled_from(texts_or_bytes))) for n in range(2)]
    if draw(st.integers(0, 6)) == 6:
        kinds = [pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("ns"), pa.list_(pa.int8()), pa.null()]
        numbers = pa.array(
            draw(st.lists(st.one_of(st.none(), st.integers(0, 1)), min_size=20, max_size=40)), pa.int64()
        )
        kind = draw(st.sampled_from(kinds))
        other = pa.nulls(len(numbers), kind) if pa.types.is_nested(kind) or kind == pa.null() else numbers.cast(kind)
        columns = [column.slice(0, 20) for column in (pa.array(["a", "b"] * 10), other)]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(columns[: len(names)], names[:2])
    pa.parquet.write_table(table, buffer, compression=draw(st.sampled_from(["snappy", "none", "zstd"])))
    return buffer.getvalue()


words = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs"], exclude_characters="\ufeff"), min_size=1, max_size=9
)
tags = st.sampled_from(["O", "O", "B-person", "I-person", "B-a-b", "NOUN"])
sentences = st.lists(st.lists(st.tuples(words, tags), min_size=1, max_size=9), max_size=9)


@st.composite
def conll(draw, separator):
    """A CoNLL file, often with documents and comments, and sometimes with a line of another kind."""
    lines = []
    for sentence in draw(sentences):
        lines += draw(st.sampled_from([[], [], [f"-DOCSTART-{separator}O", ""], ["# id x"], ["# id", "# text"]]))
        lines += [separator.join(row) for row in sentence] + [""]
    if lines and draw(st.sampled_from([False, False, True])):
        other = ["", " ", "word", f"word{separator}", f"{separator}O", f"a{separator}b{separator}O", "#", "\u2028"]
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(other)))
    content = draw(st.sampled_from(LINE_ENDS)).join(lines)
    return content.encode(draw(st.sampled_from(["utf-8"] * 20 + ["utf-8-sig", "utf-16", "latin-1"])), "replace")


@st.composite
def conllu(draw):
    """A CoNLL-U file, often with comments, words in one and words left out, and sometimes with a line of another kind."""
    lines = []
    for number, sentence in enumerate(draw(sentences)):
        lines += [f"# sent_id = {number}"] * draw(st.integers(0, 2))
        for word, (form, tag) in enumerate(sentence, start=1):
            ids = draw(st.sampled_from([[], [], [f"{word}-{word + 1}"], [f"{word}.1"]]))
            lines += ["\t".join([each, form, "_", tag, *"______"]) for each in [*ids, str(word)]]
        lines.append("")
    if lines and draw(st.sampled_from([False, False, True])):
        other = ["", "# text", "1-2", "1\tword", "\t" * 9, "x\tword" + "\t_" * 8, "1\tword" + "\t_" * 8]
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(other)))
    return draw(st.sampled_from(LINE_ENDS)).join(lines).encode()


@st.composite
def tagged_lines(draw):
    """JSON lines of words and tags, and sometimes of something else."""
    columns = [tuple(map(list, zip(*sentence, strict=True))) for sentence in draw(sentences)]
    objects = [dict(zip(("tokens", "tags"), lists, strict=True)) for lists in columns]
    if objects and draw(st.booleans()):
        row, name = draw(st.sampled_from(objects)), draw(st.sampled_from(["tokens", "tags"]))
        row[name] = draw(st.one_of(values, st.lists(values, max_size=5)))
    return "\n".join(json.dumps(content, ensure_ascii=draw(st.booleans())) for content in objects).encode()


TAGGED = {"conll": conll("\t"), "bio": conll(" "), "conllu": conllu(), "jsonl": tagged_lines()}
FILES = {"csv": delimited(","), "tsv": delimited("\t"), "jsonl": json_lines(), "parquet": parquet()}


@pytest.fixture(scope="module")
def outcomes(request):
    """What came of the inputs of each kind; printed where there are many."""
    counted = Counter()
    yield counted
    if MADE >= 1_000:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{dict(counted)}", file=sys.stderr)  # noqa: T201 (a worker of pytest-xdist shows no other)


def refusal(error, *named):
    """One sentence that names what is wrong, of bearable length, without anything that a terminal would obey."""
    assert type(error) is ValueError, repr(error)
    sentence = str(error)
    assert sentence.endswith((".", "?")) and len(sentence) < 6_000, sentence
    assert not {unicodedata.category(character) for character in sentence} & {"Cc", "Cs", "Zl", "Zp"}, sentence
    assert any(name in sentence for name in named), sentence


@pytest.mark.parametrize("kind", FILES)
def test_a_made_file_is_read_or_refused_in_one_sentence(kind, tmp_path, tokenizer, outcomes):
    path = tmp_path / f"made.{kind}"

    @made
    @given(damaged(FILES[kind]), st.sampled_from(["accuracy"] * 4 + ["pearson"]))
    def check(content, metric):
        path.write_bytes(content)
        try:
            recipe = DataRecipe(train=str(path), text=("text",), metric=metric)
            examples = find_problem_type(recipe).problem_type.examples
            data = load_task(recipe, examples)
            for split, table in data.splits.items():
                dataset, _ = tokenise(
                    table, data.task, tokenizer, examples=examples, names=data.names, max_length=16, where=split
                )
                assert len(dataset) == table.num_rows > 0
        except ValueError as error:
            refusal(error, path.name, "train", "split")
            outcomes[kind, "refused"] += 1
        else:
            outcomes[kind, "read"] += 1

    check()


@pytest.mark.parametrize("kind", TAGGED)
def test_a_made_file_of_tags_is_read_or_refused_in_one_sentence(kind, tmp_path, outcomes):
    path = tmp_path / f"made.{kind}"

    @made
    @given(damaged(TAGGED[kind]))
    def check(content):
        path.write_bytes(content)
        try:
            for block in read_blocks(path, columns=["tokens", "tags"]):
                for tokens, of_tokens in read_tagged_rows(
                    block, tokens="tokens", tags="tags", where=path.name, first=1
                ):
                    assert len(tokens) == len(of_tokens) > 0 and all(isinstance(word, str) for word in tokens)
        except ValueError as error:
            refusal(error, path.name)
            outcomes[kind, "tags", "refused"] += 1
        else:
            outcomes[kind, "tags", "read"] += 1

    check()


numbers = st.one_of(st.integers(-1, 12), st.integers(0, 6), st.floats(), st.none())
spans = st.fixed_dictionaries({"start": numbers, "end": numbers, "label": st.one_of(labels, values)})


@made
@given(texts, st.one_of(st.lists(st.one_of(spans, spans, values), max_size=3), values))
def test_made_spans_are_tags_or_refused_in_one_sentence(content, of_text):
    block = {"text": [content], "spans": [of_text]}
    try:
        (row,) = read_span_rows(block, text="text", spans="spans", where="made", first=1, labelled=None)
    except ValueError as error:
        refusal(error, "made: row 1")
    else:
        assert of_text is None or len(row.tags) == len(row.words) == len(row.offsets) > 0
        assert of_text is None or len(find_spans(row.tags, row.offsets)) == len(of_text)


@pytest.mark.parametrize("kind", ["conll", "bio", "conllu"])
def test_whole_sentences_are_read_as_they_were_written(kind, tmp_path):
    path = tmp_path / f"whole.{kind}"

    @made
    @given(sentences, st.sampled_from(LINE_ENDS))
    def check(written, line_end):
        if kind == "bio":  # there, "# NOUN" before a sentence is a comment
            written = [[(word.replace("#", "hash"), tag) for word, tag in sentence] for sentence in written]
        lines = []
        for sentence in written:
            for number, (word, tag) in enumerate(sentence, start=1):
                cells = [str(number), word, "_", tag, *"______"] if kind == "conllu" else [word, tag]
                lines.append((" " if kind == "bio" else "\t").join(cells))
            lines.append("")
        path.write_text("".join(line + line_end for line in lines), encoding="utf-8", newline="")
        rows = []
        for block in read_blocks(path):
            rows += read_tagged_rows(block, tokens="tokens", tags="tags", where=path.name, first=1)
        columns = [tuple(map(list, zip(*sentence, strict=True))) for sentence in written]
        assert rows == columns

    check()


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_file_is_read_as_it_was_written(kind, tmp_path):
    path = tmp_path / f"whole.{kind}"

    @made
    @given(st.lists(st.tuples(texts, st.text("abcé", min_size=1)), min_size=1), st.sampled_from(LINE_ENDS))
    def check(rows, line_end):
        if kind == "tsv":  # nothing can be quoted there
            rows = [
                tuple("".join(cell.translate(dict.fromkeys(b"\t\r\n")) for cell in cells) for cells in row)
                for row in rows
            ]
        if kind == "parquet":
            pa.parquet.write_table(pa.table(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), path)
        elif kind == "jsonl":
            path.write_text(
                "".join(json.dumps(dict(zip(("text", "label"), row, strict=True))) + line_end for row in rows)
            )
        else:
            layout = {"quoting": csv.QUOTE_ALL}
            if kind == "tsv":
                layout = {"quotechar": None, "quoting": csv.QUOTE_NONE, "delimiter": "\t"}
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator=line_end, **layout).writerows([("text", "label"), *rows])
        table = read_file(path, Task(("text",)), examples=SINGLE_LABEL_CLASSIFICATION.examples, split="train")
        assert table.select(["text1", "label"]).to_pylist() == [
            dict(zip(("text1", "label"), row, strict=True)) for row in rows
        ]
        assert table["row"].to_pylist() == list(range(1, len(rows) + 1))

    check()


SECTIONS = ("data", "teacher", "student", "schedule")
KEYS = [key for key in Recipe.model_fields if key not in SECTIONS]
KEYS += [f"{name}.{key}" for name in SECTIONS for key in type(getattr(Recipe(), name)).model_fields]
KEYS += ["losses.gold_labels", "losses.attention_kl", "trainer.learning_rate", "trainer.per_device_train_batch_size"]
KEYS += [
    "trainer.optim",
    "internal_trainer.warmup_ratio",
    "teacher.trainer.max_grad_norm",
    "layer_map.1",
    "student",
    "data",
]
settings_of_a_recipe = st.one_of(
    values,
    st.sampled_from(
        [0, 1, 2, 3, -1, 10**9, 0.5, 1e-300, 1e300, math.inf, math.nan, "last", "first", "best", "auto", "pid"]
    ),
    st.sampled_from(
        [[1, 2], [2, 4], [4, 2], {1: 2}, {1: 2, 2: 4}, {0: 0}, ["text", "label"], [[1]], "../..", "/", "~", "cola"]
    ),
)


@st.composite
def recipes(draw, base):
    """The text of a recipe with some keys changed, and sometimes with a few bytes changed."""
    content = json.loads(json.dumps(base))
    for _ in range(draw(st.integers(0, 3))):
        *parents, last = draw(st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), text)).split(".")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                section = {}
        section[last] = deepcopy(draw(settings_of_a_recipe))  # it may be changed here
    text_of_recipe = (
        write_yaml(content) if draw(st.booleans()) else json.dumps(content, ensure_ascii=draw(st.booleans()))
    )
    return (
        draw(damaged(st.just(text_of_recipe.encode("utf-8", "surrogatepass"))))
        if draw(st.booleans())
        else text_of_recipe.encode()
    )


def test_a_made_recipe_is_taken_or_refused_in_one_sentence(recipe, teacher_folder, tmp_path, outcomes):
    base = recipe(tmp_path / "out")
    base["teacher"] = {"path": str(teacher_folder), "folder": str(tmp_path / "teachers")}
    path = tmp_path / "made.yaml"

    @made
    @given(recipes(base))
    def check(content):
        path.write_bytes(content)
        try:
            assemble(load_recipe(path))
        except ValueError as error:
            refusal(error, path.name, *Recipe.model_fields, *SECTIONS, "train", "split", "steps", "layers")
            outcomes["recipe", "refused"] += 1
        else:
            outcomes["recipe", "taken"] += 1

    check()
    assert not (tmp_path / "out").exists()
