"""The model card: README.md of a result, with the scores that were measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.scoring import headline
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.report.run_folder import get_problem_type
from innerdistill.support.files import open_whole_file

TEMPLATES = Path(__file__).parent / "templates"
# Lower is better, so no share of them is "kept".
ERRORS = (
    "standard_error",
    "calibration_error",
    *(name for name, metric in METRICS.built_in.items() if not metric.higher_is_better),
)


def model_card(record: Mapping[str, Any]) -> str:
    """Text of the model card.

    Args:
        record: content of run.json.

    Returns:
        Markdown with a metadata block.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown; texts go through `escaped`
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    scores = record["scores"]["validation"]
    problem_type = get_problem_type(record)
    task = record["recipe"]["data"]["task"] or problem_type.wording.title
    return environment.get_template("card.md.j2").render(
        record=record,
        title=escaped(f"{Path(record['recipe']['output']).name}: {task}"),
        split="the validation split",
        student=scores["student"],
        teacher=scores.get("teacher"),
        agreement=record["agreement"].get("validation"),
        metrics=metric_names(scores["student"]),
        kept=kept,
        problem_type=problem_type,
        of_pairs=len(resolve_task(DataRecipe.model_validate(record["recipe"]["data"])).text) == 2,
        escaped=escaped,
    )


def write_card(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the model card into the folder of a run.

    Args:
        folder: of the run.
        record: content of run.json.
    """
    with open_whole_file(folder / "model" / "README.md") as path:
        path.write_text(model_card(record), encoding="utf-8")


def page_template(name: str, *folders: Path) -> jinja2.Template:
    """A template of a page for people; texts are escaped.

    Args:
        name: of the file.
        *folders: of further templates, beside those of this room.

    Returns:
        The template.
    """
    loader = jinja2.FileSystemLoader([*folders, TEMPLATES])
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)


def metric_names(scores: Mapping[str, Any]) -> list[str]:
    """The metrics of which more is better, the primary one first.

    Args:
        scores: of one model.

    Returns:
        Names.
    """
    names = [name for name in headline(scores) if name not in ERRORS]
    return sorted(names, key=lambda name: name != scores["metric"])


def share(student: float, teacher: float) -> float | None:
    """What part of the teacher's score the student keeps.

    Args:
        student: score.
        teacher: score.

    Returns:
        student / teacher; None where the teacher's score is not positive.
    """
    return student / teacher if teacher > 0 else None


def kept(student: float, teacher: float) -> str:
    """The share of the teacher's score that the student keeps, in words.

    Args:
        student: score.
        teacher: score.

    Returns:
        Such as `97.3 %`; a dash where the teacher's score is not positive.
    """
    part = share(student, teacher)
    return "–" if part is None else f"{100 * part:.1f} %"


def escaped(text: str) -> str:
    """Text of a data set or file name, safe inside a Markdown table.

    Args:
        text: any text.

    Returns:
        One line without markup of its own.
    """
    special: dict[str, str | int | None] = {character: f"\\{character}" for character in "\\`*_[]|#"}
    text = " ".join(text.translate(str.maketrans({**special, "&": "&amp;", ">": "&gt;"})).split())
    return re.sub(r"<(?! )", "&lt;", text)  # not where it opens no tag, as in p < 0.001
