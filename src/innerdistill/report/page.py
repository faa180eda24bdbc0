"""report.html of a run: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from sklearn.metrics import confusion_matrix

from innerdistill.evaluation.metrics import show_metric
from innerdistill.evaluation.similarities import compare_pairs
from innerdistill.problem_types.problem_types import list_file_numbers, show_agreement
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.explorer import build_explorer, read_examples
from innerdistill.report.figures import BASELINE, draw_attention_maps, draw_learning_curve, draw_similarities
from innerdistill.report.formatting import (
    describe_groups,
    describe_search,
    format_share,
    list_metrics,
    load_page_template,
)
from innerdistill.report.headline import compare_with_baseline, compute_speedup, list_problems, summarize_run
from innerdistill.report.layer_distances import format_distance, list_constant_layers, list_kinds
from innerdistill.report.next_steps import suggest_next_steps
from innerdistill.report.record import RunRecord, Scores
from innerdistill.report.run_folder import (
    BASELINE_FOLDER,
    MODEL,
    PREDICTIONS,
    REPORT,
    RUN,
    read_predictions,
    read_record,
)
from innerdistill.report.speed_record import Latency, ModelSpeed
from innerdistill.support.files import open_whole_file

UNTRAINED = "before training"  # name of the untrained student in tables
MAX_CLASSES = 20  # a larger confusion matrix cannot be read on a page


@dataclass(frozen=True)
class ModelRow:
    """A model in the tables of the page.

    Attributes:
        name: `teacher`, `student`, `before training` or `baseline`; `model` in a fine-tuning.
        layers: number of layers; None for a teacher whose outputs were given.
        scores: scores on the validation split.
        speed: its size; None for such a teacher, and for a student before training.
        latency: percentiles in milliseconds; None where it was not timed in turns with the others.
        agreement: numbers on the agreement with the teacher; None for the teacher, and without one.
    """

    name: str
    layers: int | None
    scores: Scores
    speed: ModelSpeed | None
    latency: Latency | None
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
        show_metric=show_metric,
        facts=_list_facts(record),
        file_numbers={} if record.onnx is None else list_file_numbers(record.onnx.files["int8"].agreement),
        groups=describe_groups(record) or describe_search(record),
        model_path=(folder / MODEL).as_posix() if (folder / MODEL).is_dir() else None,
        confusions=_count_confusions(folder, record),
        similarities=Markup(_draw_similarities(folder, record)),  # noqa: S704 - drawn by matplotlib, which escapes texts
        # The same model is shown at two speeds only where they are of two machines, such as GPU and CPU.
        shows_onnx_latency=record.onnx and (record.times_onnx_with_models or record.onnx.machine != record.machine),
        format_share=format_share,
        compute_speedup=compute_speedup,
        format_distance=format_distance,
        list_kinds=list_kinds,
        constant_layers=list_constant_layers(record),
        problem_type=record.problem_type,
        show_agreement=show_agreement,
        answer=" ".join(summarize_run(record, baseline, above_baseline=above_baseline)),
        has_problems=bool(list_problems(record)),
        next_steps=suggest_next_steps(record, baseline),
        curve=Markup(curve),  # noqa: S704 - drawn by matplotlib, which escapes texts
        **_show_examples(folder, has_baseline=has_baseline),
        recipe=write_yaml(record.recipe.model_dump(mode="json", exclude={"overwrite"})),
    )
    path = folder / REPORT
    with open_whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _list_models(record: RunRecord, baseline: RunRecord | None) -> list[ModelRow]:
    scores, speed, rows = record.scores["validation"], record.speed, []
    if record.teacher is not None and scores.teacher is not None:
        latency = None if speed.teacher is None else speed.teacher.latency_ms
        rows.append(ModelRow("teacher", record.teacher.layers, scores.teacher, speed.teacher, latency, None))
    name, agreement = "student" if record.teacher else "teacher", record.agreement.get("validation")
    latency = speed.student.latency_ms
    rows.append(ModelRow(name, record.student.layers, scores.student, speed.student, latency, agreement))
    if scores.untrained is not None:
        before = (record.untrained_agreement or {}).get("validation")
        rows.append(ModelRow(UNTRAINED, record.student.layers, scores.untrained, None, None, before))
    if baseline is not None:
        # Its own record has the time of another measurement.
        timed = None if speed.baseline is None else speed.baseline.latency_ms
        own, agreement = baseline.scores["validation"].student, baseline.agreement.get("validation")
        rows.append(ModelRow("baseline", baseline.student.layers, own, baseline.speed.student, timed, agreement))
    return rows


def _list_facts(record: RunRecord) -> list[str]:
    """When the run ended and how long it took; empty for the record of an older run."""
    facts = []
    if record.finished is not None:
        facts.append(f"finished {datetime.fromisoformat(record.finished):%d %B %Y, %H:%M} UTC".replace(" 0", " "))
    if record.seconds is not None:
        minutes, seconds = divmod(round(record.seconds), 60)
        facts.append(f"total time {minutes} min {seconds} s" if minutes else f"total time {seconds} s")
    return facts


def _count_confusions(folder: Path, record: RunRecord) -> dict[str, list[list[int]]]:
    """Confusion matrices on validation by model; empty where no classes are predicted, or too many for a page."""
    names = list(record.scores["validation"].student.per_class or ())
    if record.problem_type.predictions.shape != "classes":  # a matrix has one class per example
        return {}
    if not 0 < len(names) <= MAX_CLASSES:
        return {}
    columns, predictions = read_predictions(folder / PREDICTIONS, "validation"), record.problem_type.predictions
    known = predictions.has_label(columns["label"])
    confusions = {}
    for model, name in (("teacher", "teacher"), ("student", "student" if record.teacher else "teacher")):
        if model in columns:
            predicted = predictions.predict(columns[model][known])
            counts = confusion_matrix(columns["label"][known], predicted, labels=range(len(names)))
            confusions[name] = counts.tolist()
    return confusions


def _draw_similarities(folder: Path, record: RunRecord) -> str:
    """Similarity of the pairs of validation by both models; empty where there are no pairs of embeddings."""
    if record.problem_type.predictions.shape != "embeddings" or not (folder / PREDICTIONS).is_file():
        return ""
    columns = read_predictions(folder / PREDICTIONS, "validation")
    if "teacher" not in columns or columns["teacher"].shape[1] == 1:
        return ""
    return draw_similarities({name: compare_pairs(columns[name]) for name in ("teacher", "student")})


def _draw_curve(record: RunRecord, baseline: RunRecord | None) -> str:
    selection = record.scores.get("selection")
    teacher = selection.teacher if selection is not None else None
    return draw_learning_curve(
        record.stages,
        metric=record.get_metric("selection"),
        teacher=None if teacher is None or teacher.is_agreement else teacher.primary,
        baseline=baseline.stages if baseline else (),
    )


def _show_examples(folder: Path, *, has_baseline: bool) -> dict[str, Any]:
    """Figure, explorer and disagreements, for the template; empty where the run has no teacher."""
    examples = read_examples(folder)
    if examples is None or not examples["attention"]:  # given outputs have no attention
        furthest = [] if examples is None else examples["disagreements"]
        return {"maps": "", "explorer": None, "disagreements": furthest}
    students = {"student": examples["attention"]}
    of_baseline = read_examples(folder / BASELINE_FOLDER) if has_baseline else None
    if of_baseline is not None:
        students["baseline"] = of_baseline["attention"]
    layers = {title: attention[0]["layers"] for title, attention in students.items()}
    maps = draw_attention_maps(examples["attention"][0], layers, colours={"baseline": BASELINE})
    return {
        "maps": Markup(maps),  # noqa: S704 - drawn by matplotlib, which escapes texts
        "explorer": build_explorer(students),
        "disagreements": examples["disagreements"],
    }
