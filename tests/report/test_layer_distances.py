"""Distances of layers on the page of a run."""

import re

from records import make_record

from innerdistill.report.layer_distances import list_constant_layers
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import write_record

DISTANCE = {2: {"teacher_layer": 4, "attention_kl": 0.5, "cls_cosine": 0.1}}


def make_page(folder, **changes):
    write_record(folder, make_record(**changes))
    (folder / "predictions.parquet").touch()
    return write_report(folder).read_text()


def make_teacher(spread, **changes):
    return {"path": "teachers/one", "layers": 4, "fingerprint": "t" * 64, "cls_spread": spread, **changes}


def read_cells(page):
    """Cells of the first row of the table of distances."""
    body = page[page.index("Distance from the teacher") :]
    row = body[body.index("<tbody>") : body.index("</tr>", body.index("<tbody>"))]
    return [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row, flags=re.S)]


def test_the_spread_stands_beside_every_cosine(tmp_path, monkeypatch):
    monkeypatch.setattr("innerdistill.report.page._count_confusions", lambda *_: {})
    page = make_page(tmp_path, teacher=make_teacher({1: 1e-5, 2: 1e-5, 3: 1e-5, 4: 0.25}))
    assert read_cells(page)[-1] == "0.250"
    assert "is nearly the same" not in page and "A dash" not in page
    page = make_page(tmp_path, teacher=make_teacher({1: 0.1, 2: 0.1, 3: 0.1, 4: 0.000012}))
    assert read_cells(page)[-1] == "1e-5"
    assert (
        "The [CLS] of teacher layer 4 is nearly the same for every example (1e-5): its cosine loss says nothing."
    ) in page


def test_a_record_of_before_shows_a_dash_and_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("innerdistill.report.page._count_confusions", lambda *_: {})
    page = make_page(tmp_path)
    assert read_cells(page)[-1] == "–"
    assert "A dash: it was not measured in this run, which is older than this measurement" in page
    assert "At the end of every stage: – (the run is older than this measurement)." in page


def test_layers_of_both_teachers_are_named():
    other = make_teacher({4: 5e-4, 2: 0.5})
    record = make_record(teacher=make_teacher({4: 0.3}), internal_teacher=other, layer_map={1: 2, 2: 4})
    assert list_constant_layers(record) == [
        "The [CLS] of internal teacher layer 4 is nearly the same for every example (5e-4): its cosine loss says "
        "nothing."
    ]
    record = make_record(teacher=make_teacher({2: 2e-6, 4: 5e-4}), layer_map={1: 2, 2: 4})
    assert list_constant_layers(record) == [
        "The [CLS] of teacher layers 2, 4 is nearly the same for every example (2e-6, 5e-4): their cosine losses say "
        "nothing."
    ]


def test_stages_are_listed_with_their_distances(tmp_path, monkeypatch):
    monkeypatch.setattr("innerdistill.report.page._count_confusions", lambda *_: {})
    record = make_record().model_dump(mode="json")
    closer = {2: {"teacher_layer": 4, "attention_kl": 0.123, "cls_cosine": 0.045}}
    stage = {**record["stages"][0], "distances": {"teacher": closer, "internal_teacher": DISTANCE}}
    both = {"before": DISTANCE, "after": DISTANCE}
    page = make_page(
        tmp_path, stages=[stage], internal_teacher=make_teacher({4: 0.3}, path="bases/two"), internal_distances=both
    )
    table = page[page.index("Distances at the end of every stage") :]
    rows = [re.sub("<[^>]*>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", table, flags=re.S)]
    assert ["classification", "0.123", "0.045"] in rows
    assert ["classification", "0.500", "0.100"] in rows  # from the other model
    assert "from the model that the internal losses learned from: bases/two" in page
