"""The page of a sweep and its other files, from a run that was made once and put into other places of the grid."""

import json
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from innerdistill.report import page
from innerdistill.report.explorer import get_divergences
from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.sweep import report_on


def test_a_student_that_is_its_teacher_differs_in_nothing(same):
    record = FolderRun(same).record
    assert record.get_agreement("validation") == 1
    for distances in (record.distances.before, record.distances.after):
        for distance in distances.values():
            assert distance.attention_kl == pytest.approx(0, abs=1e-6)
            assert distance.cls_cosine == pytest.approx(0, abs=1e-6)
    assert json.loads((same / "examples.json").read_text())["disagreements"] == []
    text = page.write_report(same).read_text()
    assert "keeps 100.0 %" in text and "it gives the same answers" in text and "departs from its teacher" not in text


def test_equal_methods_are_said_to_show_no_difference(finished, pair, write_report, tmp_path):
    report = tmp_path / "report.md"
    groups = write_report(tmp_path, finished, compare=[pair], margin=0.05)
    assert [group.setting for group in groups] == [{"student.num_layers": 2}, {"student.num_layers": 4}]
    assert report.read_text().count("differ by less than 0.05 accuracy") == 2  # in sentences; five seeds allow no claim
    by_layers = r"Share of the teacher's accuracy, SID: (100\.0 % \(9\d\.\d % \.\.\. 10\d\.\d %\) with [42] layers[, ]*){2}\(5 seeds"
    assert re.search(by_layers, report.read_text())
    write_report(tmp_path, finished, compare=[pair])
    assert report.read_text().count("give the same answers in every run (") == 2


def test_names_of_a_sweep_are_escaped_in_all_files(finished, pair, write_report, tmp_path):
    write_report(tmp_path, finished, compare=[pair])
    text = (tmp_path / "report.html").read_text()
    assert "SID and &lt;script&gt;alert(1)&lt;/script&gt; &amp; $x_1 give the same answers" in text
    assert "<script>alert" not in text and "Score against parameters outside the embeddings" in text
    assert text.count("<svg xmlns") == 2 + 2 * 3  # comparisons, over the sizes; in each, seeds, epochs and attention
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, flags=re.DOTALL)[1])
    assert data["students"] == list(pair) and data["examples"][0]["layers"][3]["students"]["SID"]["all"] == 0
    table = (tmp_path / "table.tex").read_text()
    assert r"\textless{}script\textgreater{}alert(1)" in table and r"\& \$x\_1" in table
    assert (
        table.count(r"\begin{tabular}") == 4 + 2 * 4
    )  # comparisons, scores, selection, sizes; in each, scores, shares, distances and mistakes
    assert (tmp_path / "cells.csv").read_text().count("\n") == 21


def test_figures_are_files_of_their_own(finished, pair, write_report, tmp_path):
    write_report(tmp_path, finished, compare=[pair])
    names = [path.name for path in sorted((tmp_path / "figures").iterdir())]
    assert names[:2] == ["01-comparisons.svg", "02-student.num_layers.svg"] and len(names) == 8
    for path in (tmp_path / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg") and root.get("aria-label")
        assert "prefers-color-scheme: dark" in path.read_text()


def test_figures_of_an_earlier_report_go_and_names_of_any_length_fit(make_finished, write_report, tmp_path):
    name = "数" * 60
    many = [make_finished(setting={"schedule.total_steps": steps}, task=name) for steps in (50, 400, 1000, 7)]
    (tmp_path / "figures").mkdir()
    for earlier in ("99-epochs.svg", "mine.svg"):
        (tmp_path / "figures" / earlier).write_text("<svg/>")
    write_report(tmp_path, many)
    names = [path.name for path in (tmp_path / "figures").iterdir()]
    assert "mine.svg" in names and "99-epochs.svg" not in names and len(names) == 1 + 1 + 4 * 3
    assert max(len(name.encode()) for name in names) < 120


def test_how_methods_were_compared_is_said_where_they_were(finished, pair, write_report, tmp_path):
    of_one_size = [entry for entry in finished if entry.cell.setting == finished[0].cell.setting]
    write_report(tmp_path, of_one_size, compare=[pair])
    texts = [(tmp_path / name).read_text() for name in ("report.html", "report.md")]
    assert all("Satterthwaite" in text for text in texts)
    write_report(tmp_path, [entry for entry in of_one_size if entry.cell.seed == 1], compare=[pair])
    texts = [(tmp_path / name).read_text() for name in ("report.html", "report.md", "table.tex")]
    assert not any("Satterthwaite" in text or "standard deviation over seeds" in text for text in texts)


def test_infinite_divergences_of_old_and_new_files():
    assert get_divergences({"kl": [0.5, None, 9.3e36]}).tolist() == [0.5, float("inf"), float("inf")]


def test_a_report_of_cells_that_have_not_all_run(finished, write_report, tmp_path):
    failed = {tmp_path / "x": "a & b"}
    write_report(tmp_path, finished[:1], compare=[("SID", "other")], seeds=list(range(21)), failed=failed)
    text = (tmp_path / "report.html").read_text()
    assert "19 of 21 cells have not run." in text and "a &amp; b" in text
    assert "SID against other: not tested, because no seed has run with both." in text


def test_a_report_before_any_cell_has_run(write_report, tmp_path):
    write_report(tmp_path, [], methods={"SID": {}}, seeds=[1])
    for name in ("report.html", "report.md"):
        assert "No cell has run yet" in (tmp_path / name).read_text()


def test_that_there_are_too_few_seeds_is_said_once(make_finished, pair, write_report, tmp_path):
    few = [make_finished(method, seed=seed) for method in (*pair, "PID") for seed in (1, 2, 3)]
    write_report(tmp_path, few, compare=[pair, ("PID", pair[1])], seeds=list(range(1, 9)))
    reserve = "Preliminary: 3 of 8 seeds have run. A test needs 5 seeds, a claim 8."
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert text.count(reserve) == 1, name
        for other in ("at least 5 seeds", "preliminary", "claim needs", "n = 1", "too few"):
            assert other not in text, (name, other)
        assert text.index(reserve) < text.index("Scores")


def test_of_one_seed_it_is_said_once_that_the_spread_is_not_known(make_finished, write_report, tmp_path):
    write_report(tmp_path, [make_finished("SID"), make_finished("PID")])
    text = (tmp_path / "report.html").read_text()
    assert text.count("nothing is known about the spread over seeds") == 1
    assert "deviation" not in text and "± of the teacher is the standard error" in text


def test_runs_are_linked_where_their_own_pages_exist(write_sweep, fill_cells, tmp_path):
    sweep = load_sweep(
        write_sweep(methods={"a & b": {"schedule.name": "sid"}, "pid": {"schedule.name": "pid"}}, compare=[])
    )
    cells = plan_cells(sweep)
    fill_cells(sweep, cells)
    (cells[0].folder / "report.html").write_text("<p>a run</p>")
    report_on(sweep)
    page = (sweep.folder / "report.html").read_text()
    addresses = re.findall(r'<a href="([^"#]+)">', page)
    assert len(addresses) == 1 and (sweep.folder / unquote(addresses[0])).read_text() == "<p>a run</p>"
    assert "Reports of the runs: a &amp; b, seed" in page
    (cells[0].folder / "report.html").unlink()
    report_on(sweep)
    assert "Reports of the runs" not in (sweep.folder / "report.html").read_text()


def test_captions_speak_of_what_is_drawn(finished, make_finished, write_report, tmp_path):
    """Rings and an untrained head belong to students with internal stages and a new head."""
    write_report(tmp_path, finished[:1])  # this student starts with its teacher's head
    text = (tmp_path / "report.html").read_text()
    assert "A ring marks the end of a stage" in text and "its head is untrained" not in text
    write_report(tmp_path, [make_finished(changes={"recipe.student.head": "seed"})])
    assert "its head is untrained" in (tmp_path / "report.html").read_text()
