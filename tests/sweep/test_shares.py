"""The tables of shares of the teacher's score, and of right and wrong answers."""

import numpy as np
import pytest

from innerdistill.evaluation.kappa import compute_kappa
from innerdistill.sweep.mistakes import build_right_and_wrong
from innerdistill.sweep.shares import build_shares, compare_with_method, compare_with_teacher
from innerdistill.sweep.tables import build_overall_tables, build_tables

ACCURACIES = (0.8, 0.82, 0.84, 0.8, 0.82, 0.84, 0.8, 0.82)


@pytest.fixture(scope="module")
def of_eight_seeds(make_finished):
    """Two methods, eight seeds: students that are right on the first examples."""
    finished = []
    for seed, accuracy in enumerate(ACCURACIES):
        for method, lost in (("sid", 0.0), ("soft", 0.1)):
            changes = {"scores.validation.teacher.above_constant.difference": 0.4}
            finished.append(make_finished(method, seed=seed, accuracy=accuracy - lost, changes=changes))
    return finished


@pytest.fixture(scope="module")
def group(of_eight_seeds, gather_finished):
    (group,) = gather_finished(of_eight_seeds, share=0.5)
    return group


def test_shares_are_those_of_the_mean_scores(group):
    table = build_shares(group)
    students, teacher = group.methods["sid"].score("accuracy").mean, group.teacher.primary
    assert table.header[5:7] == ("keeps 50 %", "keeps 50 % above the constant answer") and len(table.rows) == 2
    name, of_score, interval, *_ = table.rows[0]
    share = compare_with_teacher(group, "sid").estimate()
    assert (name, of_score) == ("sid", f"{100 * students / teacher:.1f} %")
    assert interval == f"{100 * share.interval[0]:.1f} % ... {100 * share.interval[1]:.1f} %"
    assert table.rows[0][5] == "shown"
    above = compare_with_teacher(group, "sid").estimate(group.constant_values)
    constant = max(np.bincount(group.examples.labels)) / len(group.examples.labels)
    assert above.share == pytest.approx((students - constant) / (teacher - constant))
    assert any(shown.title == "Shares" for shown in build_tables(group, alone=True))


def test_fewer_than_eight_seeds_show_nothing_and_fewer_than_five_have_no_table(of_eight_seeds, gather_finished):
    (of_seven,) = gather_finished(of_eight_seeds[:14], share=0.5)
    assert {row[5] for row in build_shares(of_seven).rows} == {"–"}
    (of_four,) = gather_finished(of_eight_seeds[:8], share=0.5)
    assert build_shares(of_four) is None


def test_the_full_size_model_is_another_measure(group):
    """The teacher has four layers, and so have these students."""
    assert group.find_full_size() == "sid"
    table = build_shares(group)
    kept = compare_with_method(group, "soft", "sid").estimate()
    scores = [group.methods[name].score("accuracy").mean for name in ("soft", "sid")]
    assert kept.share == pytest.approx(scores[0] / scores[1])
    assert "of the score of sid" in table.header and compare_with_method(group, "soft", "none") is None


def test_a_collapsed_student_takes_the_interval(of_eight_seeds, make_finished, gather_finished):
    collapsed = make_finished("other", seed=0)
    others = [make_finished("other", seed=seed, accuracy=accuracy) for seed, accuracy in enumerate(ACCURACIES) if seed]
    (group,) = gather_finished([*of_eight_seeds, collapsed, *others])
    group.methods["other"].read_answers(0).predictions[:] = 1
    assert compare_with_teacher(group, "other").estimate().interval is None
    assert [row[0] for row in build_shares(group).rows] == ["sid", "soft"]


def test_over_teachers_every_teacher_is_measured_by_its_own_students(make_finished, gather_finished):
    finished = []
    for teacher, accuracy in enumerate(ACCURACIES):
        changes = {"teacher.fingerprint": str(teacher), "recipe.teacher.seed": teacher}
        changes |= {"recipe.teacher.path": None, "recipe.teacher.base": "a model"}
        changes |= {"scores.validation.teacher.above_constant.difference": 0.4}
        for number in (0, 1):
            seed = 2 * teacher + number
            entry = make_finished("sid", {"teacher.seed": teacher}, seed, accuracy=accuracy, changes=changes)
            finished.append(entry)
    groups = gather_finished(finished, grid={}, teachers=range(8), seeds=[1, 2])
    (table,) = [table for table in build_overall_tables(groups) if table.title == "Shares over teachers"]
    assert table.rows[0][0] == "sid" and "over teachers and examples" in table.note
    assert not any(shown.title == "Shares" for shown in build_tables(groups[0], alone=False))


def test_kappa_stands_beside_both_accuracies(of_eight_seeds, gather_finished):
    """Its interval needs ten mistakes of the teacher, which makes nine."""
    (group,) = gather_finished(of_eight_seeds)
    assert [row[2] for row in build_right_and_wrong(group).rows] == ["–", "–"]
    predictions = group.teacher_answers.predictions[0]
    predictions[:20] = 1 - group.examples.labels[:20]
    table = build_right_and_wrong(group)
    teacher = predictions == group.examples.labels
    students = [run.predictions[0] == group.examples.labels for run in group.methods["sid"].list_answers()]
    kappa = np.mean([compute_kappa(teacher, right) for right in students])
    assert table.rows[0][:2] == ("sid", f"{kappa:.3f}")
    low, high = map(float, table.rows[0][2].split(" ... "))
    assert low < kappa < high
    assert table.rows[0][3] == str(group.methods["sid"].score("accuracy"))
    assert f"teacher's accuracy is {teacher.mean():.4f}" in table.note
