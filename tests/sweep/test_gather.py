"""Runs are grouped, refused where they cannot be compared, and compared over seeds or teachers."""

import re

import pytest
from scipy import stats

from innerdistill.sweep.gather import gather
from innerdistill.sweep.groups import list_places
from innerdistill.sweep.report import write_sweep_report
from innerdistill.sweep.statistics import describe_reserve


@pytest.fixture(scope="module")
def of_teachers(make_finished):
    """Six teachers, two methods, two seeds of each: one real run whose scores are moved."""
    finished = []
    for teacher in range(1, 7):
        for method in ("soft", "sid"):
            for seed in (1, 2):
                better = 0.1 + 0.01 * teacher + 0.02 * seed if method == "sid" else 0.0
                changes = {"scores.validation.student.accuracy": 0.5 + better}
                changes |= {"teacher.fingerprint": f"of seed {teacher}", "recipe.teacher.seed": teacher}
                changes |= {"recipe.teacher.path": None, "recipe.teacher.base": "a model"}
                finished.append(make_finished(method, {"teacher.seed": teacher}, seed, changes=changes))
    return finished


def test_over_teachers_the_mean_of_each_ones_students_is_the_unit(of_teachers, make_finished, sweep_of, tmp_path):
    sweep = sweep_of(of_teachers, compare=[("sid", "soft")], output=tmp_path)
    groups = gather(sweep, of_teachers)
    (place,) = list_places(groups)
    (comparison,) = place.comparisons
    expected = [0.1 + 0.01 * teacher + 0.03 for teacher in range(1, 7)]
    assert comparison.differences == pytest.approx(expected) and comparison.over == "teachers"
    assert comparison.p == pytest.approx(stats.ttest_1samp(expected, 0).pvalue)
    assert comparison.sample == "6 teachers, 2 students of each" and comparison.interval is not None
    assert all(not group.comparisons for group in groups)
    twice = [*of_teachers, make_finished("sid", {"teacher.seed": 7}, changes={"teacher.fingerprint": "of seed 1"})]
    with pytest.raises(ValueError, match=r"seed=1 and teacher\.seed=7 have the same teacher"):
        gather(sweep_of(twice, compare=[("sid", "soft")]), twice)
    (fewer,) = list_places(gather(sweep, of_teachers[:12]))
    assert describe_reserve(fewer.comparisons).startswith("Preliminary: 3 of 6 teachers have run.")
    write_sweep_report(sweep, of_teachers)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "6 teachers, 2 students of each" in text and "Score against teacher.seed" not in page
    assert page.count("Attention explorer") == 1  # of the first teacher


def test_with_too_few_teachers_for_an_interval_the_seed_is_the_unit(of_teachers, gather_finished):
    for finished in (of_teachers[:4], of_teachers[:8]):
        groups = gather_finished(finished, compare=[("sid", "soft")])
        assert list_places(groups) == groups and groups[0].comparisons[0].over == "seeds"


def test_settings_are_corrected_together(finished, pair, make_finished, gather_finished):
    """A sweep over two sizes makes two comparisons; a third size that has not begun was declared with them."""
    moved = []
    for index, entry in enumerate(finished):
        score = entry.run.record.scores["validation"].student.primary - (index // 10) * (0.1 + 0.01 * (index % 5))
        changes = {"scores.validation.student.accuracy": score}
        moved.append(make_finished(entry.cell.method, entry.cell.setting, entry.cell.seed, changes=changes))
    alone, *_ = gather_finished([*moved[:5], *moved[10:15]], compare=[pair])
    both = gather_finished(moved, compare=[pair])
    of_three = gather_finished(moved, compare=[pair], grid={"student.num_layers": [2, 4, 6]})
    p = alone.comparisons[0].p
    assert [group.comparisons[0].p for group in both] == pytest.approx([2 * p] * 2)
    assert [group.comparisons[0].p for group in of_three] == pytest.approx([3 * p] * 2)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("teacher.fingerprint", "teacher"),
        ("data.fingerprint", "data"),
        ("student.start", "weights at the start"),
        ("versions.torch", "versions"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(finished, make_finished, gather_finished, key, what):
    other = make_finished(seed=2, changes={key: "another"})
    places = "|".join(re.escape(entry.run.place) for entry in (finished[0], other))
    with pytest.raises(ValueError, match=rf"({places}).*made with different {what}"):
        gather_finished([finished[0], other])


def test_a_method_that_failed_takes_no_seeds_from_the_others(finished, pair, make_finished, gather_finished):
    """Three methods; the third has run with one seed only."""
    third = make_finished("third", finished[0].cell.setting, 1)
    group, *_ = gather_finished([*finished[:5], *finished[10:15], third], compare=[pair, ("third", pair[1])])
    assert [comparison.units for comparison in group.comparisons] == [5, 1]


def test_a_run_without_its_predictions_is_named(finished, pair, make_finished, gather_finished):
    without = make_finished("SID", finished[0].cell.setting, 1)
    (without.run.folder / "predictions.parquet").unlink()
    with pytest.raises(ValueError, match=r"predictions\.parquet: missing, damaged or not"):
        gather_finished([without, *finished[1:5], *finished[10:15]], compare=[pair])


def test_warnings_that_differ_in_numbers_only_are_counted_together(make_finished, gather_finished):
    sentence = "The loss of stage 'layer 1' did not fall ({}.5 at first)."
    warnings = [[sentence.format(number), "Rows are in both."] for number in (1, 2, 3)]
    finished = [make_finished(seed=seed, changes={"warnings": texts}) for seed, texts in enumerate(warnings)]
    (group,) = gather_finished(finished)
    assert group.warnings == {sentence.format(1): 3, "Rows are in both.": 3}
