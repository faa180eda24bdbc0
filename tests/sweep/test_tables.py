"""Tables of a sweep: numbers, sizes and notes."""

import pytest

from innerdistill.sweep.tables import build_overall_tables, build_tables


@pytest.fixture(scope="module")
def of_two_sizes(make_finished, finished):
    """SID with 2 layers twice, SID with 4, another method with 2: students of half the teacher's score."""
    moved = []
    for index, entry in enumerate([finished[0], finished[1], finished[5], finished[10]]):
        record, layers = entry.run.record, entry.cell.setting["student.num_layers"]
        changes = {
            "scores.validation.student.accuracy": record.scores["validation"].teacher.primary / 2,
            "scores.selection.student.accuracy": 0.1 + 0.2 * index,
            "student.layers": layers,
            "speed.student.parameters": 1_000_000 * layers,
            "speed.student.latency_ms.p50": record.speed.teacher.latency_ms.p50 / 4,
        }
        moved.append(make_finished(entry.cell.method[:3], entry.cell.setting, entry.cell.seed, changes=changes))
    return moved


def test_methods_stand_against_settings(of_two_sizes, gather_finished):
    """What may be chosen by stands beside what is reported, and every size once."""
    groups = gather_finished(of_two_sizes)
    overview, on_selection, sizes = build_overall_tables(groups)
    half = groups[0].teacher.primary / 2
    assert overview.header == ("accuracy on validation", "student.num_layers=2", "student.num_layers=4")
    assert overview.rows[1] == ("SID", f"{half:.4f} ± 0.0000", f"{half:.4f}")
    assert overview.rows[2] == ("<sc", f"{half:.4f}", "–") and "(1 to 2 of them)" in overview.note
    assert on_selection.rows[1] == ("SID", "0.2000 ± 0.1414", "0.5000") and "choose" in on_selection.title
    students = [(row[1], row[2], row[6]) for row in sizes.rows if row[0] == "student"]
    assert students == [("4", "4.0 M", "25 %"), ("2", "2.0 M", "25 %")]


def test_the_columns_of_scores_are_named(of_two_sizes, gather_finished):
    scores = build_tables(gather_finished(of_two_sizes)[0], alone=False)[0]
    of_sid = dict(zip(scores.header, scores.rows[1], strict=True))
    assert of_sid["share of teacher"] == "50.0 %" and of_sid["agreement"] == "1.0000 ± 0.0000"
    assert "0.2000 ± 0.1414" in scores.rows[1]
    assert {len(row) for row in scores.rows} == {len(scores.header)}


def test_many_settings_run_down_the_table(make_finished, gather_finished):
    """Settings keep the order of the grid."""
    groups = gather_finished([make_finished(setting={"schedule.total_steps": steps}) for steps in (50, 400, 1000, 7)])
    overview = build_overall_tables(groups)[0]
    assert [row[0] for row in overview.rows] == [group.name for group in groups]
    assert overview.header == ("accuracy on validation", "teacher", "SID", "best constant answer")


def test_methods_that_start_otherwise_are_said_to(finished, pair, make_finished, gather_finished):
    other = make_finished(pair[1], finished[0].cell.setting, changes={"recipe.student.source": "random"})
    (group,) = gather_finished([finished[0], other])
    note = build_tables(group, alone=True)[0].note
    assert f"Methods differ in student.source: teacher (SID), random ({pair[1]})." in note
    (group,) = gather_finished([finished[0], finished[10]])
    assert "Methods differ" not in build_tables(group, alone=True)[0].note


def test_what_was_not_compared_is_called_exploratory(finished, pair, make_finished, gather_finished):
    third = make_finished("third", finished[0].cell.setting, 1)
    of_two, of_three = [*finished[:5], *finished[10:15]], [*finished[:5], *finished[10:15], third]
    for runs, compare, exploratory in (
        (of_three, [pair], True),
        (of_three, [pair, ("third", "not run"), (pair[0], "not run")], True),
        (of_two, [pair], False),
    ):
        (group,) = gather_finished(runs, compare=compare)
        note = build_tables(group, alone=True)[0].note
        assert ("what else sets methods apart is exploratory" in note) == exploratory


def test_sizes_of_texts_and_models_that_differ(make_finished, gather_finished):
    """A latency belongs to a length; two heads of a few hundred parameters more or less are one size."""
    finished = []
    for seed, (length, parameters, student, teacher) in enumerate(
        [(18, 1_000_000, 1.0, 2.0), (18, 1_000_300, 3.0, 4.0), (18, 1_000_000, 9.0, 10.0), (134, 1_000_000, 5.0, 20.0)]
    ):
        changes = {"speed.student.parameters": parameters}
        for name, milliseconds in (("student", student), ("teacher", teacher)):
            changes |= {f"speed.{name}.length": length, f"speed.{name}.latency_ms.p50": milliseconds}
        finished.append(make_finished(seed=seed, task="long" if length > 18 else "short", changes=changes))
    *_, sizes = build_overall_tables(gather_finished(finished))
    rows = [(row[4], row[5], row[6]) for row in sizes.rows if row[0].startswith("student, ")]
    assert rows == [("18", "3.0", "75 %"), ("134", "5.0", "25 %")]  # medians of 1, 3, 9 and of 1/2, 3/4, 9/10
    assert len(sizes.rows) == 4


def test_notes_on_the_data_stand_under_its_scores(finished, make_finished, gather_finished, write_report, tmp_path):
    noted = []
    for entry in finished:
        for task, note in (("a", "Seen before."), ("b", None), ("c", "Seen before.")):
            noted.append(make_finished(entry.cell.method, entry.cell.setting, entry.cell.seed, task=task, note=note))
    groups = gather_finished(noted)
    overview, on_selection, _ = build_overall_tables(groups)
    assert overview.note.endswith("a, c: Seen before.") and on_selection.note.endswith("a, c: Seen before.")
    for group in groups:
        scores, *others = build_tables(group, alone=False)
        assert [("Seen" in table.note) for table in (scores, others[-1])] == [group.task != "b"] * 2
    write_report(tmp_path, noted)
    for name in ("report.html", "report.md", "table.tex"):
        count = (tmp_path / name).read_text().count("Seen before.")
        assert count == 10, name  # under two tables over all settings, and two of each
