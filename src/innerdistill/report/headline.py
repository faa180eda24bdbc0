"""The result of a run in a few sentences: what its page, its model card and the terminal begin with."""

from __future__ import annotations

from pathlib import Path

from innerdistill.evaluation.differences import PairedDifference, compare_logits
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import show_metric
from innerdistill.report.formatting import compute_share_above_constant, format_percent, format_share
from innerdistill.report.record import RunRecord, Scores
from innerdistill.report.run_folder import BASELINE_FOLDER, PREDICTIONS, read_predictions
from innerdistill.report.speed_record import Latency

SPLIT = "validation"


def summarize_run(
    record: RunRecord, baseline: RunRecord | None = None, *, above_baseline: PairedDifference | None = None
) -> list[str]:
    """Say what came out of a run. What makes its numbers worthless comes first, in place of the share kept.

    Where labels are missing, `record.data.labels` says so and stands before all this.

    Args:
        record: what happened and what came out.
        baseline: record of the student that was trained without distillation.
        above_baseline: score of the student less that of the baseline, from `compare_with_baseline`.

    Returns:
        Sentences.
    """
    scores, metric = record.scores[SPLIT], show_metric(record.data.metric)
    student = scores.student
    if record.teacher is None:
        return [
            f"The {record.student.layers}-layer teacher scores {student.primary:.3f} {metric} on {SPLIT}; "
            f"{_describe_constant(student)}.",
            *_list_problems_of_trained(student, "teacher"),
        ]
    if record.is_against_teacher:
        sentences = _describe_agreement(record)
    elif scores.teacher is None:  # outputs were given, but not for this split
        sentences = [
            f"The {record.student.layers}-layer student scores {student.primary:.3f} {metric} on {SPLIT}; "
            f"{_describe_constant(student)}."
        ]
    else:
        teacher = "teacher's outputs" if record.teacher.is_given else f"{record.teacher.layers}-layer teacher"
        sentences = [
            f"The {record.student.layers}-layer student scores {student.primary:.3f} {metric}, its {teacher} "
            f"{scores.teacher.primary:.3f}."
        ]
    if record.internal_teacher is not None:
        sentences.append(f"Its internal losses learned from {record.internal_teacher.path}, not from the teacher.")
    problems = list_problems(record)
    if problems:
        return problems + sentences
    if scores.teacher is not None and not record.is_against_teacher:
        above = format_percent(compute_share_above_constant(student.primary, scores.teacher))
        sentences.append(
            f"It keeps {format_share(student.primary, scores.teacher)} of the teacher's score, and {above} of what "
            f"lies above a constant answer ({scores.teacher.constant:.3f})."
        )
    sentences += _describe_size(record)
    if baseline is not None and above_baseline is not None:
        sentences.append(_describe_baseline(baseline, above_baseline))
    sentences += _describe_untrained(record)
    return sentences + _describe_int8(record) + _describe_busy_machine(record)


def _describe_agreement(record: RunRecord) -> list[str]:
    """What a student without labels has in common with its teacher."""
    student, wording = record.scores[SPLIT].student, record.problem_type.wording
    assert record.teacher is not None
    of_teacher = "" if record.teacher.is_given else f" of a {record.teacher.layers}-layer teacher"
    found = f"{student.primary:.3f} {show_metric(student.metric)} on {student.rows:,} {SPLIT} texts"
    distance = record.agreement[SPLIT]["output_distance"]
    return [
        f"The {record.student.layers}-layer student{of_teacher} has {found} "
        f"({wording.agreement}; standard error {student.standard_error:.3f}).",
        f"A constant answer has {student.constant:.3f}. Its outputs differ from the teacher's by {distance:.3g} "
        f"({wording.output_distance}).",
    ]


def list_problems(record: RunRecord) -> list[str]:
    """List what makes the scores of a run worthless: a teacher or a student no better than a constant answer.

    Args:
        record: what happened and what came out.

    Returns:
        Sentences; none where the student can be compared with its teacher.
    """
    scores = record.scores[SPLIT]
    if scores.teacher is not None and not scores.teacher.beats_constant:
        return [f"Nothing can be concluded from this run: {_describe_weak_teacher(scores.teacher)}."]
    return _list_problems_of_trained(scores.student, "student")


def compare_with_baseline(folder: Path, record: RunRecord) -> PairedDifference:
    """Compare the student of a run with its baseline, on the validation examples.

    Args:
        folder: folder of the run.
        record: its record.

    Returns:
        The student's score less the baseline's, with its standard error over examples.
    """
    student = read_predictions(folder / PREDICTIONS, SPLIT)
    baseline = read_predictions(folder / BASELINE_FOLDER / PREDICTIONS, SPLIT)
    scoring = record.data.scoring
    examples = LabelledExamples.from_columns(student, scoring=scoring)
    return compare_logits(examples, student["student"], baseline["student"], scoring=scoring)


def compute_speedup(slow: Latency, fast: Latency) -> float | None:
    """Compute how much faster one of two models is that were timed in turns.

    Args:
        slow: latency of the slower model.
        fast: latency of the faster one.

    Returns:
        Ratio of the medians; None where either latency varied too much for a ratio.
    """
    return slow.p50 / fast.p50 if slow.is_steady and fast.is_steady else None


def _describe_weak_teacher(teacher: Scores) -> str:
    if teacher.collapsed:
        return f"the teacher predicts the same for every example ({_describe_constant(teacher)})"
    if teacher.is_agreement:
        return f"the teacher hardly tells examples apart ({_describe_constant(teacher)})"
    word = "clearly less than" if _loses_to_constant(teacher) else "not clearly more than"
    return (
        f"the teacher scores {teacher.primary:.3f} {show_metric(teacher.metric)}, {word} a constant answer "
        f"({teacher.constant:.3f})"
    )


def _list_problems_of_trained(trained: Scores, name: str) -> list[str]:
    if trained.collapsed:
        return [f"The {name} predicts the same for every example. Its training failed."]
    if _loses_to_constant(trained):
        return [f"The {name} is worse than a constant answer ({_contrast_with_constant(trained)})."]
    if not trained.beats_constant:
        return [
            f"The {name} is not clearly better than a constant answer ({_contrast_with_constant(trained)}). "
            "It has learned little or nothing."
        ]
    return []


def _loses_to_constant(scores: Scores) -> bool:
    """Whether a constant answer is better by more than two standard errors; older runs do not say."""
    return scores.above_constant is not None and scores.above_constant.paired.is_clearly_negative


def _contrast_with_constant(scores: Scores) -> str:
    of_what = f" {show_metric(scores.metric)}" if scores.is_agreement else ""
    return f"{scores.primary:.3f} against {scores.constant:.3f}{of_what}"


def _describe_constant(scores: Scores) -> str:
    if scores.is_agreement:
        return f"a constant answer has {scores.constant:.3f} {show_metric(scores.metric)}"
    return f"a constant answer scores {scores.constant:.3f}"


def _describe_size(record: RunRecord) -> list[str]:
    speed = record.speed
    if speed.teacher is None:
        return []
    share = 100 * speed.student.parameters / speed.teacher.parameters
    speedup = compute_speedup(speed.teacher.latency_ms, speed.student.latency_ms)
    faster = "" if speedup is None else f" and is {speedup:.1f} times as fast"
    return [f"It has {share:.0f} % of the teacher's parameters{faster}."]


def _describe_baseline(baseline: RunRecord, above: PairedDifference) -> str:
    score = baseline.scores[SPLIT].student.primary
    text = f"The baseline, the same student trained without distillation for as many steps, scores {score:.3f}: "
    if above.different == 0:
        return text + "it gives the same answers."
    evidence = f"standard error over examples {above.standard_error:.3f}, one seed each"
    if above.is_clearly_positive or above.is_clearly_negative:
        word = "less" if above.is_clearly_positive else "more"
        return f"{text}{abs(above.difference):.3f} {word} ({evidence})."
    return f"{text}no clear difference ({above.difference:+.3f} for the student; {evidence})."


def _describe_untrained(record: RunRecord) -> list[str]:
    """What training has added to the layers that the student was built from."""
    untrained, above = record.scores[SPLIT].untrained, (record.above_untrained or {}).get(SPLIT)
    if untrained is None or above is None:
        return []
    paired, of_what = above.paired, f" {show_metric(untrained.metric)}"
    word = "no clear difference"
    if paired.is_clearly_positive or paired.is_clearly_negative:
        word = f"training {'added' if paired.is_clearly_positive else 'took away'} {abs(paired.difference):.3f}"
    return [
        f"Before training, its copied layers had {untrained.primary:.3f}{of_what}: {word} (standard error over "
        f"examples {paired.standard_error:.3f})."
    ]


def _describe_int8(record: RunRecord) -> list[str]:
    if record.onnx is None:
        return []
    model, int8 = record.onnx.files["model"], record.onnx.files["int8"]
    assert int8.scores is not None
    scores = f"shows {show_metric(record.data.metric)}:" if record.is_against_teacher else "scores"
    speedup = compute_speedup(model.latency_ms, int8.latency_ms)
    faster = "" if speedup is None else f". It is {speedup:.1f} times as fast as in PyTorch on the CPU"
    return [
        f"As an int8 ONNX file it takes {int8.file_bytes / 1e6:.0f} instead of {model.file_bytes / 1e6:.0f} MB and "
        f"{scores} {int8.scores[record.data.metric]:.3f}{faster}."
    ]


def _describe_busy_machine(record: RunRecord) -> list[str]:
    """Why a ratio of latencies is missing, and how to measure again."""
    latencies = [speed.latency_ms for speed in (record.speed.student, record.speed.teacher) if speed is not None]
    if record.onnx is not None:
        latencies += [record.onnx.files[name].latency_ms for name in ("model", "int8")]
    if record.speed.teacher is None or all(latency.is_steady for latency in latencies):
        return []
    verb = "speed" if record.onnx is None else "export"
    return [
        "Latencies varied by more than a factor of two, as when other work runs on the machine: no speed is claimed. "
        f"To time again on an idle machine: innerdistill {verb} {record.recipe.output}"
    ]
