"""report.html: one self-contained file that says what was kept, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from innerdistill.evaluation.intervals import error_of_difference
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.scoring import headline
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.card import kept, metric_names, page_template
from innerdistill.report.explorer import explorer_data, read_examples
from innerdistill.report.figures import attention_maps, learning_curve
from innerdistill.report.run_folder import PREDICTIONS, get_problem_type, get_scoring, read_predictions, read_run
from innerdistill.support.files import open_whole_file


def write_report(folder: str | Path) -> Path:
    """Write report.html into a run folder, from the files in it.

    Args:
        folder: of a finished run; if it holds a `baseline/` run, that one is shown beside.

    Returns:
        Path of the report.

    Raises:
        ValueError: no finished run there.
    """
    folder = Path(folder)
    record = read_run(folder)
    has_baseline = (folder / "baseline" / "run.json").is_file()
    baseline = read_run(folder / "baseline") if has_baseline else None
    page = page_template("report.html.j2").render(
        record=record,
        title=Path(record["recipe"]["output"]).name,
        baseline=baseline,
        models=_models(record, baseline),
        metrics=metric_names(record["scores"]["validation"]["student"]),
        kept=kept,
        problem_type=get_problem_type(record),
        answer=_answer(folder, record, baseline),
        curve=Markup(_curve(record, baseline)),  # noqa: S704 - made by matplotlib, which escapes texts
        **_examples(folder, baseline is not None),
        recipe=write_yaml(record["recipe"]),
    )
    path = folder / "report.html"
    with open_whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _models(record: dict[str, Any], baseline: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of the score table."""
    scores = record["scores"]["validation"]
    rows = []
    if "teacher" in scores:
        rows.append({"name": "teacher", "layers": record["teacher"]["layers"], "scores": scores["teacher"],
                     "speed": record["speed"]["teacher"], "agreement": None})  # fmt: skip
    name = "distilled student" if record["teacher"] else "this model"
    for title, run in ((name, record), ("plainly fine-tuned student", baseline)):
        if run is not None:
            rows.append({"name": title, "layers": run["student"]["layers"], "speed": run["speed"]["student"],
                         "scores": run["scores"]["validation"]["student"],
                         "agreement": run["agreement"].get("validation")})  # fmt: skip
    return rows


def _answer(folder: Path, record: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    """The report in a sentence or two."""
    scores, metric = record["scores"]["validation"], record["data"]["metric"]
    student = scores["student"][metric]
    if "teacher" not in scores:
        return f"The {record['student']['layers']}-layer model scores {student:.3f} {metric} on the validation split."
    teacher, speed = scores["teacher"][metric], record["speed"]
    weights = speed["student"]["parameters"] / speed["teacher"]["parameters"]
    text = (
        f"The {record['student']['layers']}-layer student keeps {kept(student, teacher)} of its "
        f"{record['teacher']['layers']}-layer teacher's {metric} ({student:.3f} against {teacher:.3f}) with "
        f"{100 * weights:.0f} % of its parameters, and answers {_times_as_fast(speed['teacher'], speed['student'])}."
    )
    if baseline is not None:
        plain = baseline["scores"]["validation"]["student"][metric]
        error = _error_of_difference(folder, get_scoring(record))
        verdict = "no more" if abs(student - plain) <= 2 * error else "more"
        difference = (
            f"a difference of {student - plain:+.3f} in one run each, {verdict} than twice its standard error over the "
            f"validation rows ({error:.3f})"
        )
        if student == plain and error == 0:
            difference = "no difference, on whatever validation rows"
        text += f" The same student fine-tuned plainly for as many steps scores {plain:.3f}: {difference}."
    if "onnx" in record:
        model, rounded = (record["onnx"]["files"][name] for name in ("model", "int8"))
        small, large = (file["file_bytes"] / 1e6 for file in (rounded, model))
        text += (
            f" As an ONNX file of 8 bits the {'distilled student' if baseline else 'student'} takes {small:.0f} "
            f"instead of {large:.0f} MB, answers {_times_as_fast(model, rounded)} as in torch on the processor and "
            f"scores {rounded['scores'][metric]:.3f}."
        )
    return text


def _times_as_fast(slow: Mapping[str, Any], fast: Mapping[str, Any]) -> str:
    return f"{slow['latency_ms']['p50'] / fast['latency_ms']['p50']:.1f} times as fast"


def _error_of_difference(folder: Path, scoring: Scoring) -> float:
    """Standard error over examples of the student's score less the plainly fine-tuned one's."""
    students = [read_predictions(run / PREDICTIONS, "validation") for run in (folder, folder / "baseline")]
    return error_of_difference(students[0]["label"], *(columns["student"] for columns in students), scoring=scoring)


def _curve(record: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    teacher = record["scores"].get("selection", {}).get("teacher")
    metric = record["data"]["metric"]
    return learning_curve(
        record["stages"],
        metric=metric,
        teacher=headline(teacher)[metric] if teacher else None,
        baseline=baseline["stages"] if baseline else (),
    )


def _examples(folder: Path, has_baseline: bool) -> dict[str, Any]:
    """Figure, explorer and disagreements, for the template; empty where the run has no teacher."""
    examples = read_examples(folder)
    if examples is None or not examples["attention"]:
        return {"maps": "", "explorer": None, "disagreements": []}
    students = {"distilled": examples["attention"]}
    other = read_examples(folder / "baseline") if has_baseline else None
    if other is not None:
        students["fine-tuned"] = other["attention"]
    layers = {title: found[0]["layers"] for title, found in students.items()}
    return {
        "maps": Markup(attention_maps(examples["attention"][0], layers)),  # noqa: S704 - made by matplotlib
        "explorer": explorer_data(students),
        "disagreements": examples["disagreements"],
    }
