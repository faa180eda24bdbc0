"""The ONNX files of a model in a table, as the terminal shows it."""

from __future__ import annotations

from innerdistill.evaluation.metrics import show_metric
from innerdistill.models.onnx_files import INT8
from innerdistill.problem_types.problem_types import list_file_numbers, show_agreement
from innerdistill.report.formatting import NOT_APPLICABLE, format_latency
from innerdistill.report.speed_record import OnnxFile, OnnxRecord


def build_file_table(record: OnnxRecord) -> tuple[list[str], list[list[str]]]:
    """Build the table of the files and the model that they were exported from.

    Args:
        record: sizes, latencies and scores, from `write_onnx`.

    Returns:
        Header and rows, of at most six cells: further numbers on the agreement stand in place of the spread of
        latencies.
    """
    further = list_file_numbers(record.files[INT8].agreement)
    names = [show_metric(record.metric), "agreement", *further.values()] if record.metric else ["logit error"]
    latency = ["latency"] if further else ["latency", "p20 to p80"]
    header = [f"batch {record.batch_size}, {record.length} tokens", "size", *names, *latency]
    rows = []
    for file in record.files.values():
        numbers = _format_numbers(file, record.metric, list(further))
        latencies = format_latency(file.latency_ms)[: len(latency)]
        rows.append([file.file, f"{file.file_bytes / 1e6:.0f} MB", *numbers, *latencies])
    return header, rows


def _format_numbers(file: OnnxFile, metric: str | None, further: list[str]) -> list[str]:
    if metric is None or file.scores is None:
        return [NOT_APPLICABLE if file.largest_difference is None else f"{file.largest_difference:.1g}"]
    numbers = [f"{file.agreement[name]:.3f}" if name in file.agreement else NOT_APPLICABLE for name in further]
    return [f"{file.scores[metric]:.4f}", show_agreement(file.agreement), *numbers]
