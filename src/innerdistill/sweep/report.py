"""The outcome of a sweep in files: report.html, report.md, table.tex, cells.csv and figures/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.figures import render_file
from innerdistill.report.formatting import escape_markdown, load_page_template
from innerdistill.support.files import open_whole_file, slugify
from innerdistill.sweep.cells_csv import write_cells
from innerdistill.sweep.examples import examples_of
from innerdistill.sweep.figures import (
    axis_name,
    differences,
    mean_curve,
    score_against,
    score_per_epoch,
    seeds_side_by_side,
)
from innerdistill.sweep.gather import gather
from innerdistill.sweep.grid import Cell, Sweep
from innerdistill.sweep.groups import Group, places
from innerdistill.sweep.headlines import answers
from innerdistill.sweep.sizes import swept_numbers
from innerdistill.sweep.tables import Table, tables_of, tables_over

PAGE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
HOW_COMPARED = (
    "A paired t-test over seeds, or over teachers where there are several, corrected by Holm. The 95 % intervals are "
    "over these and validation rows together and rather too wide than too narrow: in simulations over seeds they held "
    "the true difference in 98.5 to 99.5 %. One method is said to beat another only where test and interval agree."
)


def write_sweep_report(sweep: Sweep, cells: Sequence[Cell], *, failed: Mapping[Path, str] | None = None) -> list[Group]:
    """Write report.html, report.md, table.tex, cells.csv and figures/ into the folder of a sweep.

    Args:
        sweep: the sweep.
        cells: its finished cells.
        failed: cause by folder of the cells that failed.

    Returns:
        The runs with their comparisons, by task and setting.

    Raises:
        ValueError: cells of other data, another teacher, another start or other versions than those beside them.
    """
    folder, failed = sweep.folder, failed or {}
    groups = gather(sweep, cells)
    swept = swept_numbers(groups)
    tables = [tables_of(group, alone=len(groups) == 1) for group in groups]
    facts = {
        "title": folder.name, "groups": groups,
        "missing": sweep.number_of_cells - len(cells) - len(failed),
        "answers": answers(groups), "comparisons": sentences(groups),
        "kept": [sentence for one in swept for sentence in one.sentences()],
        "warnings": [warning for group in groups for warning in _warnings(group)],
        "overall": tables_over(groups), "tables": tables,
        "methods": list(dict.fromkeys(cell.method for cell in cells)),
        "failed": {str(path): cause for path, cause in failed.items()},
        "run": groups[0].any_run if groups else None, "places": _places(groups),
        "compared": HOW_COMPARED if any(one.interval for place in places(groups) for one in place.comparisons) else "",
    }  # fmt: skip
    recipe, parts = write_yaml(sweep.model_dump(mode="json")), _parts(groups, tables)
    sweeps = [
        {"title": one.title, "key": one.key, "axis": axis_name(one.key),
         "figure": Markup(score_against(one.groups, one.key))}  # noqa: S704 - made by matplotlib, which escapes texts
        for one in swept
    ]  # fmt: skip
    figure = Markup(differences(groups))  # noqa: S704
    page = load_page_template("sweep.html.j2", TEMPLATES).render(
        facts, figure=figure, recipe=recipe, sweeps=sweeps, parts=parts
    )
    texts = {
        "report.md": _plain_template("sweep.md.j2").render(facts),
        "table.tex": _plain_template("sweep.tex.j2").render(facts),
        PAGE: page,
    }
    for name, text in texts.items():
        with open_whole_file(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    write_cells(folder, cells, groups)
    _write_figures(folder / "figures", figure, sweeps, parts)
    return groups


def _write_figures(
    folder: Path, comparisons: str, sweeps: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]
) -> None:
    """The page's figures as files, in its order; those of an earlier report go."""
    named = [("comparisons", comparisons)]
    named += [(f"{sweep['key']} {sweep['title']}", sweep["figure"]) for sweep in sweeps]
    named += [(f"{name} {part['group'].name}", part[name]) for part in parts for name in ("seeds", "epochs", "maps")]
    drawn = [(slugify(name).encode()[:100].decode(errors="ignore"), figure) for name, figure in named if figure]
    digits = max(2, len(str(len(drawn))))
    files = {folder / f"{number:0{digits}d}-{name}.svg": figure for number, (name, figure) in enumerate(drawn, start=1)}
    folder.mkdir(parents=True, exist_ok=True)
    for path, figure in files.items():
        with open_whole_file(path) as temporary:
            temporary.write_text(render_file(figure), encoding="utf-8")
    for path in set(folder.glob("[0-9]*-*.svg")) - set(files):
        path.unlink(missing_ok=True)


def _plain_template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown and LaTeX; names are escaped by the filters
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": escape_markdown, "latex": latex}
    return environment.get_template(name)


def latex(text: str) -> str:
    r"""Text of a recipe, safe inside LaTeX.

    Args:
        text: any text.

    Returns:
        One line without commands of its own.

    >>> latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    known = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    known |= {"∞": r"$\infty$", "←": r"$\leftarrow$"}
    known |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
    known |= {"[": "{[}", "*": "{*}"}  # after the end of a row they would be an option of it
    special: dict[str, str | int | None] = {character: f"\\{character}" for character in "&%$#_{}"}
    return " ".join(str(text).translate(str.maketrans(special | known)).replace("--", "-{}-").split())


def _places(groups: Sequence[Group]) -> list[str]:
    """Revisions of the code and machines that the runs were made with, each once."""
    runs = [run for group in groups for _, run in group.runs()]
    found = (f"{(run['git_revision'] or 'not known')[:10]} on {run['machine']}" for run in runs)
    return list(dict.fromkeys(found))


def sentences(groups: Sequence[Group]) -> list[str]:
    """One for each declared comparison.

    Args:
        groups: of a sweep.

    Returns:
        Sentences, behind the names of their places.
    """
    return [
        f"{place.name}: {sentence}" if place.name else sentence
        for place in places(groups)
        for sentence in place.sentences()
    ]


def _warnings(group: Group) -> list[str]:
    of = f" of {group.name}" if group.name else ""
    return [f"{runs} run{'s' if runs > 1 else ''}{of}: {warning}" for warning, runs in group.warnings.items()]


def _parts(groups: Sequence[Group], tables: Sequence[list[Table]]) -> list[dict[str, Any]]:
    """The tables and figures of every group, for the page."""
    return [
        {
            "group": group,
            "tables": tables_of_one,
            "seeds": Markup(seeds_side_by_side(group)),  # noqa: S704 - made by matplotlib, which escapes texts
            "epochs": Markup(score_per_epoch(group)),  # noqa: S704
            "curves": {name: mean_curve(method, group.metric) for name, method in group.methods.items()},
            **examples_of(group),
        }
        for group, tables_of_one in zip(groups, tables, strict=True)
    ]
