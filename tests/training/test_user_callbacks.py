"""Callbacks of the user: what they see, what they may ask for, and what happens when they fail."""

import json

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from innerdistill.data.batches import make_collator
from innerdistill.models.student import build_student
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage

INTERNAL = Stage("layer 1", {"cls_cosine": 1.0}, {1: 2}, epochs=2, is_internal=True)
LAST = Stage("classification", {"soft_labels": 1.0}, {}, epochs=6)


class Diary(TrainerCallback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.events.append(("begin", state.global_step, type(model).__name__))

    def on_step_end(self, args, state, control, **kwargs):
        self.events.append(("step", state.global_step))

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.events += [("loss", state.global_step)] if "loss" in logs else []

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.events.append(("scores", state.global_step, sorted(metrics)))

    def on_save(self, args, state, control, **kwargs):
        self.events.append(("save", state.global_step))

    def on_train_end(self, args, state, control, **kwargs):
        self.events.append(("end", state.global_step))


class At(TrainerCallback):
    """Does something after one step of one stage."""

    def __init__(self, step, action, stage="classification"):
        self.step, self.action, self.stage = step, action, stage

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step and state.max_steps == {"classification": 36, "layer 1": 12}[self.stage]:
            self.action(control)


class Failing(TrainerCallback):
    is_broken = True

    def on_step_end(self, args, state, control, **kwargs):
        if self.is_broken and state.global_step == 8:
            raise RuntimeError("no room")


class FailingFirst(TrainerCallback):
    def on_init_end(self, args, state, control, **kwargs):
        raise OSError("no network")


def fall(model, selection):
    """Scores that are best after the first epoch."""
    fall.value = getattr(fall, "value", 1.0) / 2
    return {"accuracy": fall.value}


@pytest.fixture
def run(make_model, tokenizer, tokenised, tmp_path):
    """Train a student; 6 steps are an epoch."""

    def run(*callbacks, stages=(INTERNAL, LAST), folder="run", score=fall, resume=False, minutes=5, **changes):
        teacher = make_model(seed=0)
        run.student = build_student(teacher, 2)
        vars(fall).pop("value", None)
        return distill_models(
            teacher,
            run.student,
            stages=stages,
            setup=TrainingSetup(
                train=tokenised,
                collate=make_collator(tokenizer),
                selection=tokenised if score else None,
                score=score,
                trainer={"use_cpu": True, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "logging_steps": 4},
                callbacks=callbacks,
                checkpoint_minutes=minutes,
                **changes,
            ),
            folder=tmp_path / folder,
            resume=resume,
        )

    return run


def weights(student):
    return {name: value.clone() for name, value in student.state_dict().items()}


def assert_same(first, second):
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_callbacks_see_every_event_of_every_stage_and_change_nothing(run):
    run()
    alone, diary = weights(run.student), Diary()
    run(diary, folder="watched", best=True)
    events = diary.events
    assert [event for event in events if event[0] in ("begin", "end")] == [
        ("begin", 0, "BertForSequenceClassification"), ("end", 12),
        ("begin", 0, "BertForSequenceClassification"), ("end", 36),
    ]  # fmt: skip
    steps = [step for name, step, *_ in events if name == "step"]
    assert steps == [*range(1, 13), *range(1, 37)]
    assert [step for name, step, *_ in events if name == "loss"] == [4, 8, 12, *range(4, 37, 4)]
    scored = [event[1:] for event in events if event[0] == "scores"]
    assert scored == [(step, ["epoch", "eval_accuracy"]) for step in (6, 12, 6, 12, 18, 24, 30, 36)]
    assert [step for name, step, *_ in events if name == "save"] == [6, 12, 18, 24, 30, 36]
    run(Diary(), folder="again")
    assert_same(alone, weights(run.student))


def stop(control):
    control.should_training_stop = True


def test_a_callback_ends_a_stage_and_the_next_one_begins(run):
    records = run(At(3, stop, stage="layer 1"))
    assert [record.steps for record in records] == [3, 36]
    assert [record.ended for record in records] == ["stopped by At after step 3", "epochs done"]
    assert [epoch["steps"] for epoch in records[0].epochs] == [3] and "scores" in records[0].epochs[0]


def test_early_stopping_ends_the_classification_stage_only(run):
    for best in (True, False):
        records = run(EarlyStoppingCallback(early_stopping_patience=2), folder=f"best {best}", best=best)
        assert [(record.steps, record.ended) for record in records] == [
            (12, "epochs done"),
            (18, "stopped by EarlyStoppingCallback after step 18"),  # its first epoch was the best
        ]


def test_early_stopping_without_a_score_to_compare_is_refused(run):
    patient = EarlyStoppingCallback(early_stopping_patience=2)
    with pytest.raises(ValueError, match="EarlyStoppingCallback is not supported without a selection split"):
        run(patient, score=None)
    with pytest.raises(
        ValueError, match="EarlyStoppingCallback is not supported in internal stages: they do not train"
    ):
        run(patient, stages=[INTERNAL])
    with pytest.raises(ValueError, match=r"metric: 'f1' is not among the scores of `score`, \['accuracy'\]"):
        run(patient, metric="f1")


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (Diary, "expected objects, got the class Diary"),
        (print, "expected objects of a transformers.TrainerCallback, got builtin_function_or_method"),
    ],
)
def test_what_is_no_callback_is_refused(run, callback, message):
    with pytest.raises(ValueError, match=message):
        run(callback)


def test_requests_that_are_not_supported(run):
    def end_epoch(control):
        control.should_epoch_stop = True

    def evaluate(control):
        control.should_evaluate = True

    with pytest.raises(ValueError, match="callback At: control.should_epoch_stop is not supported: a resumed run"):
        run(At(3, end_epoch))
    with pytest.raises(ValueError, match="callback At: control.should_evaluate is not supported without a selection"):
        run(At(3, evaluate), score=None)


def test_scores_and_checkpoints_on_request(run):
    """In the middle of an epoch, and after its last step, where they wait for its means."""

    def request(control):
        control.should_evaluate = control.should_save = True

    diary = Diary()
    records = run(At(8, request), At(12, request), diary, score=lambda *_: {"accuracy": 0.5})
    classification = diary.events[diary.events.index(("end", 12)) :]
    assert [event[1] for event in classification if event[0] == "scores"] == [6, 8, 12, 18, 24, 30, 36]
    assert [event[1] for event in classification if event[0] == "save"] == [8, 12]
    assert all("scores" in epoch for epoch in records[1].epochs)


def test_a_failing_callback_is_one_sentence_and_the_run_resumes(run, monkeypatch):
    run(stages=[LAST], folder="whole")
    whole = weights(run.student)
    with pytest.raises(ValueError, match="callback Failing: its on_step_end failed in stage 'classification', step 8, "
                       "with RuntimeError: no room. With the same callback the run resumes") as raised:  # fmt: skip
        run(Failing(), stages=[LAST], minutes=0, resume=True)
    assert isinstance(raised.value.__cause__, RuntimeError)
    student = run.student
    assert all(weight.requires_grad for weight in student.parameters())
    assert not student.get_input_embeddings().sparse and not hasattr(student, "_is_accelerate_prepared")
    monkeypatch.setattr(Failing, "is_broken", False)
    steps = Diary()
    with pytest.raises(ValueError, match=r"differs in callbacks \(\S+Failing \w+, now \S+Failing .*Diary"):
        run(Failing(), steps, stages=[LAST], minutes=0, resume=True)
    with pytest.raises(ValueError, match=r"differs in callbacks \(\S+Failing \w+, now none\)"):
        run(stages=[LAST], minutes=0, resume=True)
    taken = []
    monkeypatch.setattr(Failing, "on_step_begin", lambda *_, **__: taken.append(1))
    run(Failing(), stages=[LAST], minutes=0, resume=True)
    assert len(taken) == 36 - 7
    assert_same(whole, weights(run.student))


def test_a_failure_in_the_first_event_leaves_the_student_trainable(run):
    with pytest.raises(ValueError, match="callback FailingFirst: its on_init_end failed in stage 'layer 1', step 0"):
        run(FailingFirst())
    assert all(weight.requires_grad for weight in run.student.parameters())


def test_ctrl_c_in_a_callback_is_no_failure(run):
    def interrupt(_control):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(At(3, interrupt))


@pytest.mark.parametrize("best", [True, False])
def test_early_stopping_counts_on_after_a_resume(run, best):
    """Killed after the second epoch, when its patience of 2 is half used up."""

    def die(_control):
        if not resumed:
            raise KeyboardInterrupt

    resumed = []
    patient = {"early_stopping_patience": 2}
    values = iter([0.9, 0.8])
    with pytest.raises(KeyboardInterrupt):
        run(EarlyStoppingCallback(**patient), At(14, die), stages=[LAST], best=best, minutes=0, resume=True,
            score=lambda *_: {"accuracy": next(values)})  # fmt: skip
    resumed.append(True)
    records = run(EarlyStoppingCallback(**patient), At(14, die), stages=[LAST], best=best, minutes=0, resume=True,
                  score=lambda *_: {"accuracy": 0.7})  # fmt: skip
    assert records[0].steps == 18 and "EarlyStoppingCallback" in records[0].ended
    with pytest.raises(ValueError, match=r"early_stopping_patience=3"):
        run(EarlyStoppingCallback(early_stopping_patience=3), At(14, die), stages=[LAST], best=best, resume=True)


def test_a_stage_that_was_stopped_and_saved_is_not_resumed(run, tmp_path):
    def save_and_stop(control):
        control.should_save = control.should_training_stop = True

    class Dying(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            if Dying.is_fatal:
                raise KeyboardInterrupt

    Dying.is_fatal = True
    with pytest.raises(KeyboardInterrupt):
        run(At(9, save_and_stop), Dying(), stages=[LAST], resume=True)
    stopped, Dying.is_fatal = weights(run.student), False
    assert json.loads((tmp_path / "run/checkpoints/01/checkpoint-9/progress.json").read_text())["records"]
    records = run(At(9, save_and_stop), Dying(), stages=[LAST], resume=True)
    assert records[0].steps == 9 and records[0].ended == "stopped by At after step 9"
    assert [epoch["steps"] for epoch in records[0].epochs] == [6, 9]
    assert_same(stopped, weights(run.student))
