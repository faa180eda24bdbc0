from records import make_scores

from innerdistill.report.formatting import escape_markdown, format_share, list_metrics
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


def test_a_share_of_nothing_is_a_dash():
    assert [format_share(0.45, 0.9), format_share(0.1, 0.0), format_share(0.1, -0.2)] == ["50.0 %", "–", "–"]
