"""report.html of a run: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from innerdistill.evaluation.intervals import estimate_error_of_difference
from innerdistill.problem_types.problem_types import show_agreement
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.explorer import build_explorer, read_examples
from innerdistill.report.figures import draw_attention_maps, draw_learning_curve
from innerdistill.report.formatting import format_share, list_metrics, load_page_template
from innerdistill.report.record import Latency, ModelSpeed, RunRecord, Scores
from innerdistill.report.run_folder import BASELINE_FOLDER, PREDICTIONS, REPORT, RUN, read_predictions, read_record
from innerdistill.support.files import open_whole_file


@dataclass(frozen=True)
class ModelRow:
    """A model in the tables of the page.

    Attributes:
        name: how the page calls it.
        layers: number of layers.
        scores: scores on the validation split.
        speed: size and latency.
        agreement: numbers on the agreement with the teacher; None for the teacher, and without one.
    """

    name: str
    layers: int
    scores: Scores
    speed: ModelSpeed
    agreement: Mapping[str, float] | None


def write_report(folder: str | Path) -> Path:
    """Write report.html into a run folder, from the files in it.

    Args:
        folder: folder of a finished run; if it holds a `baseline/` run, the page compares the two.

    Returns:
        Path of the report.

    Raises:
        ValueError: no finished run there.
    """
    folder = Path(folder)
    record = read_record(folder)
    has_baseline = (folder / BASELINE_FOLDER / RUN).is_file()
    baseline = read_record(folder / BASELINE_FOLDER) if has_baseline else None
    curve = _draw_curve(record, baseline)
    page = load_page_template("report.html.j2").render(
        record=record,
        title=Path(record.recipe.output).name,
        baseline=baseline,
        models=_list_models(record, baseline),
        metrics=list_metrics(record.scores["validation"].student),
        format_share=format_share,
        problem_type=record.problem_type,
        show_agreement=show_agreement,
        answer=_write_answer(folder, record, baseline),
        curve=Markup(curve),  # noqa: S704 - drawn by matplotlib, which escapes texts
        **_show_examples(folder, has_baseline=has_baseline),
        recipe=write_yaml(record.recipe.model_dump(mode="json")),
    )
    path = folder / REPORT
    with open_whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _list_models(record: RunRecord, baseline: RunRecord | None) -> list[ModelRow]:
    scores, rows = record.scores["validation"], []
    if record.teacher is not None:
        assert scores.teacher is not None
        assert record.speed.teacher is not None
        rows.append(ModelRow("teacher", record.teacher.layers, scores.teacher, record.speed.teacher, None))
    name = "distilled student" if record.teacher else "this model"
    for title, run in ((name, record), ("plainly fine-tuned student", baseline)):
        if run is not None:
            student = run.scores["validation"].student
            agreement = run.agreement.get("validation")
            rows.append(ModelRow(title, run.student.layers, student, run.speed.student, agreement))
    return rows


def _write_answer(folder: Path, record: RunRecord, baseline: RunRecord | None) -> str:
    """The report in a sentence or two."""
    scores, speed, metric = record.scores["validation"], record.speed, record.data.metric
    student = scores.student.primary
    if record.teacher is None:
        return f"The {record.student.layers}-layer model scores {student:.3f} {metric} on the validation split."
    assert scores.teacher is not None
    assert speed.teacher is not None
    teacher = scores.teacher.primary
    weights = speed.student.parameters / speed.teacher.parameters
    text = (
        f"The {record.student.layers}-layer student keeps {format_share(student, teacher)} of its "
        f"{record.teacher.layers}-layer teacher's {metric} ({student:.3f} against {teacher:.3f}) with "
        f"{100 * weights:.0f} % of its parameters, and answers "
        f"{_compare_latency(speed.teacher.latency_ms, speed.student.latency_ms)}."
    )
    if baseline is not None:
        plain = baseline.scores["validation"].student.primary
        error = _compute_error_of_difference(folder, record)
        verdict = "no more" if abs(student - plain) <= 2 * error else "more"
        difference = (
            f"a difference of {student - plain:+.3f} in one run each, {verdict} than twice its standard error over the "
            f"validation rows ({error:.3f})"
        )
        if student == plain and error == 0:
            difference = "no difference, on whatever validation rows"
        text += f" The same student fine-tuned plainly for as many steps scores {plain:.3f}: {difference}."
    if record.onnx is not None:
        model, rounded = record.onnx.files["model"], record.onnx.files["int8"]
        assert rounded.scores is not None
        text += (
            f" As an ONNX file of 8 bits the {'distilled student' if baseline else 'student'} takes "
            f"{rounded.file_bytes / 1e6:.0f} instead of {model.file_bytes / 1e6:.0f} MB, answers "
            f"{_compare_latency(model.latency_ms, rounded.latency_ms)} as in torch on the processor and "
            f"scores {rounded.scores[metric]:.3f}."
        )
    return text


def _compare_latency(slow: Latency, fast: Latency) -> str:
    return f"{slow.p50 / fast.p50:.1f} times as fast"


def _compute_error_of_difference(folder: Path, record: RunRecord) -> float:
    """Standard error over examples of the student's score less the baseline's."""
    student, baseline = (
        read_predictions(run / PREDICTIONS, "validation") for run in (folder, folder / BASELINE_FOLDER)
    )
    return estimate_error_of_difference(
        student["label"], student["student"], baseline["student"], scoring=record.data.scoring
    )


def _draw_curve(record: RunRecord, baseline: RunRecord | None) -> str:
    selection = record.scores.get("selection")
    teacher = selection.teacher if selection is not None else None
    return draw_learning_curve(
        record.stages,
        metric=record.data.metric,
        teacher=None if teacher is None else teacher.values[record.data.metric],
        baseline=baseline.stages if baseline else (),
    )


def _show_examples(folder: Path, *, has_baseline: bool) -> dict[str, Any]:
    """Figure, explorer and disagreements, for the template; empty where the run has no teacher."""
    examples = read_examples(folder)
    if examples is None or not examples["attention"]:
        return {"maps": "", "explorer": None, "disagreements": []}
    students = {"distilled": examples["attention"]}
    of_baseline = read_examples(folder / BASELINE_FOLDER) if has_baseline else None
    if of_baseline is not None:
        students["fine-tuned"] = of_baseline["attention"]
    layers = {title: attention[0]["layers"] for title, attention in students.items()}
    maps = draw_attention_maps(examples["attention"][0], layers)
    return {
        "maps": Markup(maps),  # noqa: S704 - drawn by matplotlib, which escapes texts
        "explorer": build_explorer(students),
        "disagreements": examples["disagreements"],
    }
