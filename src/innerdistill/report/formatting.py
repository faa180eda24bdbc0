"""Numbers, names and texts as pages, cards, tables and the terminal show them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import jinja2

from innerdistill.evaluation.metrics import METRICS
from innerdistill.report.record import RunRecord, Scores
from innerdistill.report.speed_record import Latency
from innerdistill.support.messages import format_count

TEMPLATES = Path(__file__).parent / "templates"
NOT_APPLICABLE = "–"
CONSTANT_ANSWER = "constant answer"  # its row in every table


def list_metrics(scores: Scores) -> list[str]:
    """List the metrics of which higher is better: only of these can a share of the teacher's score be given.

    With more than two classes `f1` is macro F1, so only one of the two is listed.

    Args:
        scores: scores of one model.

    Returns:
        Names, the primary metric first.
    """
    built_in = [name for name, metric in METRICS.built_in.items() if not metric.higher_is_better]
    left_out = set(scores.lower_is_better or built_in)
    if "f1" in scores.values and len(scores.per_class or ()) > 2:
        left_out.add("macro_f1" if scores.metric == "f1" else "f1")
    names = [name for name in scores.values if name not in left_out]
    return sorted(names, key=lambda name: name != scores.metric)


def describe_groups(record: RunRecord, split: str = "validation") -> str:
    """Say which examples of a run belong together, and that every standard error and interval counts them as one.

    Args:
        record: record of the run.
        split: name of the split.

    Returns:
        A sentence; empty without `data.group`.
    """
    if record.data.groups is None or split not in record.data.groups:
        return ""
    counts = f"{record.data.rows[split]:,} examples, {record.data.groups[split]:,} groups"
    return f"Examples with the same “{record.recipe.data.group}” count as one: {counts}."


def describe_search(record: RunRecord, split: str = "validation") -> str:
    """Say that the examples of a split are queries, and what they are searched in.

    Args:
        record: record of the run.
        split: name of the split.

    Returns:
        Two sentences; none where the split is no search.
    """
    counts = (record.data.searches or {}).get(split)
    if counts is None:
        return ""
    documents = format_count(counts["documents"], "document")
    queries = "1 query" if counts["queries"] == 1 else f"{counts['queries']:,} queries"
    return f"An example is a query: {queries}, {documents}. The constant answer is a random order of the documents."


def format_latency(latency: Latency) -> list[str]:
    """Write a latency.

    Args:
        latency: percentiles in milliseconds.

    Returns:
        The median, and from where to where three of five calls lie.

    >>> format_latency(Latency(p20=1.0, p50=2.0, p80=2.5))
    ['2.0 ms', '1.0 to 2.5 ms']
    """
    return [f"{latency.p50:.1f} ms", f"{latency.p20:.1f} to {latency.p80:.1f} ms"]


def compute_share(student: float, teacher: Scores) -> float | None:
    """Compute the student's part of the teacher's score.

    Args:
        student: primary score of the student.
        teacher: scores of the teacher.

    Returns:
        student / teacher; None where the teacher does not clearly beat the constant answer, or is not positive. None
        without labels too, since the teacher then has no score.
    """
    if teacher.is_agreement:
        return None
    return student / teacher.primary if teacher.beats_constant and teacher.primary > 0 else None


def compute_share_above_constant(student: float, teacher: Scores) -> float | None:
    """Compute the student's part of what the teacher scores above the constant answer.

    Args:
        student: primary score of the student.
        teacher: scores of the teacher.

    Returns:
        (student - constant) / (teacher - constant); None where the teacher does not clearly beat the constant answer.
    """
    if not teacher.beats_constant:
        return None
    return (student - teacher.constant) / (teacher.primary - teacher.constant)


def format_share(student: float, teacher: Scores) -> str:
    """Write the student's part of the teacher's score in percent.

    Args:
        student: primary score of the student.
        teacher: scores of the teacher.

    Returns:
        Such as `97.3 %`; a dash where the teacher does not clearly beat the constant answer.
    """
    return format_percent(compute_share(student, teacher))


def format_percent(share: float | None) -> str:
    """Write a share in percent.

    Args:
        share: 1 means all of it; None where there is none.

    Returns:
        One digit after the point, or a dash.

    >>> format_percent(0.9732), format_percent(None)
    ('97.3 %', '–')
    """
    return NOT_APPLICABLE if share is None else f"{100 * share:.1f} %"


def escape_markdown(text: str) -> str:
    r"""Write a text of a data set or a file name so that it can stand in a Markdown table.

    Args:
        text: any text.

    Returns:
        One line without markup of its own.

    >>> escape_markdown("a_b | <i>")
    'a\\_b \\| &lt;i&gt;'
    """
    special: dict[str, str | int | None] = {character: f"\\{character}" for character in "\\`*_[]|#"}
    text = " ".join(text.translate(str.maketrans({**special, "&": "&amp;", ">": "&gt;"})).split())
    return re.sub(r"<(?! )", "&lt;", text)  # not where it opens no tag, as in p < 0.001


@lru_cache  # compiled once for all pages of a process
def load_page_template(name: str, *folders: Path) -> jinja2.Template:
    """Load the template of a page; texts that it shows are escaped.

    Args:
        name: name of the file.
        *folders: folders of further templates, which come first.

    Returns:
        The template.
    """
    loader = jinja2.FileSystemLoader([*folders, TEMPLATES])
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)
