"""The sentences that the page of a sweep opens with."""

import re

import numpy as np
from records import MemoryRun, make_answers, make_record, make_scores

from innerdistill.sweep.groups import Group
from innerdistill.sweep.headlines import summarize_sweep
from innerdistill.sweep.methods import COUNTS, Method
from innerdistill.sweep.statistics import compare_pair, correct_comparisons

NOISE = np.array([-2, -1, -1, 0, 0, 1, 1, 2]) / 1000


def run(score, *, selection=0.5, constant=0.3):
    """A run of one seed, by the student's scores."""
    teacher = make_scores(0.8, constant=constant, standard_error=0.01)
    splits, models = {"validation": score, "selection": selection}, {"teacher": 0.8, "student": score}
    distance = {"teacher_layer": 2, "attention_kl": 1 - score, "cls_cosine": 0.1}
    counts = dict.fromkeys(COUNTS, 0)
    record = make_record(
        scores={split: {"teacher": teacher, "student": make_scores(value)} for split, value in splits.items()},
        agreement={"validation": {"equal_predictions": score, **counts}},
        distances={"before": {}, "after": {1: distance}},
    )
    logits = {name: np.eye(2)[make_answers(accuracy).predictions[0]] for name, accuracy in models.items()}
    return MemoryRun(record, {"label": np.arange(1000) % 2, **logits})


def group(setting=None, name="", *, task="", selection=None, constant=0.3, **scores):
    """Methods by their mean scores, over eight seeds; scores on selection by method."""
    methods = {}
    for method, mean in scores.items():
        on_selection = (selection or {}).get(method, 0.5)
        runs = enumerate(mean + NOISE * (1 + len(method)))
        methods[method] = Method(
            method, {seed: run(score, selection=on_selection, constant=constant) for seed, score in runs}
        )
    return Group(name, task, setting or {}, methods=methods)


def compare(place, *pairs, margin=None):
    comparisons = []
    for pair in pairs:
        scores = (place.methods[name].score("accuracy").values for name in pair)
        answers = (list(map(make_answers, values)) for values in scores)
        comparisons.append(compare_pair(*pair, *answers, metric="accuracy", margin=margin))
    place.comparisons = correct_comparisons(comparisons)
    return place


def test_methods_with_the_same_outcome_share_a_sentence():
    place = group(soft=0.5, sid=0.55, pid=0.54, none=0.501)
    sentences = summarize_sweep([compare(place, ("sid", "soft"), ("pid", "soft"), ("none", "soft"))])
    assert sentences[0] == (
        "Sid and pid beat soft by 0.040 to 0.050 accuracy (8 seeds, one teacher). Which of them is best was not tested."
    )
    found = place.comparisons[2].detectable
    assert sentences[1] == (
        f"None shows no difference from soft (+0.001 accuracy; 80 % of such sweeps would show one of {found:.3f}) (8 "
        "seeds, one teacher)."
    )
    assert sentences[2].startswith("Intervals and tests are about other seeds and other examples. They do not cover")
    assert sentences[3] == (
        "Their students agree with the teacher on 54.0 to 55.0 % of the examples (soft: 50.0 %). Their attention differs "
        "from the teacher's by 0.450 to 0.460 nats (soft: 0.500)."
    )
    between = summarize_sweep([compare(place, ("sid", "soft"), ("pid", "soft"), ("sid", "pid"))])
    assert not any("was not tested" in sentence for sentence in between)


def test_one_comparison_is_said_with_its_numbers_and_chance_concludes_nothing():
    place = compare(group(soft=0.5, sid=0.55), ("sid", "soft"))
    assert summarize_sweep([place])[0].startswith("sid beats soft by 0.050 accuracy (95 % interval +0.0")
    by_chance = compare(group(soft=0.5, sid=0.55, constant=0.79), ("sid", "soft"))
    assert summarize_sweep([by_chance]) == by_chance.describe_comparisons()
    assert "nothing is concluded" in summarize_sweep([by_chance])[0]


def test_a_count_of_tasks_is_corrected_over_all_of_them():
    """A lead that is shown on each of ten tasks alone, but not as one of eleven comparisons, does not count."""
    clear = compare(group(name="a", task="a", soft=0.5, sid=0.55), ("sid", "soft"))
    weak = [compare(group(name=name, task=name, soft=0.5, sid=0.502), ("sid", "soft")) for name in "bcdefghijk"]
    assert {place.comparisons[0].verdict for place in weak} == {"better"} and weak[0].comparisons[0].p > 0.05 / 10
    sentences = summarize_sweep([clear, *weak])
    assert "Sid beats soft on 1 of 11 tasks (corrected for 11 comparisons)." in sentences
    by_chance = compare(group(name="d", task="d", soft=0.5, sid=0.55, constant=0.79), ("sid", "soft"))
    assert "Sid beats soft on 1 of 2 tasks (corrected for 2 comparisons)." in summarize_sweep([clear, by_chance])
    assert not any("tasks" in sentence for sentence in summarize_sweep([clear]))


def test_every_outcome_is_a_sentence():
    """With five seeds, the same answers, a collapsed run, too few different answers, and seeds shared by teachers."""
    place = group(soft=0.5, sid=0.55)
    soft, sid = [make_answers(0.5)] * 5, [make_answers(0.55)] * 5
    collapsed = make_answers(0.5)
    collapsed.predictions[:] = 1
    shared = {"over": "teachers", "are_seeds_shared": True, "runs": (2, 2)}
    of_two = [[make_answers(score, score + 0.01)] * 5 for score in (0.55, 0.5)]
    outcomes = {
        "Sid differs from soft by +0.050 accuracy (": compare_pair("sid", "soft", sid, soft, metric="accuracy"),
        "Pid differs from soft by less than 0.05": compare_pair(
            "pid", "soft", soft, soft, metric="accuracy", margin=0.05
        ),
        "All gives the same answers as soft in every run (": compare_pair("all", "soft", soft, soft, metric="accuracy"),
        "None allows no verdict against soft (": compare_pair("none", "soft", [collapsed] * 5, soft, metric="accuracy"),
        "Two differs from soft by roughly +": compare_pair("two", "soft", *of_two, metric="accuracy", **shared),
        "One shows an untested": compare_pair("one", "soft", sid[:3], soft[:3], metric="accuracy"),
    }
    place.comparisons = correct_comparisons(list(outcomes.values()))
    sentences = summarize_sweep([place])
    for beginning in outcomes:
        assert sum(sentence.startswith(beginning) for sentence in sentences) == 1, beginning


def test_without_runs_or_comparisons_the_page_says_so():
    assert summarize_sweep([]) == ["No cell has run yet."]
    assert summarize_sweep([group(soft=0.5)]) == [
        "No comparison of these methods was declared. Their differences are exploratory."
    ]


def test_along_one_key_the_values_share_a_sentence_and_the_smallest_size_is_named():
    key, groups = "student.num_layers", []
    for layers, sid, selection in ((1, 0.5, 0.70), (2, 0.55, 0.795), (3, 0.56, 0.80), (4, 0.85, 0.79)):
        place = group({key: layers}, f"{key}={layers}", selection={"sid": selection}, soft=0.5, sid=sid)
        groups.append(compare(place, ("sid", "soft")))
    first, *_, smallest, at_its_best = summarize_sweep(groups)
    assert first.startswith(
        f"Sid beats soft by 0.050 to 0.350 accuracy with {key}=2, 3, 4; shows no difference from soft"
    )
    assert f"with {key}=1 (8 seeds, one teacher)." in first
    assert re.search(r"sid with 2 layers. It keeps 68.8 % \(6\d.\d % ... 7\d.\d %\) of the teacher's", smallest)
    assert at_its_best == (
        "With the teacher's 4 layers, sid scores 0.850 and the teacher 0.800 ± 0.010 (not tested). A better teacher of "
        "this size may exist."
    )
