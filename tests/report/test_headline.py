"""What a page, a card and the terminal begin with: true, and what is wrong first."""

import pytest
from records import SPEED, make_record, make_scores

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
        "Nothing can be concluded from this run: the teacher predicts the same for every example (a constant answer "
        "scores 0.500)."
    ]
    student = record(teacher=(0.9, {}), student=(0.5, {"collapsed": True}))
    assert summarize_run(student)[0] == "The student predicts the same for every example. Its training failed."
    guessing = record(teacher=(0.9, {}), student=(0.52, {}))
    assert "not clearly better than a constant answer (0.520 against 0.500)" in summarize_run(guessing)[0]
    losing = record(teacher=(0.9, {}), student=(0.3, {}))
    assert summarize_run(losing)[0] == "The student is worse than a constant answer (0.300 against 0.500)."


STEADY, BUSY = {"p20": 1.5, "p50": 2.0, "p80": 3.0}, {"p20": 218.9, "p50": 779.0, "p80": 932.9}


def make_onnx(of_model, of_int8):
    """ONNX files with the latencies of the model in PyTorch and of the int8 file."""
    scores = {"accuracy": 0.8}
    files = {"model": ("model.safetensors", 70_000_000, of_model), "int8": ("onnx/q.onnx", 18_000_000, of_int8)}
    entries = {}
    for name, (file, size, latency) in {**files, "float32": files["model"]}.items():
        entries[name] = {"file": file, "file_bytes": size, "latency_ms": latency, "scores": scores}
        entries[name] |= {"largest_difference": 0.1, "equal_predictions": 1.0}
    about = {"rows": 100, "batch_size": 1, "length": 12, "threads": 1, "machine": "CPU", "onnxruntime": "1"}
    return {**about, "metric": "accuracy", "files": entries}


@pytest.mark.parametrize("busy", ["teacher", "student", "int8", None])
def test_a_speed_is_claimed_only_where_the_latencies_are_steady(busy):
    """On a busy machine, one of two models was 395 times as fast by the medians."""
    times = {name: BUSY if name == busy else STEADY for name in ("teacher", "student", "int8")}
    speed = {name: {**SPEED, "latency_ms": times[name]} for name in ("teacher", "student")}
    run = make_record({"output": "runs/one"}, speed=speed, onnx=make_onnx(times["student"], times["int8"]))
    text = " ".join(summarize_run(run))
    assert ("of the teacher's parameters and is 1.0 times as fast" in text) == (busy in ("int8", None))
    assert ("It is 1.0 times as fast as in PyTorch on the CPU." in text) == (busy in ("teacher", None))
    advice = "To time again on an idle machine: innerdistill export runs/one"
    for shown in (text, str(build_card(run))):
        assert ("varied by more than a factor of two" in shown and advice in shown) == (busy is not None)
    assert "18 instead of 70 MB and scores 0.800." in text
    without_files = " ".join(summarize_run(run.model_copy(update={"onnx": None})))
    assert ("innerdistill speed runs/one" in without_files) == (busy in ("teacher", "student"))


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
