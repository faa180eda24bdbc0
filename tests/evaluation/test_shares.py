"""Shares of a teacher's score: Fieller's interval, and what is shown to be kept."""

import numpy as np
import pytest
from scipy import stats

from innerdistill.evaluation.shares import estimate_share, judge_share


def draw(seed, *, units=5, examples=2000, teacher=0.9, student=0.85):
    """Correctness of a teacher and of its students, who mostly err together."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 1, examples)
    ours = hard + generator.normal(0, 0.5, (units, examples)) < stats.norm.ppf(student) * np.sqrt(1.25)
    theirs = hard + generator.normal(0, 0.5, examples) < stats.norm.ppf(teacher) * np.sqrt(1.25)
    teachers = np.broadcast_to(theirs.astype(float), ours.shape)
    return ours.astype(float), teachers, (ours != theirs).any(0)


def test_the_ends_of_the_interval_are_where_the_test_just_refuses():
    student, teacher, different = draw(0)
    found = estimate_share(student, teacher, different=different, is_accuracy=True)
    assert found.share == pytest.approx(student.mean() / teacher.mean()) and found.interval[0] < found.share
    # one teacher without noise of its own over units: the variance of student - rho teacher, by hand
    for rho in found.interval:
        rest = student - rho * teacher
        of_units, of_examples = rest.mean(1), rest.mean(0)
        noise = rest - of_units[:, None] - of_examples + rest.mean()
        a, b = of_units.var(ddof=1) / 5, of_examples.var(ddof=1) / 2000
        c = (noise**2).sum() / (4 * 1999) / 10_000
        variance = max(a, c) + max(b, c) - c
        df = max(4, variance**2 / (a**2 / 4 + b**2 / 1999 + c**2 / (4 * 1999)))
        half = max(stats.t.ppf(0.975, df) * variance**0.5, stats.t.ppf(0.975, 4) * a**0.5)
        assert abs(rest.mean()) == pytest.approx(half, rel=1e-6)


def test_a_student_that_is_its_teacher_keeps_all_but_shows_it_only_with_many_examples():
    """Without a different answer the interval of accuracy still has 2 / N^2."""
    teacher = np.tile(np.arange(1000) % 10 > 0, (5, 1)).astype(float)
    same = np.zeros(1000, bool)
    found = estimate_share(teacher, teacher, different=same, is_accuracy=True)
    assert found.share == 1 and found.interval[0] < 1 < found.interval[1]
    judged = {asked: judge_share(teacher, teacher, asked, different=same, is_accuracy=True) for asked in (0.98, 0.999)}
    assert judged == {0.98: "shown", 0.999: "not shown"}


def test_what_is_kept_is_shown_refused_or_not_shown():
    student, teacher, different = draw(1)
    share = estimate_share(student, teacher, different=different, is_accuracy=True)
    low, high = share.interval
    asked = (low - 0.01, share.share, high + 0.01)
    judged = [judge_share(student, teacher, rho, different=different, is_accuracy=True) for rho in asked]
    assert judged == ["shown", "not shown", "refused"]


def test_four_seeds_have_a_share_and_no_interval():
    student, teacher, different = draw(2, units=4)
    found = estimate_share(student, teacher, different=different, is_accuracy=True)
    assert found.interval is None and found.share == pytest.approx(student.mean() / teacher.mean())
    assert judge_share(student, teacher, 0.5, different=different, is_accuracy=True) == "not shown"


def test_a_teacher_within_two_standard_errors_of_nothing_has_no_share():
    generator = np.random.default_rng(0)
    teacher = np.tile(generator.normal(0, 1, 100), (5, 1))
    error = teacher[0].std(ddof=1) / 10
    for times, known in ((1.9, False), (2.1, True)):
        moved = teacher - teacher.mean() + times * error
        found = estimate_share(moved + 0.1, moved, different=np.ones(100, bool), is_accuracy=False)
        assert (found is not None) == known
    assert estimate_share(teacher, -np.abs(teacher), different=np.ones(100, bool), is_accuracy=False) is None


def test_an_interval_without_an_end_is_not_given():
    """Fieller's interval has no end where t standard errors of the teacher's score reach 0: here t is 2.8."""
    generator = np.random.default_rng(0)
    teacher = np.repeat(1 + generator.normal(0, 1, (5, 1)), 50, axis=1)
    teacher = (teacher - teacher.mean()) / teacher[:, 0].std(ddof=1) * np.sqrt(5) * 0.45 + 1
    found = estimate_share(teacher[::-1], teacher, different=np.ones(50, bool), is_accuracy=False)
    assert found is not None and found.interval is None


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say():
    inside = []
    for seed in range(300):
        student, teacher, different = draw(seed, examples=300)
        low, high = estimate_share(student, teacher, different=different, is_accuracy=True).interval
        inside.append(low <= 0.85 / 0.9 <= high)
    assert 0.92 <= np.mean(inside) <= 0.99
