"""Suggestions follow from measured numbers, and only a student that is clearly below its teacher gets some."""

import copy

import pytest
from records import STAGE, make_record, make_scores

from innerdistill.report.next_steps import suggest_next_steps


def below(**changes):
    """A student that is clearly below its teacher."""
    difference = {"difference": -0.1, "standard_error": 0.02, "different": 30}
    return make_record(differences={"validation": difference}, **changes)


def stage(*, losses, scores):
    made = copy.deepcopy(STAGE)
    epochs = enumerate(zip(losses, scores, strict=True), start=1)
    made["epochs"] = [
        {"epoch": n, "steps": 6 * n, "losses": {"loss": loss}, "scores": {"accuracy": score}}
        for n, (loss, score) in epochs
    ]
    return made


def test_a_student_as_good_as_its_teacher_gets_none():
    near = {"difference": -0.01, "standard_error": 0.02, "different": 30}
    assert suggest_next_steps(make_record(differences={"validation": near})) == []
    assert suggest_next_steps(make_record()) == []  # an older run


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stages": [stage(losses=[0.5, 0.4, 0.6], scores=[0.7, 0.8, 0.8])]}, "rose from 0.4 to 0.6: try half the trainer.learning_rate"),
        ({"stages": [stage(losses=[0.5, 0.4], scores=[0.7, 0.8])]}, "from 0.700 to 0.800: train longer with schedule.classification_epochs=2."),
        ({"stages": [stage(losses=[0.5, 0.4], scores=[0.8, 0.8])]}, "its score no longer rose: try one layer more, student.num_layers=3."),
    ],
)  # fmt: skip
def test_each_suggestion_has_its_evidence(changes, expected):
    assert any(expected in sentence for sentence in suggest_next_steps(below(**changes)))


def test_a_student_that_fits_the_training_texts_needs_more_of_them():
    agreement = {"equal_predictions": 0.9}
    flat = [stage(losses=[0.5, 0.4], scores=[0.8, 0.8])]
    fits = below(stages=flat, agreement={"validation": agreement, "train": {"equal_predictions": 0.99}})
    assert "It agrees with the teacher more on train (0.990) than on validation (0.900)" in suggest_next_steps(fits)[0]
    same = below(stages=flat, agreement={"validation": agreement, "train": agreement})
    assert not any("train (" in sentence for sentence in suggest_next_steps(same))


def test_a_student_that_predicts_one_class_is_told_so():
    scores = {"teacher": make_scores(0.9), "student": make_scores(0.5, collapsed=True)}
    sentences = suggest_next_steps(below(scores={"validation": scores, "selection": scores}))
    assert sentences == [
        "The student predicts one class after 6 steps in the last stage. Try another trainer.learning_rate, or train "
        "longer with schedule.classification_epochs=2."
    ]
