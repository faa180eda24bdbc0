"""report.html: one self-contained file that says what was kept, for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from innerdistill.evaluation.evaluate import headline
from innerdistill.evaluation.metrics import bootstrap_scores
from innerdistill.results.card import TEMPLATES, kept, metric_names
from innerdistill.results.figures import attention_maps, learning_curve
from innerdistill.results.run_folder import read_predictions, read_run, whole_file


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        record=record,
        baseline=baseline,
        models=_models(record, baseline),
        metrics=metric_names(record["scores"]["validation"]["student"]),
        kept=kept,
        answer=_answer(folder, record, baseline),
        curve=Markup(_curve(record, baseline)),  # noqa: S704 - made by matplotlib, which escapes texts
        maps=Markup(_maps(folder, baseline is not None)),  # noqa: S704
        recipe=yaml.safe_dump(record["recipe"], sort_keys=False, allow_unicode=True),
    )
    path = folder / "report.html"
    with whole_file(path) as temporary:
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
    faster = speed["teacher"]["latency_ms"]["p50"] / speed["student"]["latency_ms"]["p50"]
    text = (
        f"The {record['student']['layers']}-layer student keeps {kept(student, teacher)} of its "
        f"{record['teacher']['layers']}-layer teacher's {metric} ({student:.3f} against {teacher:.3f}) with "
        f"{100 * weights:.0f} % of its parameters, and answers {faster:.1f} times as fast."
    )
    if baseline is not None:
        plain = baseline["scores"]["validation"]["student"][metric]
        error = _error_of_difference(folder, metric, record["data"]["names"])
        verdict = "less" if abs(student - plain) < 2 * error else "more"
        text += (
            f" The same student fine-tuned plainly for as many steps scores {plain:.3f}: a difference of "
            f"{student - plain:+.3f} in one run each, {verdict} than twice its standard error over the validation rows "
            f"({error:.3f})."
        )
    return text


def _error_of_difference(folder: Path, metric: str, names: list[str] | None) -> float:
    """Standard error over examples of the student's score less the plainly fine-tuned one's: both saw the same rows."""
    students = {
        name: read_predictions(run / "predictions.parquet", "validation")
        for name, run in (("student", folder), ("plain", folder / "baseline"))
    }
    logits = {name: columns["student"] for name, columns in students.items()}
    draws = bootstrap_scores(students["student"]["label"], logits, metric=metric, names=names)
    return float((draws["student"] - draws["plain"]).std(ddof=1))


def _curve(record: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    teacher = record["scores"].get("selection", {}).get("teacher")
    metric = record["data"]["metric"]
    return learning_curve(
        record["stages"],
        metric=metric,
        teacher=headline(teacher)[metric] if teacher else None,
        baseline=baseline["stages"] if baseline else (),
    )


def _maps(folder: Path, has_baseline: bool) -> str:
    path = folder / "attention_example.json"
    if not path.is_file():
        return ""
    example = json.loads(path.read_text(encoding="utf-8"))
    students = {"distilled": example["layers"]}
    if has_baseline:
        other = json.loads((folder / "baseline" / path.name).read_text(encoding="utf-8"))
        students["fine-tuned"] = other["layers"]
    return attention_maps(example, students)
