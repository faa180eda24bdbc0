"""The answer of a sweep in a few sentences, which its page opens with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from innerdistill.sweep.groups import Compared, Group, places
from innerdistill.sweep.sizes import swept_numbers
from innerdistill.sweep.statistics import FEWEST_FOR_CLAIM, FEWEST_FOR_INTERVAL, Comparison, Verdict

NONE_DECLARED = "No comparison was declared for these methods; differences are exploratory."


def answers(groups: Sequence[Group]) -> list[str]:
    """What was asked, answered: which method wins and by how much, what sets it apart, and how small a student can be.

    Args:
        groups: of a sweep.

    Returns:
        Sentences; every declared comparison has one of its own in `Compared.sentences`.
    """
    if not groups:
        return ["No cell has run yet."]
    found, key = places(groups), _only_key(groups)
    if len(found) == 1:
        said = [*_of_place(found[0]), *_apart(found[0])]
    elif key is not None and all(place.is_above_chance for place in found):
        said = _along(found, key)
    else:
        said = [f"{place.name}: {sentence}" for place in found for sentence in _of_place(place)]
    return said + [sentence for swept in swept_numbers(groups) for sentence in swept.smallest()]


def _of_place(place: Compared) -> list[str]:
    """Comparisons with the same method and the same outcome in one sentence."""
    if not place.is_above_chance or len(place.comparisons) == 1:
        return place.sentences()
    made = place.comparisons
    said = []
    for against in dict.fromkeys(comparison.against for comparison in made):
        for verdict in get_args(Verdict):
            alike = [one for one in made if (one.against, one.verdict) == (against, verdict)]
            if alike:
                names = _listed([one.method for one in alike])
                said.append(f"{_capital(names)} {_found(alike, place.metric)} ({_samples(alike)}).")
                if verdict == "better" and len(alike) > 1 and not _among(made, {one.method for one in alike}):
                    said[-1] += " Which of them is best was not tested."
    return [*(said + place.not_run() or [NONE_DECLARED]), *_reserves(made)]


def _along(found: Sequence[Compared], key: str) -> list[str]:
    """What one declared comparison finds at each value of the only key that was swept."""
    said = []
    every = [comparison for place in found for comparison in place.comparisons]
    for pair in dict.fromkeys((one.method, one.against) for one in every):
        parts = []
        having = [(place, one) for place in found for one in place.comparisons if (one.method, one.against) == pair]
        for verdict in get_args(Verdict):
            alike = [(place.setting[key], one) for place, one in having if one.verdict == verdict]
            if alike:
                values = ", ".join("null" if value is None else str(value) for value, _ in alike)
                parts.append(f"{_found([one for _, one in alike], found[0].metric)} with {key}={values}")
        said.append(f"{_capital(pair[0])} {'; '.join(parts)} ({_samples([one for _, one in having])}).")
    said += [f"{place.name}: {sentence}" for place in found for sentence in place.not_run()]
    return [*(said or [NONE_DECLARED]), *_reserves(every)]


def _found(alike: Sequence[Comparison], metric: str) -> str:
    """What comparisons with one method and of one outcome found, as the rest of a sentence."""
    against, margin = alike[0].against, alike[0].margin
    one = len({comparison.method for comparison in alike}) == 1
    signed, size = (_range([one.difference for one in alike], form) for form in ("+.3f", ".3f"))
    match alike[0].verdict:
        case "better":
            return f"{'beats' if one else 'beat'} {against} by {size} {metric}"
        case "worse":
            size = _range([abs(one.difference) for one in alike], ".3f")
            return f"{'is' if one else 'are'} worse than {against} by {size} {metric}"
        case "here":
            verb = "differs" if one else "differ"
            return f"{verb} from {against} by {signed} {metric} on these examples, which is not shown for others"
        case "equivalent":
            return f"{'is' if one else 'are'} equivalent to {against} within {margin:g} {metric}"
        case "open":
            return f"{'shows' if one else 'show'} no difference from {against} ({signed} {metric})"
    few = f"intervals need at least {FEWEST_FOR_INTERVAL} {alike[0].over}"
    return f"{'scores' if one else 'score'} {signed} {metric} beside {against}, which was not tested: {few}"


def _apart(place: Compared) -> list[str]:
    """How near the methods that win are to the teacher, beside the method that they beat."""
    better = [one for one in place.comparisons if one.verdict == "better"]
    if not isinstance(place, Group) or not better or not place.is_above_chance:
        return []
    against = better[0].against
    theirs = place.methods[against]
    ours = [place.methods[one.method] for one in better if one.against == against]
    form = "of the rows" if theirs.right_and_wrong is not None else "correlation"
    shares = [method.agreement.mean for method in ours]
    if theirs.right_and_wrong is not None:
        said = (
            f"answer as the teacher on {_percent(shares)} % {form} ({against}: {_percent([theirs.agreement.mean])} %)"
        )
    else:
        said = f"correlate with the teacher by {_range(shares, '.3f')} ({against}: {theirs.agreement.mean:.3f})"
    distances = [_attention_kl(method.distances, theirs.distances) for method in ours]
    if (known := [pair for pair in distances if pair is not None]) and len(known) == len(distances):
        near, far = ([pair[side] for pair in known] for side in (0, 1))
        said += f"; their attention is {_range(near, '.3f')} nats from the teacher's ({against}: {_range(far, '.3f')})"
    return [f"{'Its' if len(ours) == 1 else 'Their'} students {said}."]


def _attention_kl(ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Means over the layers that both map; None if there are none, or one is infinite."""
    pairs = [(ours[pair]["attention_kl"], theirs[pair]["attention_kl"]) for pair in ours if pair in theirs]
    if not pairs or any(None in pair for pair in pairs):
        return None
    first, second = np.mean(pairs, axis=0)
    return float(first), float(second)


def _samples(alike: Sequence[Comparison]) -> str:
    return "; ".join(dict.fromkeys(one.sample for one in alike))


def _reserves(made: Sequence[Comparison]) -> list[str]:
    """What has to be kept in mind: few units, or units that are still missing."""
    said = []
    claims = [one for one in made if one.verdict not in ("open", "untested")]
    if any(one.units < FEWEST_FOR_CLAIM for one in claims):
        said.append(f"A claim needs {FEWEST_FOR_CLAIM} {made[0].over}.")
    if missing := [one for one in made if one.units < one.declared]:
        least = min(one.units for one in missing)
        said.append(f"Only {least} of {missing[0].declared} {made[0].over} are there: preliminary.")
    return [" ".join(said)] if said else []


def _among(made: Sequence[Comparison], names: set[str]) -> bool:
    """Whether any of these methods were compared with one another."""
    return any({one.method, one.against} <= names for one in made)


def _only_key(groups: Sequence[Group]) -> str | None:
    """The one key of the grid, if a sweep has one task."""
    keys = {key for place in places(groups) for key in place.setting}
    return next(iter(keys)) if len(keys) == 1 and len({group.task for group in groups}) == 1 else None


def _range(values: Sequence[float], form: str) -> str:
    ends = dict.fromkeys(f"{value:{form}}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _percent(shares: Sequence[float]) -> str:
    return _range([100 * share for share in shares], ".1f")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
