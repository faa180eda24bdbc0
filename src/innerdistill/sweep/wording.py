"""Comparisons in sentences: what each shows, and once for all of them what it means and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from innerdistill.evaluation.crossed import FEWEST_FOR_INTERVAL
from innerdistill.sweep.gates import bound_collapse
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM, Comparison, Over

NOT_COVERED = "other training examples or another tuned learning rate"


def describe_comparison(comparison: Comparison, metric: str) -> str:
    """Say what a comparison shows.

    Args:
        comparison: the comparison.
        metric: name of the score for people.

    Returns:
        Sentences without what `describe_reserve` and `describe_scope` state once for all comparisons.
    """
    evidence = _describe_evidence(comparison)
    if comparison.p is None:
        return _describe_without_test(comparison, metric, evidence)
    if comparison.verdict == "open":
        return _describe_open(comparison, metric, evidence)
    return _describe_shown(comparison, metric, evidence)


def _describe_without_test(comparison: Comparison, metric: str, evidence: str) -> str:
    names, signed = f"{comparison.method} against {comparison.against}", f"{comparison.difference:+.3f} {metric}"
    if comparison.verdict == "untested":
        spread = "" if comparison.deviation is None else f" ± {comparison.deviation:.3f}"
        return f"{names}: {comparison.difference:+.3f}{spread} {metric} (n = {comparison.units}, not tested)."
    if comparison.verdict == "none":
        return f"No verdict on {names}: {_describe_obstacle(comparison, signed)}"
    seeds = f"{comparison.runs[1]} seed{'s' * (comparison.runs[1] > 1)}"
    return (
        f"{names}: roughly {signed} {evidence}. All teachers share {seeds} of their students: an estimate, not a test."
    )


def _describe_shown(comparison: Comparison, metric: str, evidence: str) -> str:
    method, against, margin = comparison.method, comparison.against, f"{comparison.margin or 0:g}"
    if not comparison.is_significant:
        few = comparison.verdict == "few"
        relation = f"differ by less than {margin}" if few else f"are equivalent within {margin}"
        return f"{method} and {against} {relation} {metric} {evidence}."
    size, higher = f"{abs(comparison.difference):.3f} {metric}", comparison.difference > 0
    if comparison.verdict == "few":
        text = f"{method} scores {size} {'higher' if higher else 'lower'} than {against} {evidence}."
    else:
        text = f"{method} {'beats' if higher else 'is worse than'} {against} by {size} {evidence}."
    return f"{text} The difference is below the margin of {margin}." if comparison.is_within_margin else text


def _describe_open(comparison: Comparison, metric: str, evidence: str) -> str:
    method, against = comparison.method, comparison.against
    if comparison.has_same_answers:
        return f"{method} and {against} give the same answers in every run {evidence}."
    return (
        f"No difference shown between {method} and {against}: {comparison.difference:+.3f} {metric} {evidence}. "
        f"If it were {comparison.detectable:.3f}, 80 % of such sweeps would show it."
    )


def _describe_obstacle(comparison: Comparison, signed: str) -> str:
    collapse = comparison.collapse
    if collapse is None:
        return f"{comparison.obstacle} ({signed}, {comparison.sample})."
    collapsed = []
    for name, count in ((comparison.method, collapse.first), (comparison.against, collapse.second)):
        if count:
            collapsed.append(f"{count} of {collapse.runs} runs of {name}")
    verb = "gives" if collapse.first + collapse.second == 1 else "give"
    text = f"{' and '.join(collapsed)} {verb} one answer to all examples. With all runs the difference is {signed}."
    if collapse.difference is None:
        return text
    pairs = f"{collapse.pairs} pair{'s' * (collapse.pairs != 1)}"
    return f"{text} Given that training succeeds, it is {collapse.difference:+.3f} ({pairs} of runs)."


def _describe_evidence(comparison: Comparison) -> str:
    """Interval, test and sample in brackets."""
    parts = []
    if comparison.is_within_margin and not comparison.is_significant:
        half = comparison.estimate.compute_half_width(0.9)
        ends = f"{comparison.difference - half:+.3f} ... {comparison.difference + half:+.3f}"
        parts += [f"90 % interval {ends}", f"{format_p(comparison.margin_p or 0.0)} after Holm"]
    else:
        if comparison.interval is not None:
            parts.append(f"95 % interval {format_interval(comparison.interval, digits=3)}")
        if comparison.p is not None:
            parts.append(f"{format_p(comparison.p)} after Holm")
    return f"({', '.join([*parts, comparison.sample])})"


def describe_reserve(comparisons: Sequence[Comparison]) -> str:
    """Say what too few units leave open: a test that is looked at again and again errs more often than it says.

    Args:
        comparisons: all comparisons of a sweep, over the same kind of unit.

    Returns:
        One or two sentences; empty if there are units enough, and all that were declared.
    """
    unfinished = [comparison for comparison in comparisons if comparison.units < comparison.declared]
    untested = [comparison for comparison in comparisons if comparison.verdict == "untested"]
    short = [comparison for comparison in comparisons if comparison.verdict in ("untested", "few")]
    if not unfinished and not short:
        return ""
    fewest = min(unfinished or short, key=lambda comparison: comparison.units)
    count, over = fewest.units, fewest.over
    if unfinished:
        text = f"Preliminary: {count} of {fewest.declared} {over} have run."
    else:
        text = f"There are only {count} {over}." if count > 1 else f"There is only 1 {over.removesuffix('s')}."
    if untested:
        text += f" A test needs {FEWEST_FOR_INTERVAL} {over}, a claim {FEWEST_FOR_CLAIM}."
    elif short:
        text += f" A claim needs {FEWEST_FOR_CLAIM} {over}."
    return text


def describe_scope(comparisons: Sequence[Comparison]) -> str:
    """Say what the intervals and tests are about: with what others the outcome would be the same, and with what not.

    Args:
        comparisons: all comparisons of a sweep, over the same kind of unit.

    Returns:
        Two sentences; empty without any interval.
    """
    shown = [comparison for comparison in comparisons if comparison.interval is not None]
    if not shown:
        return ""
    covered: dict[Over, tuple[str, str]] = {
        "seeds": ("other seeds and other examples", f"other teachers, {NOT_COVERED}"),
        "teachers": ("other teachers, other seeds and other examples", NOT_COVERED),
    }
    others, not_others = covered[shown[0].over]
    return f"Intervals and tests are about {others}. They do not cover {not_others}."


def describe_stability(comparisons: Sequence[Comparison]) -> str:
    """Say how often training may still collapse where it never did.

    Args:
        comparisons: all comparisons of a sweep, over the same kind of unit.

    Returns:
        A sentence; empty if a run collapsed, or nothing was tested.
    """
    tested = [comparison for comparison in comparisons if comparison.verdict != "untested"]
    if not tested or any(comparison.collapse is not None for comparison in tested):
        return ""
    fewest = min(tested, key=lambda comparison: comparison.units)
    share = 100 * bound_collapse(fewest.units)
    return (
        f"No run gave one answer to all examples. With {fewest.units} {fewest.over}, this does not exclude that up to "
        f"{share:.0f} % of all runs would."
    )


def format_interval(interval: tuple[float, float], *, digits: int = 4) -> str:
    """Write an interval.

    Args:
        interval: its ends.
        digits: digits after the point.

    Returns:
        Both ends with their signs.

    >>> format_interval((-0.01, 0.02), digits=3)
    '-0.010 ... +0.020'
    """
    low, high = interval
    return f"{low:+.{digits}f} ... {high:+.{digits}f}"


def format_p(p: float) -> str:
    """Write a p value.

    Args:
        p: the value.

    Returns:
        Three digits.
    """
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"
