"""The table of declared comparisons."""

import numpy as np
from records import MemoryRun, make_answers, make_record

from innerdistill.sweep.comparison_table import build_comparisons
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import Method
from innerdistill.sweep.statistics import compare_pair, correct_comparisons

NOISE = np.array([-2, -1, -1, 0, 0, 1, 1, 2]) / 1000


def build(*pairs, margin=None):
    """The table of comparisons of two methods by their accuracies over seeds, declared together."""
    comparisons = []
    for first, second in pairs:
        answers = (list(map(make_answers, scores)) for scores in (first, second))
        comparisons.append(compare_pair("a", "b", *answers, metric="accuracy", margin=margin))
    methods = {"a": Method("a", {1: MemoryRun(make_record())})}
    return build_comparisons([Group("", "", {}, methods=methods, comparisons=correct_comparisons(comparisons))])


def test_outcomes_say_what_was_shown_and_what_is_claimed():
    high, low, few, apart = 0.6 + NOISE, 0.5 + NOISE, slice(0, 5), 5 * NOISE
    table = build(
        (high, low), (high[few], low[few]), (low[few], high[few]), (high[:4], low[:4]), (low + apart, low - apart)
    )
    column = table.header.index("outcome")
    assert [row[column] for row in table.rows] == [
        "better",
        "higher, no claim below 8",
        "lower, no claim below 8",
        "not tested",
        "no difference shown",
    ]
    assert build((low[few], low[few] + 0.001), margin=0.1).rows[0][-1] == "within 0.1, no claim below 8"


def test_no_difference_has_a_column_of_its_own():
    """Where nothing of the kind is there, the column is left out."""
    apart = 5 * NOISE
    shown, both = build((0.6 + NOISE, 0.5 + NOISE)), build((0.6 + NOISE, 0.5 + NOISE), (0.5 + apart, 0.5 - apart))
    assert "found in 80 %" not in shown.header and "80 %" not in shown.note
    column = [row[both.header.index("found in 80 %")] for row in both.rows]
    assert column[0] == "" and float(column[1]) > 0 and "80 % of such sweeps" in both.note
