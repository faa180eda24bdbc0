"""Blocks run alone, on any machine, and those of several machines are put together."""

import json
import re
import shutil

import pytest

from innerdistill.cli.main import main
from innerdistill.sweep.blocks import Block
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.sweep import run_sweep

# What differs between a run on one machine and the same run on another: times and places.
TIMES = ("seconds", "cpu_seconds", "latency_ms", "finished")
PLACES = ("machine", "git_revision", "recipe.output", "recipe.teacher.folder", "teacher.path")


@pytest.fixture
def nothing_runs(monkeypatch):
    """Cells that are missing when a sweep would run them."""
    missing = []
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda cells, *_, **__: missing.extend(cells))
    return missing


@pytest.fixture
def write_teachers(write_sweep, base_folder, tmp_path):
    """Write a sweep over the teachers 1 and 2 with two students each, into a folder by name; changes by key."""

    def write(folder, **changes):
        base = {"base": str(base_folder)}
        return write_sweep(teacher=base, teachers=[1, 2], seeds=[1, 2], output=str(tmp_path / folder), **changes)

    return write


@pytest.fixture
def run_block(write_teachers, fill_cells, nothing_runs):
    """Run one teacher's cells on a machine of its own: they are filled, not trained; other facts of run.json by key."""

    def run(folder, teacher, facts=None, **changes):
        sweep = load_sweep(write_teachers(folder, **changes))
        cells = [cell for cell in plan_cells(sweep) if cell.recipe.teacher.seed == teacher]
        fill_cells(sweep, cells, {"teacher.fingerprint": f"of seed {teacher}", **(facts or {})})
        run_sweep(sweep, blocks=[teacher])
        shutil.rmtree(sweep.folder / cells[0].folder.relative_to(sweep.folder).parts[0])
        return sweep.folder

    return run


def test_a_block_runs_only_the_cells_of_its_teacher(write_teachers, nothing_runs, fill_cells):
    sweep = load_sweep(write_teachers("alone", tasks={"a": {}, "b": {}}))
    run_sweep(sweep, blocks=[2])
    assert [cell for cell in plan_cells(sweep) if cell.recipe.teacher.seed == 2] == nothing_runs
    assert {cell.task for cell in nothing_runs} == {"a", "b"}
    fill_cells(sweep, nothing_runs, {"teacher.fingerprint": "two"})
    run_sweep(sweep, blocks=[2])
    names = sorted(path.name for path in (sweep.folder / "blocks").glob("*.jsonl"))
    assert names == ["a,teacher.seed=2.jsonl", "b,teacher.seed=2.jsonl"]
    for page in ("report.md", "report.html"):
        assert "1 of 2 declared teachers have run with all their students." in (sweep.folder / page).read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--block", "7"], "--block: the sweep has no teacher with seed 7; its teachers have 1, 2."),
        (["--block", "tuning"], "--block: the sweep has no block tuning, since it has no key `tune`."),
        (["--gather", "{tmp}/nowhere"], "--gather: {tmp}/nowhere/blocks has no blocks (*.jsonl)"),
    ],
)
def test_parts_that_are_not_there(write_teachers, tmp_path, capsys, options, message):
    assert main(["sweep", str(write_teachers("sweep")), *(option.format(tmp=tmp_path) for option in options)]) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_a_teacher_of_ones_own_makes_one_block(write_sweep, capsys):
    assert main(["sweep", str(write_sweep()), "--block", "1"]) == 2
    assert "--block: teacher.path is one teacher, so the sweep is one block" in capsys.readouterr().err


def test_blocks_of_two_machines_are_gathered_with_one_command(run_block, write_teachers, tmp_path, capsys):
    machines = [str(run_block(f"machine-{teacher}", teacher)) for teacher in (1, 2)]
    together = str(write_teachers("together"))
    assert main(["sweep", together, "--gather", machines[1]]) == 0
    report = tmp_path / "together" / "report.md"
    assert "Not finished: 4 of 8 cells have not run." in report.read_text()
    assert main(["sweep", together, "--gather", *machines, machines[0]]) == 0
    assert "Gathered: teacher.seed=1.jsonl." in capsys.readouterr().out
    assert "All 2 declared teachers have run." in report.read_text()
    for teacher in (1, 2):
        for ending in ("jsonl", "parquet"):
            name = f"blocks/teacher.seed={teacher}.{ending}"
            copied = (tmp_path / "together" / name).read_bytes()
            assert copied == (tmp_path / f"machine-{teacher}" / name).read_bytes()
    assert main(["sweep", together, "--gather", f"{machines[0]}/blocks"]) == 0
    assert "Gathered: nothing new." in capsys.readouterr().out


REFUSED = [
    ({"facts": {"versions.torch": "1.0"}}, r"seed=2\.jsonl \(.*\) and .*seed=1\.jsonl \(.*\) differ in "
     r"versions \(torch 1\.0 and \d.*\)"),
    ({"facts": {"data.fingerprint": "another"}}, r"seed=2\.jsonl .*differ in data \(another and [0-9a-f]{12}\)"),
    ({"facts": {"student.start": "another"}, "teacher": 1},
     r"machine-2/blocks/teacher\.seed=1\.jsonl and .*machine-1/blocks/teacher\.seed=1\.jsonl hold different runs;"),
    ({"changes": {"methods": {"soft labels": {"schedule.name": "soft_labels"}, "sid": {"temperature": 2}}}},
     r"seed=2\.jsonl \(teacher\.seed=2/sid/seed-\d+\) has another recipe than this sweep; they differ in temperature \(2\.0, now 1\.0\)\."),
    ({"changes": {"methods": {"a": {}, "b": {}}, "compare": []}}, r"seed=2\.jsonl holds no run of this sweep; its first "),
]  # fmt: skip


@pytest.mark.parametrize(("other", "message"), REFUSED)
def test_blocks_that_do_not_belong_together_are_refused_by_name(
    run_block, write_teachers, tmp_path, capsys, other, message
):
    machines = [run_block("machine-1", 1)]
    machines.append(run_block("machine-2", other.get("teacher", 2), other.get("facts"), **other.get("changes", {})))
    assert main(["sweep", str(write_teachers("together")), "--gather", *map(str, machines)]) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "together").exists()


def test_a_block_of_an_earlier_recipe_is_named_on_the_page(run_block, write_teachers, caplog):
    folder = run_block("machine", 1)
    sweep = load_sweep(write_teachers("machine"), overrides=["recipe.temperature=2"])
    run_sweep(sweep)
    sentence = (
        r"teacher\.seed=1\.jsonl \(.*\) counts as not run, since its recipe differs: temperature \(1\.0, now 2\.0\)"
    )
    assert re.search(sentence, caplog.text)
    assert "counts as not run, since its recipe differs: temperature" in (folder / "report.html").read_text()


def drop_times_and_places(value, place=""):
    """A part of a record without what differs between machines."""
    if isinstance(value, list):
        return [drop_times_and_places(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, part in value.items():
        dotted = f"{place}.{key}".removeprefix(".")
        if key not in TIMES and dotted not in PLACES:
            kept[key] = drop_times_and_places(part, dotted)
    return kept


@pytest.mark.slow  # cells are processes of their own
def test_a_block_run_alone_is_identical_to_the_byte(write_teachers, fast_start, tmp_path):
    """To the one that the whole sweep writes, with a teacher of its own too."""
    methods = {"methods": {"sid": {"schedule.name": "sid"}}, "compare": []}
    for folder, options in (("whole", []), ("alone", ["--block", "2"])):
        path = write_teachers(folder, **methods)
        cache = f"recipe.teacher.folder={tmp_path / folder}-teachers"
        assert (
            main(["sweep", str(path), cache, "recipe.teacher.epochs=1", "recipe.teacher.allow_weak=true", *options])
            == 0
        )
    whole, alone = (Block(tmp_path / folder / "blocks" / "teacher.seed=2.jsonl") for folder in ("whole", "alone"))
    assert not (tmp_path / "alone" / "blocks" / "teacher.seed=1.jsonl").exists()
    assert alone.predictions.read_bytes() == whole.predictions.read_bytes()
    assert list(alone.lines) == list(whole.lines)
    for ours, theirs in zip(alone.lines.values(), whole.lines.values(), strict=True):
        assert ours["checksum"] == theirs["checksum"] and ours["teacher"] == theirs["teacher"] == "teacher"
        assert drop_times_and_places(ours["record"]) == drop_times_and_places(theirs["record"])
        assert json.dumps(ours["record"]) != json.dumps(theirs["record"])
