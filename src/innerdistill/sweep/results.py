"""SweepResults: what a sweep found, in Python: its answers, table and report."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from innerdistill.run.finished_run import Report
from innerdistill.sweep.groups import Group
from innerdistill.sweep.headlines import summarize_sweep
from innerdistill.sweep.report import PAGE
from innerdistill.sweep.table import Table
from innerdistill.sweep.tables import AGREEMENT, SEEDS, SHARE_OF_TEACHER, build_tables


class SweepResults:
    """What a sweep found. A notebook shows the answers and the scores.

    Attributes:
        folder: folder of the sweep, with report.html, cells.csv and a folder for every run.
        groups: runs and their comparisons, by task and setting.
        failed: cause in a sentence by the folder of a run that failed.
    """

    def __init__(self, folder: Path, groups: Sequence[Group], failed: Mapping[Path, str]) -> None:
        """Keep what was found.

        Args:
            folder: folder of the sweep.
            groups: runs and their comparisons, by task and setting.
            failed: cause in a sentence by the folder of a run that failed.
        """
        self.folder, self.groups, self.failed = folder, list(groups), dict(failed)

    @property
    def answers(self) -> list[str]:
        """The sentences that the report begins with: which declared comparison shows a difference, and how large."""
        return summarize_sweep(self.groups)

    def report(self) -> Report:
        """Show the report in a notebook.

        Returns:
            The report.
        """
        return Report(self.folder / PAGE)

    def __repr__(self) -> str:
        return f"SweepResults({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """The answers, a table of scores for every task and setting, and what failed."""
        parts = [f"<p>{html.escape(sentence)}</p>" for sentence in self.answers]
        for group in self.groups:
            table = build_short_scores(group)
            body = "".join(_write_row(row, "td") for row in table.rows)
            caption = f"<caption>{html.escape(group.name)}</caption>" if group.name else ""
            parts.append(
                f"<table>{caption}<thead>{_write_row(table.header, 'th')}</thead><tbody>{body}</tbody></table>"
            )
        parts += [f"<p>Failed: {html.escape(f'{folder}: {cause}')}</p>" for folder, cause in self.failed.items()]
        return "".join(parts)


def build_short_scores(group: Group) -> Table:
    """Build the columns of the table of scores that a terminal and a notebook have room for.

    Args:
        group: runs of a task and setting.

    Returns:
        Scores, shares of the teacher's score, agreement and seeds.
    """
    scores, *_ = build_tables(group, alone=False)
    columns = [0, 1, *(scores.header.index(name) for name in (SHARE_OF_TEACHER, AGREEMENT, SEEDS))]
    header = tuple(scores.header[column] for column in columns)
    return replace(scores, header=header, rows=tuple(tuple(row[column] for column in columns) for row in scores.rows))


def _write_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
