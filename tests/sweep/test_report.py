"""The files of a sweep, from runs that were made once and put into other places of the grid."""

import copy
import csv
import json
import re
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.csv
import pytest

from innerdistill import distill
from innerdistill.report import page
from innerdistill.report.explorer import get_divergences
from innerdistill.report.run_folder import read_run
from innerdistill.support.files import write_json
from innerdistill.sweep.sizes import swept_numbers
from innerdistill.sweep.tables import tables_of, tables_over


@pytest.fixture(scope="module")
def same(recipe, teacher_folder, tmp_path_factory):
    """A student that is its teacher: all layers, its head, and a learning rate of 0."""
    content = recipe(
        tmp_path_factory.mktemp("same") / "run",
        student={"num_layers": 4, "head": "teacher"},
        trainer={"learning_rate": 0.0},
        schedule={"total_steps": 12},
        baseline=True,
    )
    content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"]}
    return distill(content)


@pytest.fixture(scope="module")
def cells(same, make_cell, tmp_path_factory):
    """Two methods, two sizes of the student, five seeds: all the same run, but one method named like an attack."""
    root, found = tmp_path_factory.mktemp("cells"), []
    for method in ("SID", "<script>alert(1)</script> & $x_1"):
        for layers in (2, 4):
            for seed in range(1, 6):
                folder = root / f"{len(found)}"
                shutil.copytree(same, folder)
                run = copy.deepcopy(read_run(folder))
                run["speed"]["student"]["parameters_without_embeddings"] = layers * 1_000_000
                write_json(folder / "run.json", run)
                found.append(make_cell(method, {"student.num_layers": layers}, seed, folder))
    return found


def test_a_student_that_is_its_teacher_differs_in_nothing(same):
    run = read_run(same)
    assert run["agreement"]["validation"]["equal_predictions"] == 1
    for when in ("before", "after"):
        for layer in run["distances"][when].values():
            assert layer["attention_kl"] == pytest.approx(0, abs=1e-6)
            assert layer["cls_cosine"] == pytest.approx(0, abs=1e-6)
    assert json.loads((same / "examples.json").read_text())["disagreements"] == []
    text = page.write_report(same).read_text()
    assert "keeps 100.0 %" in text and "no difference" in text and "departs from its teacher" not in text


def test_methods_that_start_otherwise_are_said_to(cells, gather_cells, tmp_path):
    other = replace(cells[10], folder=tmp_path / "other")
    shutil.copytree(cells[10].folder, other.folder)
    run = read_run(other.folder)
    run["recipe"]["student"]["source"] = "random"
    write_json(other.folder / "run.json", run)
    (group,) = gather_cells([cells[0], other])
    assert (
        f"Methods differ in student.source: teacher (SID), random ({other.method})."
        in tables_of(group, alone=True)[0].note
    )
    (group,) = gather_cells([cells[0], cells[10]])
    assert "Methods differ" not in tables_of(group, alone=True)[0].note


def test_equal_methods_are_said_to_show_no_difference(cells, write_report, tmp_path):
    pair = ("SID", "<script>alert(1)</script> & $x_1")
    report = tmp_path / "report.md"
    groups = write_report(tmp_path, cells, compare=[pair], margin=0.01)
    assert [group.setting for group in groups] == [{"student.num_layers": 2}, {"student.num_layers": 4}]
    assert report.read_text().count("are equivalent within 0.01 accuracy") == 2
    kept_by_layers = (
        "Of the teacher's accuracy SID keeps, by layers, 100.0 ± 0.0 % with 4, 100.0 ± 0.0 % with 2 (5 seeds each; "
    )
    assert kept_by_layers in report.read_text()
    write_report(tmp_path, cells, compare=[pair])
    assert report.read_text().count("No difference shown between SID and") == 2
    page = (tmp_path / "report.html").read_text()
    assert "No difference shown between SID and &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page and "Score against parameters outside the embeddings" in page
    assert page.count("<svg xmlns") == 2 + 2 * 3  # comparisons, over the sizes; in each, seeds, epochs and attention
    names = [path.name for path in sorted((tmp_path / "figures").iterdir())]
    assert names[:2] == ["01-comparisons.svg", "02-student.num_layers.svg"] and len(names) == 8
    for path in (tmp_path / "figures").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert ElementTree.parse(path).getroot().get("aria-label") and "prefers-color-scheme: dark" in path.read_text()
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, flags=re.DOTALL)[1])
    assert data["students"] == list(pair) and data["examples"][0]["layers"][3]["students"]["SID"]["all"] == 0
    table = (tmp_path / "table.tex").read_text()
    assert r"\textless{}script\textgreater{}alert(1)" in table and r"\& \$x\_1" in table
    assert table.count(r"\begin{tabular}") == 4 + 2 * 3
    assert (tmp_path / "cells.csv").read_text().count("\n") == 21


def test_swept_values_of_every_kind_are_written(cells, make_cell, write_report, tmp_path):
    values = [[1, 2], "a, b", None, True, 7, 0.5]
    swept = [make_cell("SID", {"key": value}, 1, cells[0].folder) for value in values]
    write_report(tmp_path, swept, grid={"key": values})
    with (tmp_path / "cells.csv").open(newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == ["[1, 2]", "a, b", "", "true", "7", "0.5"]


def test_a_run_without_its_predictions_is_named(cells, write_report, tmp_path):
    folder = shutil.copytree(cells[0].folder, tmp_path / "run")
    (folder / "predictions.parquet").unlink()
    without = [replace(cells[0], folder=folder), *cells[1:5], *cells[10:15]]
    with pytest.raises(ValueError, match=r"predictions\.parquet: missing, damaged or not"):
        write_report(tmp_path, without, compare=[(cells[0].method, cells[10].method)])


def test_settings_are_corrected_together_and_need_one_teacher(cells, gather_cells, tmp_path):
    """A sweep over two sizes makes two comparisons; a third size that has not begun was declared with them."""
    found = []
    for index, cell in enumerate(cells):
        folder = shutil.copytree(cell.folder, tmp_path / f"{index}")
        run = read_run(folder)
        run["scores"]["validation"]["student"]["accuracy"] -= (index // 10) * (0.1 + 0.01 * (index % 5))
        write_json(folder / "run.json", run)
        found.append(replace(cell, folder=folder))
    pair = (cells[0].method, cells[10].method)
    alone, *_ = gather_cells([*found[:5], *found[10:15]], compare=[pair])
    both = gather_cells(found, compare=[pair])
    of_three = gather_cells(found, compare=[pair], grid={"student.num_layers": [2, 4, 6]})
    p = alone.comparisons[0].p
    assert [group.comparisons[0].p for group in both] == pytest.approx([2 * p] * 2)
    assert [group.comparisons[0].p for group in of_three] == pytest.approx([3 * p] * 2)
    run = read_run(found[-1].folder)
    for name, key, what in (
        ("teacher", "fingerprint", "teacher"), ("data", "fingerprint", "data"), ("student", "start", "weights at the start")
    ):  # fmt: skip
        other = copy.deepcopy(run)
        other[name][key] = "another"
        write_json(found[-1].folder / "run.json", other)
        with pytest.raises(ValueError, match=f"made with different {what}"):
            gather_cells([found[0], found[-1]])


def test_how_methods_were_compared_is_said_where_they_were(cells, write_report, tmp_path):
    of_one_size = [cell for cell in cells if cell.setting == cells[0].setting]
    pair = (cells[0].method, cells[10].method)
    write_report(tmp_path, of_one_size, compare=[pair])
    said = [(tmp_path / name).read_text() for name in ("report.html", "report.md")]
    assert all("paired t-test over seeds" in text and "n = 1" not in text for text in said)
    write_report(tmp_path, [cell for cell in of_one_size if cell.seed == 1], compare=[pair])
    said = [(tmp_path / name).read_text() for name in ("report.html", "report.md", "table.tex")]
    assert all("n = 1: of one seed" in text and "paired t-test over seeds" not in text for text in said)


def test_a_method_that_failed_takes_no_seeds_from_the_others(cells, gather_cells, write_report, tmp_path):
    """Three methods; the third has run with one seed only."""
    third = [replace(cells[0], method="third")]
    pair, rest = (cells[0].method, cells[10].method), ("third", cells[10].method)
    group, *_ = gather_cells([*cells[:5], *cells[10:15], *third], compare=[pair, rest])
    assert [comparison.units for comparison in group.comparisons] == [5, 1]
    write_report(tmp_path, [*cells[:5], *cells[10:15], *third], compare=[pair])
    assert "what else sets methods apart is exploratory" in (tmp_path / "report.md").read_text()
    declared = [pair, ("third", "not run"), (pair[0], "not run")]
    write_report(tmp_path, [*cells[:5], *cells[10:15], *third], compare=declared)
    assert "what else sets methods apart is exploratory" in (tmp_path / "report.md").read_text()
    write_report(tmp_path, [*cells[:5], *cells[10:15]], compare=[pair])
    assert "exploratory" not in (tmp_path / "report.md").read_text()


def test_infinite_divergences_of_old_and_new_files():
    assert get_divergences({"kl": [0.5, None, 9.3e36]}).tolist() == [0.5, float("inf"), float("inf")]


def test_tables_over_all_settings(cells, gather_cells, write_report, tmp_path):
    """Methods against settings, sizes once each, and what may be chosen by beside what is reported."""
    found = []
    for index, cell in enumerate([cells[0], cells[1], cells[5], cells[10]]):  # SID: 2 layers twice, 4; the other: 2
        folder = shutil.copytree(cell.folder, tmp_path / f"{index}")
        run = read_run(folder)
        run["scores"]["validation"]["student"]["accuracy"] = run["scores"]["validation"]["teacher"]["accuracy"] / 2
        run["scores"]["selection"]["student"]["accuracy"] = 0.1 + 0.2 * index
        run["student"]["layers"] = cell.setting["student.num_layers"]
        run["speed"]["student"]["parameters"] = 1_000_000 * run["student"]["layers"]
        run["speed"]["student"]["latency_ms"]["p50"] = run["speed"]["teacher"]["latency_ms"]["p50"] / 4
        write_json(folder / "run.json", run)
        found.append(replace(cell, folder=folder, method=cell.method[:3]))
    groups = gather_cells(found)
    overview, on_selection, sizes = tables_over(groups)
    half = groups[0].teacher["accuracy"] / 2
    assert overview.header == ("accuracy on validation", "student.num_layers=2", "student.num_layers=4")
    assert overview.rows[1] == ("SID", f"{half:.4f} ± 0.0000", f"{half:.4f}")
    assert overview.rows[2] == ("<sc", f"{half:.4f}", "–") and "(1 to 2 of them)" in overview.note
    assert on_selection.rows[1] == ("SID", "0.2000 ± 0.1414", "0.5000") and "choose" in on_selection.title
    students = [(row[1], row[2], row[6]) for row in sizes.rows if row[0] == "student"]
    assert students == [("4", "4.0 M", "25 %"), ("2", "2.0 M", "25 %")]
    scores = tables_of(groups[0], alone=False)[0]
    of_sid = dict(zip(scores.header, scores.rows[1], strict=True))
    assert of_sid["share of teacher"] == "50.0 %" and "0.2000 ± 0.1414" in scores.rows[1]
    assert {len(row) for row in scores.rows} == {len(scores.header)}
    write_report(tmp_path, found)
    written = pa.csv.read_csv(tmp_path / "cells.csv")
    assert written["selection"].to_pylist() == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert written["share_of_teacher"].to_pylist() == pytest.approx([0.5] * 4)
    assert "<td>25 %</td>" in (tmp_path / "report.html").read_text()


def test_what_is_said_of_the_data_stands_under_its_scores(cells, gather_cells, write_report, make_cell, tmp_path):
    said = (("a", "Seen before."), ("b", None), ("c", "Seen before."))
    noted = [
        make_cell(cell.method, cell.setting, cell.seed, cell.folder, task=task, note=note)
        for cell in cells
        for task, note in said
    ]
    groups = gather_cells(noted)
    overview, on_selection, _ = tables_over(groups)
    assert overview.note.endswith("a, c: Seen before.") and on_selection.note.endswith("a, c: Seen before.")
    for group in groups:
        scores, *others = tables_of(group, alone=False)
        assert [("Seen" in table.note) for table in (scores, others[-1])] == [group.task != "b"] * 2
    write_report(tmp_path, noted)
    for name in ("report.html", "report.md", "table.tex"):
        said = (tmp_path / name).read_text().count("Seen before.")
        assert said == 10, name  # under two tables over all settings, and two of each


def test_sizes_of_texts_and_models_that_differ(cells, gather_cells, make_cell, tmp_path):
    """A latency belongs to a length; two heads of a few hundred parameters more or less are one size."""
    found = []
    for index, (length, parameters, student, teacher) in enumerate(
        [(18, 1_000_000, 1.0, 2.0), (18, 1_000_300, 3.0, 4.0), (18, 1_000_000, 9.0, 10.0), (134, 1_000_000, 5.0, 20.0)]
    ):
        folder = shutil.copytree(cells[0].folder, tmp_path / f"{index}")
        run = read_run(folder)
        for name, milliseconds in (("student", student), ("teacher", teacher)):
            run["speed"][name]["length"] = length
            run["speed"][name]["latency_ms"]["p50"] = milliseconds
        run["speed"]["student"]["parameters"] = parameters
        write_json(folder / "run.json", run)
        found.append(make_cell("SID", {}, index, folder, task="long" if length > 18 else "short"))
    *_, sizes = tables_over(gather_cells(found))
    rows = [(row[4], row[5], row[6]) for row in sizes.rows if row[0].startswith("student, ")]
    assert rows == [("18", "3.0", "75 %"), ("134", "5.0", "25 %")]  # medians of 1, 3, 9 and of 1/2, 3/4, 9/10
    assert len(sizes.rows) == 4


def test_sizes_are_said_in_order_with_what_they_hide(cells, gather_cells, tmp_path):
    """Sizes from large to small, whatever the grid's order; students that give one answer; a teacher that is chance."""
    large, small = [cells[index] for index in (5, 6)], [cells[index] for index in (0, 1)]
    groups = gather_cells([*small, *large])
    (swept,) = swept_numbers(list(reversed(groups)))
    assert [group.setting["student.num_layers"] for group in swept.groups] == [2, 4]
    for run in groups[0].methods["SID"].runs.values():
        run["scores"]["validation"]["student"] |= {"accuracy": 0.25, "collapsed": True}
    said = swept.sentences()[0]
    share = 100 * 0.25 / groups[0].teacher["accuracy"]
    assert said.index("100.0 ± 0.0 % with 4") < said.index(f"{share:.1f} ± 0.0 % with 2")
    assert "2 seeds each; 2 students give one answer; the best constant answer has" in said
    assert "0.2500 ± 0.0000 (2 collapsed)" in {cell for row in tables_over(groups)[0].rows for cell in row}
    for _, run in groups[0].runs():
        run["scores"]["validation"]["teacher"] |= {"accuracy": 0.5, "constant": 0.5}
    assert swept.sentences() == []


def test_runs_that_warn_of_the_same_with_other_numbers_are_counted_together(cells, gather_cells):
    (group,) = gather_cells(cells[:3])
    for number, (_, run) in enumerate(group.runs(), start=1):
        run["warnings"] = [f"The loss of stage 'layer 1' did not fall ({number}.5 at first).", "Rows are in both."]
    assert group.warnings == {"The loss of stage 'layer 1' did not fall (1.5 at first).": 3, "Rows are in both.": 3}


def test_many_settings_run_down_the_table_and_number_their_figures(cells, write_report, make_cell, tmp_path):
    """Settings keep the order of the grid; names too long for a file system, and figures of an earlier report, go."""
    name = "数" * 60
    many = [
        make_cell("SID", {"schedule.total_steps": steps}, 1, cells[0].folder, task=name) for steps in (50, 400, 1000, 7)
    ]
    (tmp_path / "figures").mkdir()
    for earlier in ("99-epochs.svg", "mine.svg"):
        (tmp_path / "figures" / earlier).write_text("<svg/>")
    groups = write_report(tmp_path, many)
    overview = tables_over(groups)[0]
    assert [row[0] for row in overview.rows] == [group.name for group in groups]
    assert overview.header == ("accuracy on validation", "teacher", "SID", "best constant answer")
    names = [path.name for path in (tmp_path / "figures").iterdir()]
    assert "mine.svg" in names and "99-epochs.svg" not in names and len(names) == 1 + 1 + 4 * 3
    assert max(len(name.encode()) for name in names) < 120
    assert (tmp_path / "cells.csv").is_file()
    write_report(tmp_path, [], methods={"SID": {}}, seeds=[1])
    assert not (tmp_path / "cells.csv").exists() and "No cell has run yet" in (tmp_path / "report.md").read_text()


def test_attention_of_methods_that_map_other_layers(cells, write_report, tmp_path):
    """A rival's map shares no pair of layers with the others'; the figure shows what most map."""
    rival = shutil.copytree(cells[0].folder, tmp_path / "rival")
    content = json.loads((rival / "examples.json").read_text())
    for example in content["attention"]:
        example["layers"] = {"4": {**example["layers"]["4"], "teacher_layer": 1}}
    (rival / "examples.json").write_text(json.dumps(content))
    two = [cells[0], cells[10], replace(cells[0], method="rival", folder=rival)]
    write_report(tmp_path, two)
    page = (tmp_path / "report.html").read_text()
    assert "Attention on one example" in page and "teacher, layer 4" in page and "rival, layer 4" not in page


def test_a_report_of_cells_that_have_not_all_run(cells, write_report, tmp_path):
    write_report(
        tmp_path, cells[:1], compare=[("SID", "other")], seeds=list(range(21)), failed={tmp_path / "x": "a & b"}
    )
    page = (tmp_path / "report.html").read_text()
    assert "19 cells have not run yet" in page and "a &amp; b" in page
    assert "SID against other: declared, but not tested, since there is no seed with which both have run." in page
    write_report(tmp_path, [], methods={"SID": {}}, seeds=[1])
    assert "No cell has run yet" in (tmp_path / "report.html").read_text()


def test_all_rows_are_a_point_of_the_figure_too(cells, write_report, make_cell, tmp_path):
    found = []
    for rows in (100, None):
        folder = shutil.copytree(cells[0].folder, tmp_path / f"{rows}")
        run = read_run(folder)
        run["data"]["rows"]["train"] = rows or 450
        write_json(folder / "run.json", run)
        found.append(make_cell("SID", {"data.train_rows": rows}, 1, folder))
    write_report(tmp_path, found)
    page = (tmp_path / "report.html").read_text()
    assert (
        "data.train_rows=null" in page and "Score against training rows" in page and ">100<" in page and ">450<" in page
    )
