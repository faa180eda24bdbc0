"""report.html of a run: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from innerdistill.evaluation.metrics import show_metric
from innerdistill.problem_types.problem_types import show_agreement
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.explorer import build_explorer, read_examples
from innerdistill.report.figures import draw_attention_maps, draw_learning_curve
from innerdistill.report.formatting import format_share, list_metrics, load_page_template
from innerdistill.report.headline import compare_with_baseline, list_problems, summarize_run
from innerdistill.report.next_steps import suggest_next_steps
from innerdistill.report.record import ModelSpeed, RunRecord, Scores
from innerdistill.report.run_folder import BASELINE_FOLDER, REPORT, RUN, read_record
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
    above_baseline = compare_with_baseline(folder, record) if has_baseline else None
    curve = _draw_curve(record, baseline)
    page = load_page_template("report.html.j2").render(
        record=record,
        title=Path(record.recipe.output).name,
        baseline=baseline,
        models=_list_models(record, baseline),
        metrics=list_metrics(record.scores["validation"].student),
        format_share=format_share,
        show_metric=show_metric,
        problem_type=record.problem_type,
        show_agreement=show_agreement,
        answer=" ".join(summarize_run(record, baseline, above_baseline=above_baseline)),
        has_problems=bool(list_problems(record)),
        next_steps=suggest_next_steps(record),
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
