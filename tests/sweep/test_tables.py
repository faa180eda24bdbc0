"""Tables of a sweep: numbers, sizes and notes."""

import pytest

from innerdistill.cli.printing import print_sweep
from innerdistill.sweep.latency import Size, SweepLatency
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
    assert overview.rows[2] == ("<sc", f"{half:.4f}", "–") and "(1 to 2 per method)" in overview.note
    assert on_selection.rows[1] == ("SID", "0.2000 ± 0.1414", "0.5000") and "to choose by" in on_selection.title
    assert [row[1:3] for row in sizes.rows if row[0] == "student"] == [("4", "4.0 M"), ("2", "2.0 M")]


def test_the_columns_of_scores_are_named(of_two_sizes, gather_finished):
    scores = build_tables(gather_finished(of_two_sizes)[0], alone=False)[0]
    of_sid = dict(zip(scores.header, scores.rows[1], strict=True))
    assert of_sid["share of teacher"] == "50.0 %" and of_sid["agreement"] == "1.0000 ± 0.0000"
    assert "0.2000 ± 0.1414" in scores.rows[1]
    assert {len(row) for row in scores.rows} == {len(scores.header)}


def test_what_stands_behind_a_score_is_explained_once_for_every_reader(of_two_sizes, gather_finished, capsys):
    group = gather_finished(of_two_sizes)[0]
    scores = build_tables(group, alone=False)[0]
    assert scores.rows[-1][0] == "constant answer"
    assert "The constant answer is the one that scores best on train." in scores.note
    print_sweep([group])
    printed = " ".join(capsys.readouterr().out.split())
    for sentence in (
        "± of a method is the standard deviation over seeds.",
        "± of the teacher is the standard error over examples.",
    ):
        assert sentence in scores.note and printed.count(sentence) == 1


def test_many_settings_run_down_the_table(make_finished, gather_finished):
    """Settings keep the order of the grid."""
    groups = gather_finished([make_finished(setting={"schedule.total_steps": steps}) for steps in (50, 400, 1000, 7)])
    overview = build_overall_tables(groups)[0]
    assert [row[0] for row in overview.rows] == [group.name for group in groups]
    assert overview.header == ("accuracy on validation", "teacher", "SID", "constant answer")


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
        assert ("Other differences between methods are exploratory" in note) == exploratory


def test_times_of_different_runs_never_stand_side_by_side(of_two_sizes, make_finished, gather_finished):
    """Latency is that of one measurement, or not shown; two heads of a few hundred parameters are one size."""
    changes = {"speed.student.parameters": 2_000_300, "student.layers": 2}
    other = make_finished("other", of_two_sizes[0].cell.setting, 1, changes=changes)
    groups = gather_finished([*of_two_sizes, other])
    *_, sizes = build_overall_tables(groups)
    assert sizes.header == ("model", "layers", "parameters", "megabytes") and len(sizes.rows) == 3
    teacher, _, small = (Size(*row) for row in sizes.rows)
    measured = []
    for size, milliseconds in ((teacher, 8.0), (small, 2.0)):
        times = {"p20": milliseconds - 0.5, "p50": milliseconds, "p80": milliseconds + 0.5}
        measured.append({**vars(size), "folder": "a", "latency_ms": times})
    content = {"machine": "a machine", "length": 42, "sizes": measured}
    *_, timed = build_overall_tables(groups, SweepLatency.model_validate(content))
    assert [row[4:] for row in timed.rows] == [("8.0", "100 %"), ("–", "–"), ("2.0", "25 %")]
    assert "one text of 42 tokens" in timed.note and "A dash: the model was not on disk then." in timed.note
    assert "varied" not in timed.note
    measured[1]["latency_ms"]["p80"] = 3.1  # other work ran on the machine: no share is known
    *_, timed = build_overall_tables(groups, SweepLatency.model_validate(content))
    assert [row[4:] for row in timed.rows] == [("8.0", "100 %"), ("–", "–"), ("2.0", "–")]
    assert "Some latencies varied by more than a factor of two" in timed.note and "innerdistill speed" in timed.note


def test_selection_and_validation_that_order_the_methods_differently_are_named(make_finished, gather_finished):
    finished = []
    for name, selection, validation in (("a", 0.9, 0.7), ("b", 0.8, 0.8), ("c", 0.7, 0.6)):
        splits = {"selection": selection, "validation": validation}
        changes = {f"scores.{split}.student.accuracy": score for split, score in splits.items()}
        finished.append(make_finished(name, changes=changes))
    (group,) = gather_finished(finished)
    sentence = "Best first, on selection: a; b; c. On validation: b; a; c."
    assert sentence in build_tables(group, alone=True)[0].note
    (group,) = gather_finished(finished[1:])  # b is the better one on both
    assert "orders the methods" not in build_tables(group, alone=True)[0].note


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


def test_the_spread_of_the_teachers_cls_stands_below_the_distances(make_finished, gather_finished):
    """Of older runs a dash and the reason; a control says what it learned from."""

    def build(*changes):
        cells = [make_finished(method, seed=seed, changes=change) for method, seed, change in changes]
        tables = build_tables(gather_finished(cells)[0], alone=False)
        return next(table for table in tables if table.title.startswith("Distance from the teacher"))

    spread = {"1": 0.5, "2": 0.2, "3": 0.5, "4": 0.00005}
    other = {"path": "bases/one", "layers": 4, "fingerprint": "i" * 64, "cls_spread": dict.fromkeys("1234", 0.3)}
    table = build(
        ("SID", 1, {"teacher.cls_spread": spread}),
        ("control", 1, {"teacher.cls_spread": spread, "internal_teacher": other}),
    )
    assert [column for column in table.header if column.startswith("CLS")] == [f"CLS, {n} ← {n}" for n in (1, 2, 3, 4)]
    dashes = ("–",) * 4
    assert table.rows[-2] == ("teacher's [CLS] between examples", *dashes, "0.500", "0.200", "0.500", "5e-5")
    assert table.rows[-1] == ("internal teacher's [CLS] between examples", *dashes, *("0.300",) * 4)
    assert "The [CLS] of teacher layer 4 is nearly the same for every example (5e-5)" in table.note
    assert "The internal losses of control learned from bases/one, not from the teacher." in table.note
    table = build(("SID", 1, {"teacher.cls_spread": None}))
    assert table.rows[-1] == ("teacher's [CLS] between examples", *dashes, *dashes)
    assert "A dash there: the runs are older than this measurement." in table.note
