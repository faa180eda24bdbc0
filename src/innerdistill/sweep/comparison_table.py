"""The table of a sweep's declared comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from innerdistill.sweep.groups import Compared, Group, list_places
from innerdistill.sweep.headlines import list_comparisons
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM, Comparison, Verdict
from innerdistill.sweep.table import Table
from innerdistill.sweep.wording import describe_stability, format_interval, format_p

FOUND = "found in 80 %"  # column
OUTCOMES: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "few": f"no claim below {FEWEST_FOR_CLAIM}",  # after what was shown
    "equivalent": "equivalent",
    "open": "no difference shown",
    "rough": "an estimate, not a test",
    "none": "no verdict",
    "untested": "not tested",
}


def build_comparisons(groups: Sequence[Group]) -> Table:
    """Build the table of declared comparisons.

    Args:
        groups: groups of the sweep.

    Returns:
        A row for each that could be tested, in the order of their places.
    """
    rows = []
    for place in list_places(groups):
        rows += [_describe_comparison(place, comparison) for comparison in place.comparisons]
    header = ("difference of", "in", "metric", "mean", "95 % interval", "p after Holm", FOUND, "n", "over", "outcome")
    columns = [column for column in zip(header, *rows, strict=True) if any(column[1:])]  # none without any text
    heads, *lines = zip(*columns, strict=True) if columns else [header]
    return Table(
        "Comparisons",
        heads,
        tuple(lines),
        " ".join(_explain_comparisons(groups)),
    )


def _explain_comparisons(groups: Sequence[Group]) -> list[str]:
    comparisons = list_comparisons(groups)
    notes = ["± is the standard deviation of the paired differences."]
    if any(comparison.interval is not None for comparison in comparisons):
        notes.append(
            "Each interval is for its comparison alone. The p-values and outcomes are for all of them together."
        )
    if any(comparison.detectable is not None for comparison in comparisons):
        notes.append(f"{FOUND.capitalize()}: the smallest true difference that 80 % of such sweeps would find.")
    return list(filter(None, [*notes, describe_stability(comparisons)]))


def _describe_comparison(place: Compared, comparison: Comparison) -> tuple[str, ...]:
    interval, detectable = comparison.interval, comparison.detectable
    spread = "" if comparison.deviation is None else f" ± {comparison.deviation:.4f}"
    return (
        f"{comparison.method} − {comparison.against}",
        place.name,
        place.metric_name,
        f"{comparison.difference:+.4f}{spread}",
        "–" if interval is None else format_interval(interval),
        "–" if comparison.p is None else format_p(comparison.p).removeprefix("p ").removeprefix("= "),
        "" if detectable is None else f"{detectable:.4f}",
        str(comparison.units),
        comparison.over,
        _name_outcome(comparison) if place.is_above_chance else "none: the teacher is at chance",
    )


def _name_outcome(comparison: Comparison) -> str:
    outcome = OUTCOMES[comparison.verdict]
    if comparison.verdict != "few":
        return outcome
    if not comparison.is_significant:
        return f"within {comparison.margin:g}, {outcome}"
    return f"{'higher' if comparison.difference > 0 else 'lower'}, {outcome}"
