"""Markdown for the reference, written from the code at build time, so that it is always up to date.

Every function here is called by a `{generated}` directive of a page in docs/reference.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Sequence

import innerdistill
from innerdistill import TASKS
from innerdistill.cli.parser import build_parser
from innerdistill.evaluation.metrics import select_metrics
from innerdistill.models.other_families import REASONS
from innerdistill.models.tried_families import read_tried_families
from innerdistill.recipe.keys import Key, keys
from innerdistill.recipe.recipe import DEFAULT_LOSSES, Recipe, Section
from innerdistill.sweep.declaration import Sweep

SECTION_TITLES = {
    "data": "`data`: examples and labels",
    "teacher": "`teacher`: the teacher and its outputs",
    "student": "`student`: what the student starts from",
    "schedule": "`schedule`: stages and their length",
    "": "Everything else",
}

API_GROUPS = {
    "Whole jobs": ("distill", "Arguments", "Run", "finetune", "evaluate", "export", "write_report", "measure_speed"),
    "Recipes": ("Recipe", "ScheduleRecipe", "load_recipe"),
    "Sweeps": ("load_sweep", "run_sweep", "SweepResults"),
    "Models and data in memory": (
        "distill_models",
        "TrainingSetup",
        "build_student",
        "load_task",
        "DistillationTrainer",
    ),
    "Internal representations": ("prepare", "capture", "probe", "Internals"),
    "Schedules": ("Schedule", "SchedulePlan", "Stage", "build_stages", "SCHEDULES"),
    "Losses and metrics": ("Loss", "LOSSES", "Metric", "METRICS"),
    "Tasks and model families": ("TASKS", "PROBLEM_TYPES", "Family", "FAMILIES"),
}
WITH_METHODS = ("Run",)  # classes that are shown with their methods


def write_python_api() -> str:
    """Every public name of the package, by what it is for.

    Returns:
        Markdown with a heading per group, and autodoc directives.
    """
    named = {name for names in API_GROUPS.values() for name in names}
    groups = {**API_GROUPS, "More": [name for name in innerdistill.__all__ if name not in named]}
    return "\n".join(write_api_group(title, names) for title, names in groups.items() if names)


def write_api_group(title: str, names: Iterable[str]) -> str:
    """Some public names under one heading.

    Args:
        title: heading.
        names: public names.

    Returns:
        Markdown.
    """
    directives = []
    for name in names:
        value = getattr(innerdistill, name)
        if inspect.isclass(value) and issubclass(value, Section):  # its signature would be a page of keys
            meaning = inspect.getdoc(value)
            directives.append(f".. py:class:: innerdistill.{name}\n\n   {meaning} Keys: see :doc:`recipe`.")
        elif inspect.isclass(value):
            members = "\n   :members:" if name in WITH_METHODS else ""
            directives.append(f".. autoclass:: innerdistill.{name}{members}")
        elif callable(value):
            directives.append(f".. autofunction:: innerdistill.{name}")
        else:
            entries = ", ".join(f"`{entry}`" for entry in value)
            directives.append(f".. py:data:: innerdistill.{name}\n\n   Entries: {entries}.")
    content = "\n\n".join(directives)
    return f"## {title}\n\n```{{eval-rst}}\n{content}\n```\n"


def write_recipe_keys() -> str:
    """Every key of a recipe, one table per section.

    Returns:
        Markdown with a heading per section.
    """
    by_section: dict[str, list[Key]] = {}
    for key in keys(Recipe):
        section = key.name.partition(".")[0] if "." in key.name else ""
        by_section.setdefault(section, []).append(key)
    parts = [f"## {SECTION_TITLES[section]}\n\n{write_keys(by_section[section])}" for section in SECTION_TITLES]
    assert len(parts) == len(by_section), f"a section has no title: {', '.join(by_section)}"
    return "\n".join(parts)


def write_sweep_keys() -> str:
    """Every key of a sweep.

    Returns:
        A Markdown table.
    """
    return write_keys(keys(Sweep))


def write_keys(documented: Iterable[Key]) -> str:
    """Keys with type, default and meaning.

    Args:
        documented: keys of one section.

    Returns:
        A Markdown table.
    """
    rows = [(f"`{key.name}`", key.values, key.default and f"`{key.default}`", key.meaning) for key in documented]
    return write_table(("key", "type", "default", "meaning"), rows)


def write_command_line() -> str:
    """Every verb of the command line with its arguments.

    Returns:
        Markdown with a heading per verb.
    """
    verbs = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join(write_verb(name, parser) for name, parser in verbs.choices.items())


def write_verb(name: str, parser: argparse.ArgumentParser) -> str:
    """One verb.

    Args:
        name: the verb.
        parser: parser of the verb's arguments.

    Returns:
        Markdown: heading, what the verb does, how it is called, a table of its arguments.
    """
    rows = []
    for action in parser._actions:
        if action.dest != "help":
            names = ", ".join(action.option_strings) or action.metavar or action.dest
            meaning = (action.help or "").replace("%(default)s", str(action.default))
            if isinstance(action.default, int | str) and "default" not in meaning:
                meaning = f"{meaning} (default: {action.default})".strip()
            rows.append((f"`{names}`", meaning))
    usage = parser.format_usage().removeprefix("usage: ").strip()
    table = write_table(("argument", "meaning"), rows)
    sentence = f"{parser.description[0].upper()}{parser.description[1:]}."
    return f"## {name}\n\n{sentence}\n\n```text\n{usage}\n```\n\n{table}"


def write_schedules() -> str:
    """Every schedule with the first sentence of its docstring.

    Returns:
        A Markdown table.
    """
    rows = [(f"`{name}`", summarise(schedule.function)) for name, schedule in innerdistill.SCHEDULES.items()]
    return write_table(("`schedule.name`", "stages"), rows)


def write_losses() -> str:
    """Every loss with its default weight and the first sentence of its docstring.

    Returns:
        A Markdown table.
    """
    rows = []
    for name, loss in innerdistill.LOSSES.items():
        weight = f"{DEFAULT_LOSSES.get(name, 0):g}"
        rows.append((f"`{name}`", weight, summarise(loss.function)))
    return write_table(("loss", "default weight", "meaning"), rows)


def summarise(function: Callable[..., object]) -> str:
    """The first line of a docstring.

    Args:
        function: documented function.

    Returns:
        One line.
    """
    return (inspect.getdoc(function) or "").partition("\n")[0]


def write_problem_types() -> str:
    """Every problem type with what its models predict.

    Returns:
        A Markdown table.
    """
    rows = []
    for name, problem in innerdistill.PROBLEM_TYPES.items():
        shapes = (problem.predictions.shape, *problem.predictions.further_shapes)
        metrics = [f"`{metric}`" for shape in shapes for metric in select_metrics(shape)]
        default = f"`{problem.default_metric}`"
        rows.append((f"`{name}`", problem.wording.outputs, default, ", ".join(metrics)))
    return write_table(("problem type", "predictions", "default metric", "all metrics"), rows)


def write_tasks() -> str:
    """The tasks that are known by name.

    Returns:
        A Markdown table.
    """
    rows = []
    for name, task in sorted(TASKS.items()):
        files = ", ".join(f"`{file}`" for _, file in task.files)
        columns = ", ".join(f"`{column}`" for column in task.text)
        labels = ", ".join(task.labels) if task.labels else "scores"
        rows.append((f"`{name}`", files, columns, labels, task.metric))
    return write_table(("task", "files", "text columns", "labels", "metric"), rows)


def write_families() -> str:
    """What the tests have tried of each family.

    Returns:
        A Markdown table.
    """
    header = ("family", "can be learned", "weights", "ONNX", "int8", "longest input", "SID keeps")
    rows = []
    for row in read_tried_families().values():
        files = ("yes" if value else "no" for value in (row.onnx, row.int8))
        longest = "no limit" if row.longest_input is None else f"{row.longest_input:,}"
        kept = "" if row.kept_by_sid is None else f"{row.kept_by_sid:.0%}"
        rows.append((f"`{row.family}`", row.learned, row.weights, *files, longest, kept))
    return write_table(header, rows)


def write_other_families() -> str:
    """The encoders of transformers whose layers are not supported, each with the reason.

    Returns:
        A Markdown table.
    """
    return write_table(("family", "why not"), [(f"`{name}`", reason) for name, reason in sorted(REASONS.items())])


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `|` in a cell is escaped.

    Args:
        header: one heading per column.
        rows: cells.

    Returns:
        Markdown.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
