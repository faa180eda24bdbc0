"""Suggestions follow from measured numbers that are more than noise, and the likeliest cause comes first."""

import copy

import pytest
from records import STAGE, make_record, make_scores

from innerdistill.report.next_steps import suggest_next_steps

BELOW = {"validation": {"difference": -0.1, "standard_error": 0.02, "different": 30}}
OTHER = "another trainer.learning_rate (now 5e-5; 2e-5 to 4e-4 are usual)"


def below(recipe=None, **changes):
    """A student that is clearly below its teacher. The score on selection has a standard error of 0.03."""
    return make_record(recipe, differences=BELOW, **changes)


def stage(*, losses, scores, **of_stage):
    made = copy.deepcopy(STAGE)
    made["stage"] |= of_stage
    epochs = enumerate(zip(losses, scores, strict=True), start=1)
    made["epochs"] = [
        {"epoch": n, "steps": 6 * n, "losses": {"loss": loss}, "scores": {"accuracy": score}}
        for n, (loss, score) in epochs
    ]
    return made


def score_splits(**models):
    return dict.fromkeys(("selection", "validation"), models)


LEVEL = [stage(losses=[0.6, 0.5, 0.4], scores=[0.6, 0.7, 0.7])]


def test_a_student_as_good_as_its_teacher_gets_none():
    near = {"difference": -0.01, "standard_error": 0.02, "different": 30}
    assert suggest_next_steps(make_record(differences={"validation": near})) == []
    assert suggest_next_steps(make_record()) == []  # an older run


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([stage(losses=[0.5, 0.4, 0.6], scores=[0.7, 0.8, 0.8])], "rose from 0.4 to 0.6: try half the trainer.learning_rate"),
        ([stage(losses=[0.5, 0.4], scores=[0.7, 0.8])], "from 0.700 to 0.800: train longer with schedule.classification_epochs=2."),
        (LEVEL, f"The student's loss fell, and its score on selection no longer rose: try {OTHER}, and then one layer more: student.num_layers=3."),
    ],
)  # fmt: skip
def test_each_suggestion_has_its_evidence(stages, expected):
    assert any(expected in sentence for sentence in suggest_next_steps(below(stages=stages)))


@pytest.mark.parametrize(
    "stages",
    [
        [stage(losses=[0.5], scores=[0.7])],
        [stage(losses=[0.6, 0.5], scores=[0.6, 0.6])],
        [stage(losses=[1.08, 1.02, 0.97], scores=[0.538, 0.556, 0.554])],  # within the standard error
        [stage(losses=[0.6, 0.5, 0.6], scores=[0.6, 0.7, 0.7])],
        [stage(losses=[0.6, 0.5, 0.4], scores=[0.6, 0.605, 0.61])],  # rises, but not by more than noise
    ],
    ids=["one score", "two scores", "noise", "loss did not fall", "noise that rises"],
)
def test_too_little_evidence_suggests_neither_a_layer_nor_more_steps(stages):
    text = " ".join(suggest_next_steps(below(stages=stages)))
    assert "learning_rate" in text
    assert "num_layers" not in text and "no longer rose" not in text and "train longer" not in text


def test_a_full_size_student_is_not_told_to_grow():
    assert "num_layers" not in " ".join(suggest_next_steps(below(stages=LEVEL, student={"layers": 4})))


@pytest.mark.parametrize(
    ("rate", "sentence"),
    [
        (0.05, "Lower trainer.learning_rate: it is 0.05, and 2e-5 to 4e-4 are usual."),
        (1e-9, "Raise trainer.learning_rate: it is 1e-9, and 2e-5 to 4e-4 are usual."),
    ],
)
@pytest.mark.parametrize("kind", ["collapsed", "guesses", "below"])
def test_an_unusual_learning_rate_has_its_direction_and_nothing_else(rate, sentence, kind):
    """Longer training or one layer more would be judged at a rate that cannot work."""
    recipe = {"trainer": {"learning_rate": rate}, "schedule": {"total_steps": 16}}
    student = (
        make_scores(0.5, collapsed=True) if kind == "collapsed" else make_scores(0.52 if kind == "guesses" else 0.8)
    )
    scores = score_splits(teacher=make_scores(0.9), student=student)
    assert suggest_next_steps(below(recipe, scores=scores, stages=LEVEL)) == [sentence]


def test_the_internal_stages_have_a_learning_rate_of_their_own():
    stages = [stage(losses=[0.5], scores=[0.5], is_internal=True), *LEVEL]
    own = below({"internal_trainer": {"learning_rate": 0.01}}, stages=stages)
    expected = "Lower internal_trainer.learning_rate: it is 0.01, and 2e-5 to 4e-4 are usual."
    assert suggest_next_steps(own) == [expected]
    shared = below({"trainer": {"learning_rate": 0.01}}, stages=stages)
    assert suggest_next_steps(shared) == [expected.replace("internal_", "")]


@pytest.mark.parametrize("difference", [-0.1, 0.0])
def test_a_student_that_learned_little_always_gets_a_step(difference):
    """Also where its teacher is not clearly better. With a usual rate, the rate comes before the length."""
    student = make_scores(0.52, above_constant={"difference": 0.02, "standard_error": 0.03, "different": 9})
    for collapsed in (False, True):
        scores = score_splits(teacher=make_scores(0.9), student={**student, "collapsed": collapsed})
        differences = {"validation": {"difference": difference, "standard_error": 0.02, "different": 9}}
        assert suggest_next_steps(make_record(scores=scores, differences=differences)) == [
            f"The student learned too little in 6 steps. Try {OTHER}, or train longer with "
            "schedule.classification_epochs=2."
        ]


def test_a_baseline_above_the_teacher_asks_for_a_better_teacher_first():
    recipe = {"teacher": {"base": "base", "epochs": 1, "trainer": {"learning_rate": 1e-3}}}
    teacher, student = make_scores(0.7), make_scores(0.6)
    record = below(recipe, stages=LEVEL, scores=score_splits(teacher=teacher, student=student))
    better = make_record(scores=score_splits(teacher=teacher, student=make_scores(0.8)))
    assert suggest_next_steps(record, better) == [
        "Get a better teacher first: it scores 0.700, and the baseline, trained on labels without distillation, 0.800. "
        "Lower teacher.trainer.learning_rate: it is 0.001, and 2e-5 to 1e-4 are usual."
    ]
    as_good = make_record(scores=score_splits(teacher=teacher, student=make_scores(0.71)))
    assert not any("better teacher" in sentence for sentence in suggest_next_steps(record, as_good))
    given = record.model_copy(update={"recipe": make_record({"teacher": {"path": "mine"}}).recipe})
    assert "Check that mine was fine-tuned for this task" in suggest_next_steps(given, better)[0]


def test_a_fine_tuned_teacher_that_learned_nothing_gets_a_step():
    alone = score_splits(student=make_scores(0.5, collapsed=True))
    recipe = {"teacher": {"base": "base", "epochs": 2}}
    record = make_record(recipe, teacher=None, scores=alone)
    assert suggest_next_steps(record) == [
        "Try another teacher.trainer.learning_rate (now 5e-5; 2e-5 to 1e-4 are usual), more teacher.epochs (now 2), or "
        "more training examples (now 200)."
    ]
    assert suggest_next_steps(make_record(recipe, teacher=None, scores=score_splits(student=make_scores(0.9)))) == []


def test_a_student_of_a_weak_teacher_gets_none():
    """The warning of the teacher has its own advice. Of one that predicts one class, only the headline tells."""
    weak = score_splits(teacher=make_scores(0.5), student=make_scores(0.4))
    assert suggest_next_steps(below(scores=weak)) == []
    collapsed = score_splits(teacher=make_scores(0.5, collapsed=True), student=make_scores(0.5, collapsed=True))
    assert suggest_next_steps(below({"teacher": {"path": "mine"}}, scores=collapsed)) == [
        "Check that mine was fine-tuned for this task, with these labels and text columns."
    ]


def test_a_student_that_fits_the_training_texts_needs_more_of_them():
    agreement = {"equal_predictions": 0.9}
    fits = below(stages=LEVEL, agreement={"validation": agreement, "train": {"equal_predictions": 0.99}})
    first, last = suggest_next_steps(fits)
    assert "The student agrees with the teacher more on train (0.990) than on validation (0.900)" in first
    assert last.startswith(f"If that is not enough, try {OTHER}, and then one layer more")
    same = below(stages=LEVEL, agreement={"validation": agreement, "train": agreement})
    assert not any("train (" in sentence for sentence in suggest_next_steps(same))
