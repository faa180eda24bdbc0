"""What a page, a card and the terminal begin with: true, and what is wrong first."""

from records import make_record, make_scores

from innerdistill.evaluation.differences import PairedDifference
from innerdistill.report.card import build_card
from innerdistill.report.headline import list_problems, summarize_run


def above(difference, error=0.02):
    return {"difference": difference, "standard_error": error, "different": 40}


def record(*, teacher, student):
    """Scores by model: accuracy, or accuracy and what else is known."""
    models = {"teacher": teacher, "student": student}
    scores = {
        name: make_scores(value, above_constant=above(value - 0.5), **extra) for name, (value, extra) in models.items()
    }
    return make_record(scores={"validation": scores, "selection": scores})


def test_a_good_run_has_both_shares():
    sentences = summarize_run(record(teacher=(0.9, {}), student=(0.8, {})))
    assert sentences[0] == "The 2-layer student scores 0.800 accuracy, its 4-layer teacher 0.900."
    assert sentences[1] == (
        "It keeps 88.9 % of the teacher's score, and 75.0 % of what lies above a constant answer (0.500)."
    )
    assert sentences[2] == "It has 100 % of the teacher's parameters and is 1.0 times as fast."


def test_a_weak_teacher_comes_first_and_there_is_no_share():
    for score, word in ((0.07, "clearly less"), (0.5, "not clearly more"), (0.53, "not clearly more")):
        broken = record(teacher=(score, {}), student=(0.6, {}))
        sentences = summarize_run(broken)
        assert sentences[0].startswith(
            f"Nothing can be concluded from this run: the teacher scores {score:.3f} accuracy, {word} than"
        )
        assert not any("%" in sentence or "times as fast" in sentence for sentence in sentences)
        card = str(build_card(broken))
        assert "Nothing can be concluded from this run" in card and "%" not in card.split("Agreement", maxsplit=1)[0]


def test_a_collapsed_teacher_or_student_is_named():
    collapsed = record(teacher=(0.5, {"collapsed": True}), student=(0.5, {"collapsed": True}))
    assert list_problems(collapsed) == [
        "Nothing can be concluded from this run: the teacher predicts one class for every example (a constant answer "
        "scores 0.500)."
    ]
    student = record(teacher=(0.9, {}), student=(0.5, {"collapsed": True}))
    assert summarize_run(student)[0] == "The student predicts one class for every example. Its training failed."
    guessing = record(teacher=(0.9, {}), student=(0.52, {}))
    assert "not clearly better than a constant answer (0.520 against 0.500)" in summarize_run(guessing)[0]
    losing = record(teacher=(0.9, {}), student=(0.3, {}))
    assert summarize_run(losing)[0] == "The student is worse than a constant answer (0.300 against 0.500)."


def test_the_baseline_is_compared_by_the_paired_difference():
    run = record(teacher=(0.9, {}), student=(0.8, {}))
    baseline = record(teacher=(0.9, {}), student=(0.75, {}))
    for difference, error, expected in (
        (0.05, 0.01, "scores 0.750: 0.050 less (standard error over examples 0.010, one seed each)."),
        (-0.05, 0.01, "scores 0.750: 0.050 more (standard error over examples 0.010, one seed each)."),
        (0.05, 0.04, "scores 0.750: no clear difference (+0.050 for the student; "),
    ):
        sentence = summarize_run(run, baseline, above_baseline=PairedDifference(difference, error, 30))[3]
        assert expected in sentence
    same = summarize_run(run, baseline, above_baseline=PairedDifference(0.0, 0.014, 0))[3]
    assert same.endswith("scores 0.750: it gives the same answers.")
