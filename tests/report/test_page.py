"""Texts, labels and names of files that try to become part of a page: they stay text."""

import csv
import html
import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from innerdistill import distill
from innerdistill.recipe.yaml import parse_yaml
from innerdistill.report.figures import BASELINE, STUDENT
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import read_predictions, read_record, write_record
from innerdistill.report.speed_record import Latency

HOSTILE = (
    '</script><script>alert(1)</script><img src=x onerror="alert(1)">[click](javascript:alert(1)) {{ 7*7 }} `x` | y'
)


class Tags(HTMLParser):
    """What a browser would see: tags by name, and addresses."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.handlers = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [value for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


@pytest.fixture(scope="module")
def folders(recipe, sentences, tmp_path_factory):
    """Two runs on the same rows: once with plain names, once with hostile ones."""
    found = []
    for name, text, column, negative in (
        ("plain", "", "text", "neg"),
        ("<script>x", HOSTILE, "text<b>", "neg<script>"),
    ):
        folder = tmp_path_factory.mktemp("rows")
        with (folder / "train.csv").open("w", newline="") as file:
            rows = ((f"{words} {text}", "pos" if score > 0 else negative) for words, score in sentences[:300])
            csv.writer(file).writerows([(column, "label"), *rows])
        data = {"train": f"{folder}/train.csv", "validation": None, "text": column}
        teacher = {"epochs": 1, "folder": str(folder)}
        content = recipe(folder / name, data=data, teacher=teacher, schedule={"total_steps": 6}, baseline=True)
        found.append(distill(content).folder)
    return found


def test_a_report_has_the_tags_of_one_with_plain_names(folders):
    plain, hostile = (Tags(write_report(folder).read_text(encoding="utf-8")) for folder in folders)
    assert plain.tags.count("script") == hostile.tags.count("script") > 0
    assert plain.handlers == hostile.handlers and not {"img", "b"} & (set(hostile.tags) - set(plain.tags))
    assert "&lt;script&gt;" in (folders[1] / "report.html").read_text(encoding="utf-8")


def test_a_card_has_no_markup_of_the_datas(folders):
    card = (folders[1] / "model" / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    assert parse_yaml(head, where="card")["pipeline_tag"] == "text-classification"
    assert "<script>" not in body and "](javascript" not in body
    config = json.loads((folders[1] / "model" / "config.json").read_text())
    assert "neg<script>" in config["label2id"]  # a model speaks the words of its data


@pytest.fixture
def folder(folders):
    """The run with plain names; its record is put back afterwards."""
    record = read_record(folders[0])
    yield folders[0]
    write_record(folders[0], record)


def read_page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_a_page_says_when_how_long_and_how_to_load_the_model(folder):
    page = read_page(folder)
    assert "finished" in page and "total time" in page
    assert f'model="{folder.as_posix()}/model"' in html.unescape(page) and "path/to/this/folder" not in page


def test_the_recipe_of_a_page_overwrites_nothing(folder):
    record = read_record(folder)
    write_record(folder, record.model_copy(update={"recipe": record.recipe.model_copy(update={"overwrite": True})}))
    assert "overwrite" not in read_page(folder)


def test_a_page_counts_predictions_by_label(folder):
    columns = read_predictions(folder / "predictions.parquet", "validation")
    predicted = columns["student"].argmax(1)
    page = read_page(folder)
    table = page[page.index("label ↓", page.index("label ↓") + 1) :].partition("</table>")[0]  # the teacher's is first
    counts = [int(cell.partition(">")[2]) for cell in re.findall(r"<td style=[^<]*", table)]
    pairs = itertools.product((0, 1), repeat=2)
    assert counts == [((columns["label"] == label) & (predicted == other)).sum() for label, other in pairs]


def test_every_model_has_one_name_and_one_colour(folder):
    page = read_page(folder).partition('<div class="tiles">')[2]
    assert not re.search(
        "plainly|distilled student|fine-tuned|as teacher|8 bits", re.sub("fine-tuned=|the fine-tuned one", "", page)
    )
    for name, colour in (("student", STUDENT), ("baseline", BASELINE)):
        assert page.count(colour) == page.count(f"var(--{name}, {colour})") > 0


def test_a_page_claims_no_speed_of_a_busy_machine(folder):
    record = read_record(folder)
    for p80, is_claimed in ((1.9, True), (2.1, False)):
        latency = Latency(p20=1.0, p50=1.5, p80=p80)
        timed = record.speed.student.model_copy(update={"latency_ms": latency})
        speed = record.speed.model_copy(update={"student": timed, "teacher": timed, "baseline": timed})
        write_record(folder, record.model_copy(update={"speed": speed}))
        page = read_page(folder)
        assert ("as fast as the teacher, batch" in page) == is_claimed
        assert ("Their medians should not be compared." in page) != is_claimed
    write_record(folder, record)


def test_a_page_of_an_older_record_shows_times_of_one_measurement(folder):
    record = read_record(folder)
    assert "A dash means" not in read_page(folder)
    speed = record.speed.model_copy(update={"baseline": None})
    write_record(folder, record.model_copy(update={"speed": speed, "finished": None, "seconds": None}))
    page = read_page(folder)
    assert "A dash means that the model was not timed in it." in page and "total time" not in page


@pytest.mark.parametrize("head", ["teacher", "seed"])
def test_the_caption_of_the_curve_knows_the_head(folder, head):
    record = read_record(folder)
    student = record.recipe.student.model_copy(update={"head": head})
    write_record(folder, record.model_copy(update={"recipe": record.recipe.model_copy(update={"student": student})}))
    assert ("still untrained" in read_page(folder)) == (head == "seed")
