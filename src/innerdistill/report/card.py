"""The model card: README.md of a model folder, with metadata for the Hugging Face Hub and the measured scores."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import show_metric
from innerdistill.problem_types.problem_types import list_file_numbers, show_agreement
from innerdistill.report.formatting import TEMPLATES, describe_search, escape_markdown, format_share, list_metrics
from innerdistill.report.headline import summarize_run
from innerdistill.report.record import RunRecord
from innerdistill.support.files import open_whole_file

CARD = "README.md"
SPLIT = "validation"
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
HUB_METRICS = {"macro_f1": "f1", "mcc": "matthews_correlation", "pearson": "pearsonr", "spearman": "spearmanr"}


def build_card(record: RunRecord) -> ModelCard:
    """Build the model card of a run.

    Args:
        record: what happened and what came out.

    Returns:
        Metadata (`data`) and Markdown (`text`); `str` has both.
    """
    scores, title = record.scores[SPLIT], record.recipe.data.task or record.problem_type.wording.title
    return ModelCard.from_template(
        _build_metadata(record),
        template_path=str(TEMPLATES / "card.md.j2"),
        record=record,
        title=escape_markdown(f"{_get_name(record)}: {title}"),
        wording=record.problem_type.wording,
        student=scores.student,
        teacher=scores.teacher,
        agreement=record.agreement.get(SPLIT),
        page_parts=record.page_parts,
        summary=" ".join(summarize_run(record)),
        metrics=list_metrics(scores.student),
        search=describe_search(record),
        file_numbers={} if record.onnx is None else list_file_numbers(record.onnx.files["int8"].agreement),
        reads_pairs=record.problem_type.examples.count_together(len(resolve_task(record.recipe.data).text)) == 2,
        format_share=format_share,
        show_agreement=show_agreement,
        show_metric=show_metric,
        escape=escape_markdown,
    )


def write_card(folder: Path, record: RunRecord) -> None:
    """Write the model card into the model folder of a run.

    Args:
        folder: folder of the run.
        record: what happened and what came out.
    """
    with open_whole_file(folder / "model" / CARD) as path:
        path.write_text(str(build_card(record)), encoding="utf-8")


def read_origin(model: str) -> tuple[str | None, str | None]:
    """Find out what a model card can say of the model that a student's weights come from. Nothing is downloaded.

    Args:
        model: folder, or name on the Hugging Face Hub.

    Returns:
        Name on the Hub: of the model itself, or the `base_model` that the card in its folder states. License that this
        card states. None for what is not known.
    """
    if not Path(model).exists():
        return (model if HUB_NAME.fullmatch(model) else None), None
    try:
        stated = ModelCard.load(Path(model, CARD)).data
    except Exception:  # noqa: BLE001 - of a card by others, which may be missing or no card at all
        return None, None
    base_model, license_name = stated.get("base_model"), stated.get("license")
    return (
        base_model if isinstance(base_model, str) else None,
        license_name if isinstance(license_name, str) else None,
    )


def _build_metadata(record: RunRecord) -> ModelCardData:
    tags = ["innerdistill"]
    if record.teacher is not None:
        tags.insert(0, "knowledge-distillation")
    if record.onnx is not None:
        tags.append("onnx")
    return ModelCardData(
        base_model=record.student.base_model,
        license=record.student.license,
        library_name=record.problem_type.wording.library,
        pipeline_tag=record.problem_type.wording.pipeline_tag,
        tags=tags,
        model_name=_get_name(record),
        eval_results=None if record.is_against_teacher else _list_results(record),  # a benchmark's results need labels
    )


def _list_results(record: RunRecord) -> list[EvalResult]:
    data = record.recipe.data
    return [
        EvalResult(
            task_type=record.problem_type.wording.pipeline_tag,
            dataset_type=data.task or "custom",
            dataset_name=data.task or "own data",
            dataset_split=SPLIT,
            metric_type=HUB_METRICS.get(name, name),
            metric_name=name,
            metric_value=value,
        )
        for name, value in record.scores[SPLIT].student.values.items()
    ]


def _get_name(record: RunRecord) -> str:
    return Path(record.recipe.output).name
