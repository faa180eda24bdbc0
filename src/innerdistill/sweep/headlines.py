"""The answer of a sweep in a few sentences, which its page opens with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from innerdistill.evaluation.crossed import LEVEL
from innerdistill.report.record import LayerDistance
from innerdistill.sweep.groups import Compared, Group, list_places
from innerdistill.sweep.methods import Method
from innerdistill.sweep.sizes import find_swept_numbers
from innerdistill.sweep.statistics import Comparison, Verdict, apply_holm
from innerdistill.sweep.wording import describe_reserve, describe_scope

NONE_DECLARED = "No comparison of these methods was declared. Their differences are exploratory."
ONE_SEED = "There is one seed: nothing is known about the spread over seeds."


def summarize_sweep(groups: Sequence[Group]) -> list[str]:
    """Answer what was asked: which method wins and by how much, what sets it apart, how small a student can be.

    Args:
        groups: groups of a sweep.

    Returns:
        Sentences; every declared comparison has one of its own in `Compared.describe_comparisons`.
    """
    if not groups:
        return ["No cell has run yet."]
    places, key = list_places(groups), _find_only_key(groups)
    sentences = describe_labels(groups)
    if len(places) == 1:
        sentences += _summarize_place(places[0])
    elif key is not None and all(place.is_above_chance for place in places):
        sentences += _summarize_along(places, key)
    else:
        for place in places:
            sentences += [f"{place.name}: {sentence}" for sentence in _summarize_place(place)]
    sentences += _count_tasks(places)
    sentences += describe_reserves(groups)
    if len(places) == 1:
        sentences += _contrast_winners(places[0])
    for swept in find_swept_numbers(groups):
        sentences += swept.name_smallest()
    return sentences


def describe_labels(groups: Sequence[Group]) -> list[str]:
    """Say which runs of a sweep had no labels, and what their scores are.

    Args:
        groups: groups of a sweep.

    Returns:
        A sentence for each set of settings that have the same splits without labels; none with labels.
    """
    names: dict[str, list[str]] = {}
    for group in groups:
        if group.first_record.data.labels:
            names.setdefault(group.first_record.data.labels, []).append(group.name)
    sentences = [
        sentence if len(members) == len(groups) else f"{', '.join(members)}: {sentence}"
        for sentence, members in names.items()
    ]
    if any(group.is_agreement and group.asked is not None for group in groups):
        sentences.append("`share` is not judged there: without labels there is no score to keep a share of.")
    return sentences


def describe_reserves(groups: Sequence[Group]) -> list[str]:
    """Say once for the whole sweep what too few seeds or teachers leave open, and what its intervals are about.

    Args:
        groups: groups of a sweep.

    Returns:
        At most one entry for each.
    """
    if comparisons := list_comparisons(groups):
        return list(filter(None, [describe_reserve(comparisons), describe_scope(comparisons)]))
    seeds = [len(method.runs) for group in groups for method in group.methods.values()]
    return [ONE_SEED] if seeds and max(seeds) == 1 else []


def list_comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """List the comparisons of a sweep from which anything can be concluded.

    Args:
        groups: groups of a sweep.

    Returns:
        Those of places whose teachers beat the constant answer.
    """
    comparisons: list[Comparison] = []
    for place in list_places(groups):
        comparisons += place.comparisons if place.is_above_chance else []
    return comparisons


def _summarize_place(place: Compared) -> list[str]:
    """Comparisons with the same method and the same outcome in one sentence."""
    if not place.is_above_chance or len(place.comparisons) == 1:
        return place.describe_comparisons()
    sentences = []
    for alike in _group_by_outcome(place.comparisons):
        names = [comparison.method for comparison in alike]
        text = (
            f"{_capitalize(_join(names))} {_describe_outcome(alike, place.metric_name)} ({_describe_samples(alike)})."
        )
        if alike[0].verdict == "better" and len(alike) > 1 and not _are_compared(place.comparisons, set(names)):
            text += " Which of them is best was not tested."
        sentences.append(text)
    sentences += place.describe_untested()
    return sentences or [NONE_DECLARED]


def _count_tasks(places: Sequence[Compared]) -> list[str]:
    """On how many tasks a method beats another one, with one correction over the comparisons of all tasks."""
    tasks = dict.fromkeys(place.task for place in places)
    if len(tasks) == 1 or len(tasks) < len(places):  # one setting of each task
        return []
    by_pair: dict[tuple[str, str], list[bool]] = {}
    together: list[tuple[Compared, Comparison]] = []
    for place in places:
        together += [(place, comparison) for comparison in place.comparisons]
    p_values = [1.0 if comparison.p is None else comparison.estimate.p for _, comparison in together]
    untested = sum(len(place.untested) for place in places)
    for (place, comparison), p in zip(together, apply_holm(p_values + [1.0] * untested), strict=False):
        beats = comparison.verdict == "better" and p < LEVEL and place.is_above_chance
        by_pair.setdefault((comparison.method, comparison.against), []).append(beats)
    sentences = []
    for (method, against), beats_it in by_pair.items():
        if any(beats_it):
            count = f"{sum(beats_it)} of {len(tasks)} tasks"
            corrected = f"corrected for {len(together) + untested} comparisons"
            sentences.append(f"{_capitalize(method)} beats {against} on {count} ({corrected}).")
    return sentences


def _group_by_outcome(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Comparisons with the same method and the same outcome together."""
    outcomes: dict[tuple[str, Verdict, bool], list[Comparison]] = {}
    for against in dict.fromkeys(comparison.against for comparison in comparisons):
        for verdict, significant in itertools.product(get_args(Verdict), (True, False)):
            outcomes[against, verdict, significant] = []
    for comparison in comparisons:
        outcomes[comparison.against, comparison.verdict, comparison.is_significant].append(comparison)
    return [alike for alike in outcomes.values() if alike]


def _summarize_along(places: Sequence[Compared], key: str) -> list[str]:
    """What each declared comparison shows at the values of the only key that was swept, in one sentence."""
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    values: dict[int, str] = {}  # value of the key by comparison
    for place in places:
        value = place.setting[key]
        for comparison in place.comparisons:
            by_pair.setdefault((comparison.method, comparison.against), []).append(comparison)
            values[id(comparison)] = "null" if value is None else str(value)
    sentences = []
    for (method, _), comparisons in by_pair.items():
        parts = []
        for alike in _group_by_outcome(comparisons):
            settings = ", ".join(values[id(comparison)] for comparison in alike)
            parts.append(f"{_describe_outcome(alike, places[0].metric_name)} with {key}={settings}")
        sentences.append(f"{_capitalize(method)} {'; '.join(parts)} ({_describe_samples(comparisons)}).")
    for place in places:
        sentences += [f"{place.name}: {sentence}" for sentence in place.describe_untested()]
    return sentences or [NONE_DECLARED]


def _describe_outcome(alike: Sequence[Comparison], metric: str) -> str:
    """What comparisons with one method and of one outcome show, as the rest of a sentence."""
    first, is_single = alike[0], len({comparison.method for comparison in alike}) == 1
    differences = [comparison.difference for comparison in alike]
    size = f"{_format_range(list(map(abs, differences)), '.3f')} {metric}"
    signed, margin = f"{_format_range(differences, '+.3f')} {metric}", f"{first.margin or 0:g} {metric}"
    found = _format_range([comparison.detectable or 0.0 for comparison in alike], ".3f")
    rests: dict[Verdict, tuple[str, str]] = {
        "better": ("beats beat", f"{{}} by {size}"),
        "worse": ("is are", f"worse than {{}} by {size}"),
        "few": ("differs differ", f"from {{}} by {signed if first.is_significant else f'less than {margin}'}"),
        "equivalent": ("is are", f"equivalent to {{}} within {margin}"),
        "open": ("shows show", f"no difference from {{}} ({signed}; 80 % of such sweeps would show one of {found})"),
        "rough": ("differs differ", f"from {{}} by roughly {signed}, by an estimate that is not a test"),
        "none": ("allows allow", f"no verdict against {{}} ({signed})"),
        "untested": ("shows show", f"an untested difference from {{}} of {signed}"),
    }
    if first.verdict == "open" and all(comparison.has_same_answers for comparison in alike):
        rests["open"] = ("gives give", "the same answers as {} in every run")
    verbs, rest = rests[first.verdict]
    singular, plural = verbs.split()
    return f"{singular if is_single else plural} {rest.format(first.against)}"


def _contrast_winners(place: Compared) -> list[str]:
    """How near the methods that win are to the teacher, beside the method that they beat."""
    better = [comparison for comparison in place.comparisons if comparison.verdict == "better"]
    if not isinstance(place, Group) or not better or not place.is_above_chance:
        return []
    against = better[0].against
    theirs = place.methods[against]
    ours = [place.methods[comparison.method] for comparison in better if comparison.against == against]
    whose = "Its" if len(ours) == 1 else "Their"
    sentences = []
    if place.teacher is not None and not place.is_agreement:  # else the comparisons have said it
        sentences.append(f"{whose} {_contrast_agreement(ours, theirs)}.")
    distances = [_average_divergence(method.distances, theirs.distances) for method in ours]
    known = [pair for pair in distances if pair is not None]
    if len(known) == len(distances):
        near, far = (_format_range(side, ".3f") for side in zip(*known, strict=True))
        sentences.append(f"{whose} attention differs from the teacher's by {near} nats ({against}: {far}).")
    return [" ".join(sentences)] if sentences else []


def _contrast_agreement(ours: Sequence[Method], theirs: Method) -> str:
    shares = [method.agreement.mean for method in ours if method.agreement is not None]
    assert theirs.agreement is not None
    share = theirs.agreement.mean
    if theirs.right_and_wrong is None:
        correlation = _format_range(shares, ".3f")
        return f"students' scores have a correlation of {correlation} with the teacher's ({theirs.name}: {share:.3f})"
    percent = _format_range([100 * value for value in shares], ".1f")
    return f"students agree with the teacher on {percent} % of the examples ({theirs.name}: {100 * share:.1f} %)"


def _average_divergence(
    ours: Mapping[tuple[int, int], LayerDistance], theirs: Mapping[tuple[int, int], LayerDistance]
) -> tuple[float, float] | None:
    """Means of the attention KL over the layers that both map; None if there are none, or one is infinite."""
    pairs = []
    for layers, distance in ours.items():
        if layers in theirs:
            pairs.append((distance.attention_kl, theirs[layers].attention_kl))
    if not pairs or any(None in pair for pair in pairs):
        return None
    first, second = np.mean(np.array(pairs, float), axis=0)
    return float(first), float(second)


def _describe_samples(alike: Sequence[Comparison]) -> str:
    return "; ".join(dict.fromkeys(comparison.sample for comparison in alike))


def _are_compared(comparisons: Sequence[Comparison], names: set[str]) -> bool:
    """Whether any of these methods were compared with one another."""
    return any({comparison.method, comparison.against} <= names for comparison in comparisons)


def _find_only_key(groups: Sequence[Group]) -> str | None:
    """The one key of the grid, if a sweep has one task."""
    keys = {key for place in list_places(groups) for key in place.setting}
    return next(iter(keys)) if len(keys) == 1 and len({group.task for group in groups}) == 1 else None


def _format_range(values: Sequence[float], form: str) -> str:
    ends = dict.fromkeys(f"{value:{form}}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _join(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
