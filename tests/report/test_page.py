"""Texts, labels and names of files that try to become part of a page: they stay text."""

import csv
import json
from html.parser import HTMLParser

import pytest

from innerdistill import distill
from innerdistill.recipe.yaml import parse_yaml
from innerdistill.report.page import write_report

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
        found.append(distill(content))
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
