"""Sweeps over runs whose examples belong together: wider intervals, other gates, and a sentence that says so."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from innerdistill.report.stored_run import FolderRun
from innerdistill.sweep.blocks import Block, write_block
from innerdistill.sweep.mistakes import estimate_kappa
from innerdistill.sweep.shares import compare_with_teacher
from innerdistill.sweep.store import CellRun

SIZE = 10  # examples of a group, one after the other: students are right on the first examples
SENTENCE = "Examples with the same “review” count as one: 140 examples, 14 groups."


@pytest.fixture(scope="module")
def make_sweep(make_finished):
    """Two methods, eight seeds: students that are right on the first examples, with or without groups."""

    def make(*, size=None):
        finished = []
        for seed, accuracy in enumerate((0.8, 0.82, 0.84, 0.8, 0.82, 0.84, 0.8, 0.82)):
            for method, lost in (("sid", 0.0), ("soft", 0.1)):
                changes = {"scores.validation.teacher.above_constant.difference": 0.4}
                if size is not None:
                    changes |= {"data.groups": {"validation": 140 // size}, "recipe.data.group": "review"}
                entry = make_finished(method, seed=seed, accuracy=accuracy - lost, changes=changes)
                if size is not None:
                    add_groups(entry.run.folder / "predictions.parquet", size)
                finished.append(entry)
        return finished

    return make


def add_groups(file, size):
    table = pa.parquet.read_table(file)
    groups = np.zeros(len(table), np.int32)
    is_validation = table["split"].to_numpy() == "validation"
    groups[is_validation] = np.arange(is_validation.sum()) // size
    nothing = pa.array(~is_validation)
    column = pa.compute.if_else(nothing, pa.scalar(None, pa.int32()), pa.array(groups))
    pa.parquet.write_table(table.add_column(3, "group", column), file)


@pytest.fixture(scope="module")
def groups(make_sweep, gather_finished):
    """The runs without groups, with groups of one example, and with groups of ten."""
    gathered = {}
    for size in (None, 1, SIZE):
        (gathered[size],) = gather_finished(make_sweep(size=size), compare=[("sid", "soft")], share=0.5, margin=0.01)
    return gathered


def compute_width(interval):
    return interval[1] - interval[0]


def test_groups_of_one_example_change_no_number(groups):
    plain, alone = (groups[size].comparisons[0] for size in (None, 1))
    assert alone.estimate.p == pytest.approx(plain.estimate.p, rel=1e-9)
    assert alone.interval == pytest.approx(plain.interval, rel=1e-9)
    assert groups[1].rarest_class == groups[None].rarest_class
    assert "140 examples, 140 groups" in groups[1].note and groups[None].note == ""


def test_examples_that_belong_together_make_every_interval_wider(groups):
    plain, together = (groups[size].comparisons[0] for size in (None, SIZE))
    assert together.difference == pytest.approx(plain.difference)
    assert compute_width(together.interval) > 1.3 * compute_width(plain.interval)
    assert together.estimate.p > plain.estimate.p
    assert (together.estimate.examples, plain.estimate.examples) == (14, 140)
    shares = [compare_with_teacher(groups[size], "sid").estimate() for size in (None, SIZE)]
    assert shares[0].share == pytest.approx(shares[1].share)
    assert compute_width(shares[1].interval) > 1.3 * compute_width(shares[0].interval)
    above = [compare_with_teacher(groups[size], "sid").estimate(groups[size].constant_values) for size in (None, SIZE)]
    assert above[0].share == pytest.approx(above[1].share) and above[1].interval != above[0].interval
    kappas = [estimate_kappa(groups[size], "sid")[0] for size in (None, SIZE)]
    assert kappas[0].mean == pytest.approx(kappas[1].mean)
    assert kappas[1].examples == 14 and kappas[1].variance != pytest.approx(kappas[0].variance, rel=0.1)


def test_gates_count_groups(groups):
    assert groups[None].rarest_class > 14 >= groups[SIZE].rarest_class
    plain, together = (groups[size].comparisons[0].estimate for size in (None, SIZE))
    assert plain.different >= SIZE * (together.different - 1) > 0


def test_all_files_of_the_report_say_what_counts_as_one(make_sweep, write_report, tmp_path):
    write_report(tmp_path, make_sweep(size=SIZE), compare=[("sid", "soft")])
    for name in ("report.html", "report.md", "table.tex"):
        assert SENTENCE in " ".join((tmp_path / name).read_text().split()), name
    write_report(tmp_path, make_sweep(), compare=[("sid", "soft")])
    assert "count as one" not in (tmp_path / "report.html").read_text()


def test_runs_in_a_block_have_the_same_intervals(make_sweep, groups, gather_finished, tmp_path):
    finished = make_sweep(size=SIZE)
    names = {f"{entry.cell.method}/seed-{entry.cell.seed}": entry for entry in finished}
    file = tmp_path / "blocks" / "a.jsonl"
    write_block(file, {name: FolderRun(entry.run.folder) for name, entry in names.items()})
    stored = [CellRun(entry.cell, Block(file).find_run(name)) for name, entry in names.items()]
    (group,) = gather_finished(stored, compare=[("sid", "soft")], share=0.5, margin=0.01)
    assert group.comparisons == groups[SIZE].comparisons and SENTENCE in group.note
