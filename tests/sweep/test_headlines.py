"""What the page of a sweep opens with, and comparisons over teachers."""

import copy
import re
import shutil
import warnings

import numpy as np
import pytest
from scipy import stats

from innerdistill import distill
from innerdistill.report.run_folder import read_run
from innerdistill.support.files import write_json
from innerdistill.sweep.figures import differences
from innerdistill.sweep.gather import gather
from innerdistill.sweep.groups import Group, places
from innerdistill.sweep.headlines import answers
from innerdistill.sweep.methods import Method
from innerdistill.sweep.report import write_sweep_report
from innerdistill.sweep.statistics import compare_pair, corrected

NOISE = np.linspace(-0.002, 0.002, 8)


def run(score, *, selection=0.5, constant=0.3, layers=2):
    """As much of a run.json as answers are made of."""
    teacher = {"accuracy": 0.8, "metric": "accuracy", "constant": constant, "standard_error": 0.01}
    return {
        "data": {"metric": "accuracy", "names": ["no", "yes"]},
        "scores": {
            "validation": {"teacher": teacher, "student": {"accuracy": score}},
            "selection": {"teacher": teacher, "student": {"accuracy": selection}},
        },
        "agreement": {"validation": {"equal_predictions": score}},
        "distances": {"after": {"1": {"teacher_layer": 2, "attention_kl": 1 - score, "cls_cosine": 0.1}}},
        "teacher": {"layers": 4},
        "student": {"layers": layers},
    }


def group(setting=None, name="", **scores):
    """Methods by their mean scores, over eight seeds."""
    methods = {
        method: Method(method, {seed: run(mean + noise) for seed, noise in enumerate(NOISE * (1 + len(method)))})
        for method, mean in scores.items()
    }
    return Group(name, "", setting or {}, methods=methods)


def compare(place, *pairs, margin=None):
    place.comparisons = corrected(
        [
            compare_pair(a, b, *(place.methods[name].score("accuracy").values for name in (a, b)), margin=margin)
            for a, b in pairs
        ]
    )
    return place


def test_methods_with_the_same_outcome_share_a_sentence():
    made = group(soft=0.5, sid=0.55, pid=0.54, none=0.5)
    said = answers([compare(made, ("sid", "soft"), ("pid", "soft"), ("none", "soft"))])
    assert said[0] == (
        "Sid and pid beat soft by 0.040 to 0.050 accuracy (8 seeds, for this one teacher). Which of them is best was "
        "not tested."
    )
    assert said[1] == "None shows no difference from soft (+0.000 accuracy) (8 seeds, for this one teacher)."
    assert said[2].startswith("Their students") and "(soft: 0.500)" in said[2]
    between = answers([compare(made, ("sid", "soft"), ("pid", "soft"), ("sid", "pid"))])
    assert not any("was not tested" in sentence for sentence in between)


def test_one_comparison_is_said_with_its_numbers_and_chance_concludes_nothing():
    made = compare(group(soft=0.5, sid=0.55), ("sid", "soft"))
    assert answers([made])[0].startswith("sid beats soft by 0.050 accuracy (p < 0.001 after Holm, 8 seeds")
    for method in made.methods.values():
        for one in method.runs.values():
            one["scores"]["validation"]["teacher"]["constant"] = 0.79
    assert answers([made]) == made.sentences() and "nothing is concluded" in answers([made])[0]
    assert answers([]) == ["No cell has run yet."]
    assert answers([group(soft=0.5)]) == ["No comparison was declared for these methods; differences are exploratory."]


def test_along_one_key_the_values_share_a_sentence_and_the_smallest_size_is_named():
    key, made = "student.num_layers", []
    for layers, sid, selection in ((1, 0.5, 0.70), (2, 0.55, 0.795), (3, 0.56, 0.80), (4, 0.85, 0.79)):
        one = compare(group({key: layers}, f"{key}={layers}", soft=0.5, sid=sid), ("sid", "soft"))
        for made_run in one.methods["sid"].runs.values():
            made_run["scores"]["selection"]["student"]["accuracy"] = selection
        made.append(one)
    first, *_, smallest, at_its_best = answers(made)
    assert first.startswith(
        f"Sid beats soft by 0.050 to 0.350 accuracy with {key}=2, 3, 4; shows no difference from soft"
    )
    assert f"with {key}=1 (8 seeds, for this one teacher)." in first
    assert "has 2 layers, by sid; it keeps 68.8 % of the teacher's" in smallest
    assert at_its_best == (
        "With the teacher's 4 layers sid scores 0.850, the teacher 0.800 ± 0.010 (not tested): it may not be the best of "
        "its size."
    )


@pytest.fixture(scope="module")
def of_teachers(recipe, teacher_folder, make_cell, tmp_path_factory):
    """Six teachers, two methods, two seeds of each: one real run whose scores are moved."""
    root = tmp_path_factory.mktemp("teachers")
    content = recipe(root / "run", student={"num_layers": 2})
    content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"]}
    made, cells = distill(content), []
    for teacher in range(1, 7):
        for method in ("soft", "sid"):
            for seed in (1, 2):
                folder = shutil.copytree(made, root / f"{len(cells)}")
                facts = copy.deepcopy(read_run(made))
                facts["recipe"]["teacher"] |= {"seed": teacher, "path": None, "base": "a model"}
                facts["teacher"]["fingerprint"] = f"of seed {teacher}"
                more = 0.1 + 0.01 * teacher + 0.02 * seed if method == "sid" else 0.0
                facts["scores"]["validation"]["student"]["accuracy"] = 0.5 + more
                write_json(folder / "run.json", facts)
                cells.append(make_cell(method, {"teacher.seed": teacher}, seed, folder))
    return cells


def test_over_teachers_the_mean_of_each_ones_students_is_the_unit(of_teachers, make_cell, sweep_of, tmp_path):
    sweep = sweep_of(of_teachers, compare=[("sid", "soft")], output=tmp_path)
    groups = gather(sweep, of_teachers)
    (place,) = places(groups)
    (found,) = place.comparisons
    wanted = [0.1 + 0.01 * teacher + 0.03 for teacher in range(1, 7)]
    assert found.differences == pytest.approx(wanted) and found.over == "teachers"
    assert found.p == pytest.approx(stats.ttest_1samp(wanted, 0).pvalue)
    assert found.sample == "6 teachers, 2 students of each" and found.interval is not None
    assert all(not group.comparisons for group in groups)
    again = copy.deepcopy(read_run(of_teachers[0].folder))
    write_json(tmp_path / "run.json", again)
    twice = [*of_teachers, make_cell("sid", {"teacher.seed": 7}, 1, tmp_path)]
    with pytest.raises(ValueError, match=r"seed=1 and teacher\.seed=7 have the same teacher"):
        gather(sweep_of(twice, compare=[("sid", "soft")]), twice)
    (fewer,) = places(gather(sweep, of_teachers[:12]))
    assert fewer.comparisons[0].sentence("accuracy").endswith("Only 3 of 6 teachers are there: preliminary.")
    write_sweep_report(sweep, of_teachers)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "6 teachers, 2 students of each" in text and "Score against teacher.seed" not in page
    assert page.count("Attention explorer") == 1  # of the first teacher


def test_with_too_few_teachers_for_an_interval_the_seed_is_the_unit(of_teachers, sweep_of):
    for cells in (of_teachers[:4], of_teachers[:8]):
        groups = gather(sweep_of(cells, compare=[("sid", "soft")]), cells)
        assert places(groups) == groups and groups[0].comparisons[0].over == "seeds"


def test_names_of_any_length_leave_the_figure_its_width():
    made = [group({"a": n}, f"task, {'long ' * 30}, a={n}", soft=0.5, sid=0.55) for n in range(3)]
    for one in made:
        compare(one, ("sid", "soft"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where no layout is found
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', differences(made))
    assert float(box[1]) == 5 * 72 and float(box[2]) > 300
