"""Sizes of students are described in order."""

import numpy as np
import pytest
from records import make_answers
from scipy import stats

from innerdistill.sweep.sizes import find_swept_numbers
from innerdistill.sweep.tables import build_overall_tables
from innerdistill.sweep.trend import estimate_trend


def test_sizes_are_said_in_order_with_what_they_hide(finished, make_finished, gather_finished):
    """Sizes from large to small, whatever the grid's order, and students that give one answer."""
    large, setting = [finished[5], finished[6]], {"student.num_layers": 2}
    collapsed = {"scores.validation.student.collapsed": True}
    small = [make_finished("SID", setting, seed, accuracy=0.25, changes=collapsed) for seed in (1, 2)]
    groups = gather_finished([*small, *large])
    (swept,) = find_swept_numbers(list(reversed(groups)))
    assert [group.setting["student.num_layers"] for group in swept.groups] == [2, 4]
    sentence = swept.describe()[0]
    share = 100 * 0.25 / groups[0].teacher.primary
    assert sentence.index("100.0 % with 4 layers") < sentence.index(f"{share:.1f} % with 2 layers")
    assert "2 seeds each; 2 students predict one class; a constant answer has" in sentence
    assert "0.2500 ± 0.0000 (2 collapsed)" in {cell for row in build_overall_tables(groups)[0].rows for cell in row}


def test_of_a_teacher_at_chance_no_size_is_described(finished, make_finished, gather_finished):
    by_chance = {"scores.validation.teacher.above_constant.difference": 0.0}
    small = make_finished("SID", {"student.num_layers": 2}, changes=by_chance)
    (swept,) = find_swept_numbers(gather_finished([small, finished[5]]))
    assert swept.describe() == [] and swept.name_smallest() == []


@pytest.fixture(scope="module")
def of_three_sizes(make_finished):
    """A lead that shrinks by 0.05 with every doubling of the training examples, on 140 examples."""
    finished = []
    for rows, lead in ((100, 0.3), (200, 0.25), (400, 0.2)):
        for seed, noise in enumerate((0, 1, 2, 1, 0)):
            for method, accuracy in (("SID", 0.5 + lead), ("soft", 0.5)):
                changes = {"data.rows.train": rows, "scores.validation.teacher.above_constant.difference": 0.4}
                moved = round(140 * accuracy + noise * (method == "SID")) / 140
                setting = {"data.train_rows": rows}
                finished.append(make_finished(method, setting, seed, accuracy=moved, changes=changes))
    return finished


def test_a_lead_that_changes_with_the_training_examples_is_one_contrast(of_three_sizes, gather_finished):
    pair = ("SID", "soft")
    (swept,) = find_swept_numbers(gather_finished(of_three_sizes, compare=[pair]))
    (sentence,) = swept.describe()
    beginning = "Exploratory: with every doubling, the difference of SID from soft changes by -0.0500 accuracy (95 %"
    assert sentence.startswith(beginning) and sentence.endswith("5 seeds).")
    few = [entry for entry in of_three_sizes if entry.cell.seed < 2]
    (swept,) = find_swept_numbers(gather_finished(few, compare=[pair]))
    assert swept.describe()[0].endswith("(2 seeds; an interval needs 5 seeds).")


def test_the_slope_is_that_of_least_squares():
    """Of the differences of each seed, over the logarithms of the sizes."""
    generator, places = np.random.default_rng(0), np.log2([100, 200, 800])
    scores = generator.integers(500, 900, (2, 3, 5)) / 1000
    answers = [[[make_answers(score) for score in of_size] for of_size in of_method] for of_method in scores]
    estimate, obstacle = estimate_trend(*answers, places, metric="accuracy")
    slopes = [stats.linregress(places, scores[0, :, seed] - scores[1, :, seed]).slope for seed in range(5)]
    assert estimate.mean == pytest.approx(np.mean(slopes)) and not obstacle
    assert estimate.unit_variance == pytest.approx(np.var(slopes, ddof=1) / 5)
