"""Runs are grouped, refused where they cannot be compared, and compared over seeds or teachers."""

import itertools
import re

import pytest
from scipy import stats

from innerdistill.sweep.gather import gather
from innerdistill.sweep.grid import derive_seed
from innerdistill.sweep.groups import list_places
from innerdistill.sweep.report import write_sweep_report
from innerdistill.sweep.wording import describe_reserve

NUMBERS = (1, 2)  # of the students of a teacher


@pytest.fixture(scope="module")
def make_teachers(make_finished):
    """Six teachers, two methods, two students of each: one real run whose answers are moved."""

    def make(find_seed):
        finished = []
        for teacher, method, number in itertools.product(range(1, 7), ("soft", "sid"), NUMBERS):
            accuracy = 0.5 + (0.2 + 0.02 * (teacher % 3) + 0.02 * number if method == "sid" else 0.0)
            changes = {"teacher.fingerprint": f"of seed {teacher}", "recipe.teacher.seed": teacher}
            changes |= {"recipe.teacher.path": None, "recipe.teacher.base": "a model"}
            setting, seed = {"teacher.seed": teacher}, find_seed(teacher, number)
            finished.append(make_finished(method, setting, seed, accuracy=accuracy, changes=changes))
        return finished

    return make


@pytest.fixture(scope="module")
def of_shared_seeds(make_teachers):
    """Students of all teachers have the same seeds."""
    return make_teachers(lambda _, number: number)


@pytest.fixture(scope="module")
def of_own_seeds(make_teachers):
    """Students of every teacher have seeds of their own."""
    return make_teachers(derive_seed)


def average_differences(finished):
    """The difference of the methods' mean accuracies by teacher."""
    by_teacher = {}
    for entry in finished:
        accuracy = entry.run.record.scores["validation"].student.primary
        sign = 1 if entry.cell.method == "sid" else -1
        by_teacher.setdefault(entry.cell.setting["teacher.seed"], []).append(sign * accuracy / len(NUMBERS))
    return [sum(parts) for parts in by_teacher.values()]


def test_over_teachers_the_mean_of_each_ones_students_is_the_unit(of_own_seeds, sweep_of, tmp_path):
    changes = {"grid": {}, "teachers": range(1, 7), "seeds": NUMBERS, "compare": [("sid", "soft")]}
    sweep = sweep_of(of_own_seeds, output=tmp_path, **changes)
    groups = gather(sweep, of_own_seeds)
    (place,) = list_places(groups)
    (comparison,) = place.comparisons
    expected = average_differences(of_own_seeds)
    assert comparison.differences == pytest.approx(expected) and comparison.over == "teachers"
    assert comparison.sample == "6 teachers, 2 students of each" and comparison.verdict == "few"
    assert comparison.p >= stats.ttest_1samp(expected, 0).pvalue * (1 - 1e-4)  # never surer than over teachers alone
    assert all(not group.comparisons for group in groups)
    (fewer,) = list_places(gather(sweep, of_own_seeds[:12]))
    assert fewer.comparisons[0].over == "teachers" and fewer.comparisons[0].verdict == "untested"
    assert describe_reserve(fewer.comparisons).startswith("Preliminary: 3 of 6 teachers have run.")
    write_sweep_report(sweep, of_own_seeds)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "6 teachers, 2 students of each" in text and "Score against teacher.seed" not in page
    assert "are about other teachers, other seeds and other examples" in text
    assert page.count("Attention explorer") == 1  # of the first teacher


def test_one_teacher_is_compared_over_its_seeds(of_own_seeds, gather_finished):
    changes = {"grid": {}, "teachers": [1], "seeds": NUMBERS, "compare": [("sid", "soft")]}
    (group,) = gather_finished(of_own_seeds[:4], **changes)
    assert group.comparisons[0].over == "seeds" and group.comparisons[0].units == 2


def test_teachers_that_share_seeds_give_a_rough_estimate(of_shared_seeds, make_finished, sweep_of):
    sweep = sweep_of(of_shared_seeds, compare=[("sid", "soft")])
    (place,) = list_places(gather(sweep, of_shared_seeds))
    (comparison,) = place.comparisons
    assert comparison.differences == pytest.approx(average_differences(of_shared_seeds))
    assert comparison.verdict == "rough" and comparison.interval is not None
    without_one = [entry for entry in of_shared_seeds if entry.cell.seed == 1 or entry.cell.setting["teacher.seed"] < 6]
    (place,) = list_places(gather(sweep, without_one))
    assert [len(unit) for unit in place.list_units("sid", "soft")] == [1] * 6  # what all of them have
    again = make_finished("sid", {"teacher.seed": 7}, changes={"teacher.fingerprint": "of seed 1"})
    twice = [*of_shared_seeds, again]
    with pytest.raises(ValueError, match=r"seed=1 and teacher\.seed=7 have the same teacher"):
        gather(sweep_of(twice, compare=[("sid", "soft")]), twice)


def test_with_too_few_teachers_that_share_seeds_the_seed_is_the_unit(of_shared_seeds, gather_finished):
    for finished in (of_shared_seeds[:4], of_shared_seeds[:8]):
        groups = gather_finished(finished, compare=[("sid", "soft")])
        assert list_places(groups) == groups and groups[0].comparisons[0].over == "seeds"


def test_settings_are_corrected_together(finished, pair, make_finished, gather_finished):
    """A sweep over two sizes makes two comparisons; a third size that has not begun was declared with them."""
    moved = []
    for index, entry in enumerate(finished):
        accuracy = 0.9 - (index // 10) * (0.3 + 0.02 * (index % 5))
        moved.append(make_finished(entry.cell.method, entry.cell.setting, entry.cell.seed, accuracy=accuracy))
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
        ("student.start", "starting weights"),
        ("versions.torch", "versions"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(finished, make_finished, gather_finished, key, what):
    other = make_finished(seed=2, changes={key: "another"})
    places = "|".join(re.escape(entry.run.place) for entry in (finished[0], other))
    with pytest.raises(ValueError, match=rf"({places}).*differ in {what}"):
        gather_finished([finished[0], other])


def test_internal_teachers_of_the_same_name_are_the_same_model(finished, make_finished, gather_finished):
    model = {"path": "bases/one", "layers": 4, "fingerprint": "i" * 64}
    first, second = (make_finished(seed=seed, changes={"internal_teacher": model}) for seed in (1, 2))
    gather_finished([first, second])
    other = make_finished(seed=2, changes={"internal_teacher": {**model, "fingerprint": "j" * 64}})
    with pytest.raises(ValueError, match="differ in model of the internal losses"):
        gather_finished([first, other])


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
