"""Sizes of students are described in order."""

from innerdistill.sweep.sizes import find_swept_numbers
from innerdistill.sweep.tables import build_overall_tables


def test_sizes_are_said_in_order_with_what_they_hide(finished, make_finished, gather_finished):
    """Sizes from large to small, whatever the grid's order, and students that give one answer."""
    large, setting = [finished[5], finished[6]], {"student.num_layers": 2}
    collapsed = {"scores.validation.student.accuracy": 0.25, "scores.validation.student.collapsed": True}
    small = [make_finished("SID", setting, seed, changes=collapsed) for seed in (1, 2)]
    groups = gather_finished([*small, *large])
    (swept,) = find_swept_numbers(list(reversed(groups)))
    assert [group.setting["student.num_layers"] for group in swept.groups] == [2, 4]
    sentence = swept.describe()[0]
    share = 100 * 0.25 / groups[0].teacher.primary
    assert sentence.index("100.0 ± 0.0 % with 4 layers") < sentence.index(f"{share:.1f} ± 0.0 % with 2 layers")
    assert "2 seeds each; 2 students predict one class; the best constant answer has" in sentence
    assert "0.2500 ± 0.0000 (2 collapsed)" in {cell for row in build_overall_tables(groups)[0].rows for cell in row}


def test_of_a_teacher_at_chance_no_size_is_described(finished, make_finished, gather_finished):
    by_chance = {"scores.validation.teacher.above_constant.difference": 0.0}
    small = make_finished("SID", {"student.num_layers": 2}, changes=by_chance)
    (swept,) = find_swept_numbers(gather_finished([small, finished[5]]))
    assert swept.describe() == [] and swept.name_smallest() == []
