"""The outcome of a sweep in files: report.html, report.md, table.tex, cells.csv and figures/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from innerdistill.evaluation.crossed import FEWEST_FOR_INTERVAL
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.figures import render_file
from innerdistill.report.formatting import escape_markdown, load_page_template
from innerdistill.report.record import TrainedStage
from innerdistill.report.run_folder import REPORT
from innerdistill.support.files import open_whole_file, slugify
from innerdistill.sweep.cells_csv import write_cells
from innerdistill.sweep.declaration import TEACHER_SEED, Sweep
from innerdistill.sweep.examples import select_examples
from innerdistill.sweep.figures import (
    average_curves,
    draw_curves,
    draw_differences,
    draw_score_against,
    draw_seeds,
    name_axis,
)
from innerdistill.sweep.gather import gather
from innerdistill.sweep.groups import Group, list_places
from innerdistill.sweep.headlines import summarize_sweep
from innerdistill.sweep.latency import SweepLatency, read_latency
from innerdistill.sweep.methods import SELECTION
from innerdistill.sweep.sizes import find_swept_numbers
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM
from innerdistill.sweep.store import CellRun
from innerdistill.sweep.table import Table
from innerdistill.sweep.tables import build_overall_tables, build_tables
from innerdistill.sweep.tuning import PlannedSweep
from innerdistill.sweep.tuning_page import build_tuning_tables, describe_tuning, draw_tuning, list_ends

PAGE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
HOW_COMPARED = (
    "Methods are compared over seeds, or over teachers, and over the validation examples. Tests and 95 % intervals "
    "follow from the mean squares of seeds, examples and their interaction, with Satterthwaite's degrees of freedom. "
    "They are never narrower than a t-test over seeds alone. Holm's method corrects the p-values of all comparisons "
    f"declared for a task, and decides the words. A test needs {FEWEST_FOR_INTERVAL} seeds or teachers, and a claim "
    f"{FEWEST_FOR_CLAIM}."
)


def write_sweep_report(
    sweep: Sweep,
    finished: Sequence[CellRun],
    *,
    failed: Mapping[Path, str] | None = None,
    outdated: Sequence[str] = (),
    planned: PlannedSweep | None = None,
) -> list[Group]:
    """Write report.html, report.md, table.tex, cells.csv and figures/ into the folder of a sweep.

    Args:
        sweep: the sweep.
        finished: its finished cells.
        failed: cause by folder of the cells that failed.
        outdated: sentences on stored runs of another recipe, which do not count.
        planned: cells of the sweep, with the curves of its tuning; None for a sweep without tuning.

    Returns:
        The runs with their comparisons, by task and setting.

    Raises:
        ValueError: runs of other data, another teacher, another start or other versions than those beside them.
    """
    groups, latency = gather(sweep, finished), read_latency(sweep.folder)
    facts = _collect_facts(sweep, groups, latency)
    facts["outdated"] = outdated
    planned = planned or PlannedSweep([], [], [], [])
    facts["tuning"] = describe_tuning(sweep, planned)
    facts["tuning_tables"] = build_tuning_tables(sweep, planned)
    facts["warnings"] += list_ends(planned)
    facts["teachers"] = _count_teachers(sweep, finished)
    facts["missing"] = sweep.number_of_cells - len(finished) - len(failed or {})
    facts["methods"] = list(dict.fromkeys(entry.cell.method for entry in finished))
    facts["failed"] = {str(path): cause for path, cause in (failed or {}).items()}
    facts["cells"] = sweep.number_of_cells
    page = _collect_page(sweep, groups, facts["tables"])
    page["tuning_figures"] = {place: _mark_safe(figure) for place, figure in draw_tuning(sweep, planned).items()}
    texts = {
        "report.md": _load_plain_template("sweep.md.j2").render(facts),
        "table.tex": _load_plain_template("sweep.tex.j2").render(facts),
        PAGE: load_page_template("sweep.html.j2", TEMPLATES).render(facts, **page),
    }
    for name, text in texts.items():
        with open_whole_file(sweep.folder / name) as path:
            path.write_text(text, encoding="utf-8")
    write_cells(sweep.folder, finished)
    _write_figures(sweep.folder / "figures", page)
    return groups


def describe_comparisons(groups: Sequence[Group]) -> list[str]:
    """Describe every declared comparison in words.

    Args:
        groups: groups of a sweep.

    Returns:
        Sentences; where there are several places, each begins with the name of its place.
    """
    sentences = []
    for place in list_places(groups):
        prefix = f"{place.name}: " if place.name else ""
        sentences += [f"{prefix}{sentence}" for sentence in place.describe_comparisons()]
    return sentences


def escape_latex(text: str) -> str:
    r"""Make a text of a recipe safe inside LaTeX.

    Args:
        text: any text.

    Returns:
        One line without commands of its own.

    >>> escape_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    known = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    known |= {"∞": r"$\infty$", "←": r"$\leftarrow$"}
    known |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
    known |= {"[": "{[}", "*": "{*}"}  # after the end of a row they would be an option of it
    special: dict[str, str | int | None] = {character: f"\\{character}" for character in "&%$#_{}"}
    return " ".join(str(text).translate(str.maketrans(special | known)).replace("--", "-{}-").split())


def _count_teachers(sweep: Sweep, finished: Sequence[CellRun]) -> str:
    """How many of several teachers have all their runs; empty for one teacher."""
    declared = sweep.number_of_teachers
    if declared == 1:
        return ""
    runs = Counter(entry.cell.setting[TEACHER_SEED] for entry in finished)
    complete = sum(count == sweep.number_of_cells // declared for count in runs.values())
    if complete == declared:
        return f"All {declared} declared teachers have run."
    return f"{complete} of {declared} declared teachers have run with all their students."


def _collect_facts(sweep: Sweep, groups: Sequence[Group], latency: SweepLatency | None) -> dict[str, Any]:
    """What all three texts say of the runs."""
    shares: list[str] = []
    for swept in find_swept_numbers(groups):
        shares += swept.describe()
    tested = [comparison for place in list_places(groups) for comparison in place.comparisons]
    return {
        "title": sweep.folder.name,
        "groups": groups,
        "answers": summarize_sweep(groups),
        "comparisons": describe_comparisons(groups),
        "shares": shares,
        "warnings": _list_warnings(groups),
        "overall": build_overall_tables(groups, latency),
        "tables": [build_tables(group, alone=len(groups) == 1, latency=latency) for group in groups],
        "run": groups[0].first_record if groups else None,
        "origins": _list_origins(groups),
        "compared": HOW_COMPARED if any(comparison.interval for comparison in tested) else "",
    }


def _collect_page(sweep: Sweep, groups: Sequence[Group], tables: Sequence[list[Table]]) -> dict[str, Any]:
    """What only the page has: figures, examples and the sweep itself."""
    sweeps = []
    for swept in find_swept_numbers(groups):
        figure = _mark_safe(draw_score_against(swept.groups, swept.key))
        facts = {"title": swept.title, "key": swept.key, "axis": name_axis(swept.key), "figure": figure}
        sweeps.append({**facts, "has_bars": any(group.has_several_seeds for group in swept.groups)})
    return {
        "figure": _mark_safe(draw_differences(groups)),
        "recipe": write_yaml(sweep.model_dump(mode="json")),
        "sweeps": sweeps,
        "parts": [_collect_part(sweep.folder, *part) for part in zip(groups, tables, strict=True)],
    }


def _collect_part(folder: Path, group: Group, tables: Sequence[Table]) -> dict[str, Any]:
    """Tables, figures and links of one task and setting."""
    stages: list[TrainedStage] = []
    heads = set()
    for run in group.list_runs():
        stages += run.record.stages
        heads.add(run.record.recipe.student.head)
    internal = [stage for stage in stages if stage.stage.is_internal]
    return {
        "group": group,
        "tables": tables,
        "seeds": _mark_safe(draw_seeds(group)),
        "epochs": _mark_safe(draw_curves(group)),
        "reports": _link_reports(folder, group),
        "has_stages": bool(internal),
        "has_new_head": bool(internal) and heads == {"seed"},
        "curves": {name: average_curves(method, group.get_metric(SELECTION)) for name, method in group.methods.items()},
        **select_examples(group),
    }


def _link_reports(folder: Path, group: Group) -> dict[str, dict[int, str]]:
    """Addresses of the runs' own pages, relative to the sweep's, by method and seed: only of pages that exist."""
    links: dict[str, dict[int, str]] = {}
    for name, method in group.methods.items():
        for seed, run in method.runs.items():
            if run.has_report:
                address = (run.folder / REPORT).relative_to(folder).as_posix()
                links.setdefault(name, {})[seed] = quote(address)
    return links


def _mark_safe(figure: str) -> Markup:
    return Markup(figure)  # noqa: S704 - drawn by matplotlib, which escapes texts


def _write_figures(folder: Path, page: Mapping[str, Any]) -> None:
    """The page's figures as files, in its order; those of an earlier report go."""
    figures = [("comparisons", page["figure"])]
    figures += [(f"tuning {place}", figure) for place, figure in page["tuning_figures"].items()]
    for sweep in page["sweeps"]:
        figures.append((f"{sweep['key']} {sweep['title']}", sweep["figure"]))
    for part in page["parts"]:
        figures += [(f"{name} {part['group'].name}", part[name]) for name in ("seeds", "epochs", "maps")]
    drawn = [(name, figure) for name, figure in figures if figure]
    digits = max(2, len(str(len(drawn))))
    folder.mkdir(parents=True, exist_ok=True)
    files = set()
    for number, (name, figure) in enumerate(drawn, start=1):
        short = slugify(name).encode()[:100].decode(errors="ignore")
        path = folder / f"{number:0{digits}d}-{short}.svg"
        files.add(path)
        with open_whole_file(path) as temporary:
            temporary.write_text(render_file(figure), encoding="utf-8")
    for path in set(folder.glob("[0-9]*-*.svg")) - files:
        path.unlink(missing_ok=True)


def _load_plain_template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown and LaTeX; names are escaped by the filters
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": escape_markdown, "latex": escape_latex}
    return environment.get_template(name)


def _list_origins(groups: Sequence[Group]) -> list[str]:
    """Revisions of the code and machines that the runs were made with, each once."""
    records = [run.record for group in groups for run in group.list_runs()]
    origins = [f"{(record.git_revision or 'not known')[:10]} on {record.machine}" for record in records]
    return list(dict.fromkeys(origins))


def _list_warnings(groups: Sequence[Group]) -> list[str]:
    warnings = []
    for group in groups:
        of = f" of {group.name}" if group.name else ""
        for warning, runs in group.warnings.items():
            warnings.append(f"{runs} run{'s' if runs > 1 else ''}{of}: {warning}")
    return warnings
