import pytest
from records import make_scores

from innerdistill.report.formatting import (
    compute_share_above_constant,
    escape_markdown,
    format_share,
    list_metrics,
)
from innerdistill.report.record import Scores


def test_text_of_others_keeps_its_words_and_loses_its_markup():
    assert escape_markdown("not_entailment") == r"not\_entailment"
    assert escape_markdown("a & b #1\n<b>|") == r"a &amp; b \#1 &lt;b&gt;\|"
    assert escape_markdown("p < 0.001") == "p < 0.001"


def test_the_primary_metric_comes_first_and_errors_are_left_out():
    assert list_metrics(Scores.model_validate(make_scores(0.8, metric="macro_f1"))) == ["macro_f1", "accuracy"]
    regression = {"metric": "pearson", "rows": 9, "mse": 0.2, "pearson": 0.7, "constant": 0.0, "standard_error": 0.1}
    assert list_metrics(Scores.model_validate(regression)) == ["pearson"]


def test_f1_is_not_shown_beside_macro_f1_of_more_than_two_classes():
    of_class = {"precision": 0.8, "recall": 0.8, "rows": 20}
    values = {"metric": "macro_f1", "f1": 0.8, "macro_f1": 0.8}
    names = {}
    for count in (2, 4):
        per_class = {f"class {number}": of_class for number in range(count)}
        names[count] = list_metrics(Scores.model_validate(make_scores(0.8, per_class=per_class, **values)))
    assert names == {2: ["macro_f1", "accuracy", "f1"], 4: ["macro_f1", "accuracy"]}


def make_teacher(score, *, difference, error):
    """A teacher with a constant answer of 0.5."""
    above = {"difference": difference, "standard_error": error, "different": 50}
    return Scores.model_validate(make_scores(score, above_constant=above))


def test_a_share_is_of_the_score_and_of_what_lies_above_the_constant_answer():
    teacher = make_teacher(0.9, difference=0.4, error=0.03)
    assert format_share(0.45, teacher) == "50.0 %"
    assert compute_share_above_constant(0.8, teacher) == pytest.approx(0.75)


def test_there_is_no_share_of_a_teacher_that_does_not_clearly_beat_the_constant_answer():
    for score, difference, error in ((0.55, 0.05, 0.03), (0.3, -0.2, 0.03), (0.5, 0.0, 0.0)):
        teacher = make_teacher(score, difference=difference, error=error)
        assert format_share(0.6, teacher) == "–"
        assert compute_share_above_constant(0.6, teacher) is None
    older = Scores.model_validate(make_scores(0.55))  # without the difference: by two errors of its own score, .03
    assert format_share(0.6, older) == "–"
