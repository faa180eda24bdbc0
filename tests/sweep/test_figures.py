"""Figures of a sweep."""

import re
import warnings

from records import MemoryRun, make_answers, make_record

from innerdistill.sweep.figures import draw_differences, draw_seeds
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import Method
from innerdistill.sweep.statistics import compare_pair


def test_names_of_any_length_leave_the_figure_its_width():
    groups = []
    for number in range(3):
        methods = {name: Method(name, {seed: MemoryRun(make_record()) for seed in range(8)}) for name in ("a", "b")}
        comparison = compare_pair("a", "b", [make_answers(0.55)] * 8, [make_answers(0.5)] * 8, metric="accuracy")
        name = f"task, {'long ' * 30}, a={number}"
        groups.append(Group(name, "", {"a": number}, methods=methods, comparisons=[comparison]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where no layout is found
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', draw_differences(groups))
    assert float(box[1]) == 5 * 72 and float(box[2]) > 300


def test_all_training_examples_are_a_point_of_the_figure_too(make_finished, write_report, tmp_path):
    finished = []
    for rows in (100, None):
        finished.append(make_finished("SID", {"data.train_rows": rows}, changes={"data.rows.train": rows or 450}))
    write_report(tmp_path, finished)
    page = (tmp_path / "report.html").read_text()
    assert "data.train_rows=null" in page and "Score against training examples" in page
    assert ">100<" in page and ">450<" in page


def test_no_line_runs_through_a_name(finished, pair, gather_finished):
    """The lines of zero, teacher and constant answer are drawn through the points of each row, below its name."""
    (group, *_) = gather_finished(finished, compare=[pair])
    for svg in (draw_differences([group]), draw_seeds(group)):
        texts = [float(y) for y in re.findall(r'<text [^>]*(?: y="|translate\([\d.]+ )([\d.]+)', svg)]
        lines = re.findall(r'd="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+)', svg)
        uprights = [(float(top), float(bottom)) for x, top, other, bottom in lines if x == other]
        assert len(texts) > 1 and len(uprights) > 1
        for top, bottom in uprights:
            assert not any(top < text < bottom for text in texts)


def test_an_axis_promises_only_what_is_drawn(finished, pair, gather_finished):
    few, many = finished[:3] + finished[10:13], finished[:5] + finished[10:15]
    for runs, has_bars in ((few, False), (many, True)):
        svg = draw_differences(gather_finished(runs, compare=[pair]))
        assert "point: one seed, stroke: mean" in svg and ("95 % interval" in svg) == has_bars
