"""What `run_sweep` returns, and a sweep as a mapping."""

import re
from pathlib import Path

import pytest

from innerdistill.recipe.yaml import read_yaml
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.sweep import run_sweep


def test_a_mapping_is_the_sweep_of_its_file(write_sweep):
    path = write_sweep()
    content = read_yaml(path)
    assert load_sweep(content) == load_sweep(path)
    with pytest.raises(ValueError, match=r"^sweep: unknown key 'metods'. Did you mean 'methods'\?"):
        load_sweep({**content, "metods": {}})


def test_a_notebook_shows_answers_scores_and_failures(write_sweep, fill_cells, monkeypatch):
    methods = {"a <b>": {"schedule.name": "sid"}, "soft labels": {"schedule.name": "soft_labels"}, "late": {}}
    sweep = load_sweep(write_sweep(methods=methods, compare=[["a <b>", "soft labels"]]))
    *finished, last = plan_cells(sweep)
    fill_cells(sweep, finished)

    def fail(missing, failed, **_):
        failed[last.folder] = "no <memory>"

    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", fail)
    results = run_sweep(sweep)
    shown = results._repr_html_()
    assert all(f"<p>{answer.replace('<', '&lt;').replace('>', '&gt;')}</p>" in shown for answer in results.answers)
    assert "<td>a &lt;b&gt;</td>" in shown and "<td>soft labels</td>" in shown and "no &lt;memory&gt;" in shown
    assert "<b>" not in shown and "<memory>" not in shown
    assert [list(group.methods) for group in results.groups] == [["a <b>", "soft labels"]]
    assert results.failed == {last.folder: "no <memory>"}
    assert Path(results.report()).is_file() and "<iframe" in results.report()._repr_html_()


def test_the_example_of_the_guide_is_a_sweep():
    page = (Path(__file__).parents[2] / "docs/how-to/python.md").read_text()
    (example,) = (code for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "load_sweep" in code)
    given = {}
    exec(example.partition("results = ")[0], given)
    assert len(plan_cells(given["sweep"])) == 16
