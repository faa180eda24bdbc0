"""Tuning: every method tries the same values on the selection split, and its other runs have the best one."""

import shutil

import pytest

from innerdistill.cli.main import main
from innerdistill.sweep.grid import load_sweep, plan_tuning_cells
from innerdistill.sweep.plan import plan_sweep
from innerdistill.sweep.sweep import report_on, run_sweep
from innerdistill.sweep.tuning import plan_sweep_cells

RATES = [0.001, 0.002, 0.004]
# Scores on selection by method and value, over the seeds 101, 102 and 103. The means of sid are .7, .8 and .8.
SCORES = {
    "soft labels": [(0.5, 0.6, 0.7), (0.5, 0.5, 0.5), (0.6, 0.7, 0.8)],
    "sid": [(0.7, 0.7, 0.7), (0.7, 0.8, 0.9), (0.9, 0.8, 0.7)],
}


@pytest.fixture
def nothing_runs(monkeypatch):
    """Cells that are missing when a sweep would run them, one list for each round."""
    rounds = []
    monkeypatch.setattr("innerdistill.sweep.sweep.run_cells", lambda cells, *_, **__: rounds.append(list(cells)))
    return rounds


@pytest.fixture
def write_tuned(write_sweep, base_folder):
    """Write a sweep over two teachers that tunes the learning rate; changes of `tune`, and of the sweep, by key."""

    def write(tune=None, **changes):
        tuning = {"grid": {"trainer.learning_rate": RATES}, "seeds": [101, 102, 103], "teacher": 100}
        teacher = {"base": str(base_folder), "trainer": {"learning_rate": 0.002}}
        return write_sweep(**{"teacher": teacher, "teachers": [1, 2], "tune": {**tuning, **(tune or {})}, **changes})

    return write


@pytest.fixture
def fill_tuning(fill_cells):
    """Give the tuning runs of a sweep the scores of SCORES, for the methods and seeds that it has."""

    def fill(sweep, scores=SCORES):
        for cell in plan_tuning_cells(sweep):
            by_seed = scores[cell.method][RATES.index(cell.setting["trainer.learning_rate"])]
            score = by_seed[sweep.tune.seeds.index(cell.seed)]
            facts = {"scores.selection.student.accuracy": score, "teacher.fingerprint": "of tuning"}
            fill_cells(sweep, [cell], facts)

    return fill


def test_every_method_tries_every_value_with_every_tuning_seed(write_tuned):
    sweep = load_sweep(write_tuned({"recipe": {"schedule": {"total_steps": 4}}}, tasks={"a": {}, "b": {}}))
    cells = plan_tuning_cells(sweep)
    assert len(cells) == 2 * 2 * 3 * 3 == len({cell.folder for cell in cells})
    for cell in cells:
        recipe = cell.recipe
        assert (recipe.teacher.seed, recipe.schedule.total_steps) == (100, 4)
        assert recipe.trainer["learning_rate"] == cell.setting["trainer.learning_rate"]
        assert recipe.teacher.trainer == {"learning_rate": 0.002} and recipe.seed == cell.seed in {101, 102, 103}
    assert cells[0].folder == sweep.folder / "tuning/a/trainer.learning_rate=0.001/soft-labels/seed-101"
    planned = plan_sweep_cells(sweep)
    assert not planned.is_tuned and len(planned.cells) == 2 * 2 * 2
    assert {cell.recipe.schedule.total_steps for cell in planned.cells} == {8}


def test_tuning_runs_come_first_and_their_best_values_reach_the_other_cells(
    write_tuned, nothing_runs, fill_tuning, fill_cells, tmp_path
):
    sweep = load_sweep(write_tuned())
    tuning = plan_tuning_cells(sweep)
    run_sweep(sweep)
    assert nothing_runs == [tuning]  # nothing else runs before they are finished
    assert "0 of 18 tuning runs are finished." in (sweep.folder / "report.md").read_text()
    fill_tuning(sweep)
    run_sweep(sweep)
    assert nothing_runs[1] == []
    chosen = {(cell.method, cell.recipe.trainer["learning_rate"]) for cell in nothing_runs[2]}
    assert chosen == {("soft labels", 0.004), ("sid", 0.002)}  # of equal means the first
    blocks = [f"tuning,trainer.learning_rate={rate}" for rate in RATES]
    assert sorted({path.stem for path in (sweep.folder / "blocks").iterdir()}) == blocks
    shutil.rmtree(sweep.folder / "tuning")
    fill_cells(sweep, [cell for cell in nothing_runs[2] if cell.recipe.teacher.seed == 1])
    report_on(sweep)
    text = (sweep.folder / "report.md").read_text()
    # scipy.stats.t.interval(.95, 2, .8, sem): half of .7 .8 .9 is 4.3027 x .1 / sqrt(3) = .2484
    assert "| sid | 0.7000 ± 0.0000 | 0.8000 ± 0.2484 | 0.8000 ± 0.2484 | 0.002 |" in text
    assert "soft labels: the best of the tried values, 0.004, is at an end of the grid." in text
    assert "sid: the best of the tried" not in text and "teacher.seed=100" in text
    page = (sweep.folder / "report.html").read_text()
    assert "ring: chosen" in page and list((sweep.folder / "figures").glob("*tuning*.svg"))


def test_a_block_of_another_machine_needs_the_tuning_block_only(
    write_tuned, nothing_runs, fill_tuning, fill_cells, tmp_path, capsys
):
    first = load_sweep(write_tuned(output=str(tmp_path / "first")))
    run_sweep(first, blocks=["tuning"])
    assert nothing_runs == [plan_tuning_cells(first)]
    fill_tuning(first)
    run_sweep(first, blocks=["tuning"])
    assert nothing_runs[1:] == [[], []]
    run_sweep(first, blocks=[1])
    fill_cells(first, nothing_runs[-1], {"teacher.fingerprint": "one"})
    run_sweep(first, blocks=[1])
    together = str(write_tuned(output=str(tmp_path / "together")))
    blocks = tmp_path / "first" / "blocks"
    (tmp_path / "part" / "blocks").mkdir(parents=True)
    for file in blocks.glob("teacher*"):
        shutil.copy(file, tmp_path / "part" / "blocks")
    assert main(["sweep", together, "--gather", str(tmp_path / "part")]) == 2
    assert "depends on tuning runs that are missing; gather the blocks of tuning too." in capsys.readouterr().err
    other = [together, "tune.recipe={temperature: 2}", "--gather", str(tmp_path / "first")]
    assert main(["sweep", *other]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "tuning,trainer.learning_rate=0.001.jsonl (" in said
        and "has another recipe than this sweep; they differ in temperature (1.0, now 2.0)." in said
    )
    assert not (tmp_path / "together").exists()
    assert main(["sweep", together, "--gather", str(tmp_path / "first")]) == 0
    del nothing_runs[:]
    run_sweep(load_sweep(together), blocks=[2])
    assert nothing_runs[0] == [] and {cell.recipe.teacher.seed for cell in nothing_runs[1]} == {2}


def test_values_may_be_tried_on_several_machines(write_tuned, nothing_runs, fill_cells):
    sweep = load_sweep(write_tuned())
    cells = plan_tuning_cells(sweep)
    for number, rate in enumerate(RATES):
        of_value = [cell for cell in cells if cell.setting["trainer.learning_rate"] == rate]
        fill_cells(sweep, of_value, {"teacher.fingerprint": f"of machine {number}"})
    run_sweep(sweep, blocks=["tuning"])
    text = (sweep.folder / "report.md").read_text()
    assert "their teachers, of one seed, differ in the last bits" in text


def test_runs_with_one_value_share_their_teacher(write_tuned, nothing_runs, fill_cells):
    sweep = load_sweep(write_tuned())
    for number, cell in enumerate(plan_tuning_cells(sweep)[:2]):
        fill_cells(sweep, [cell], {"teacher.fingerprint": f"another {number}"})
    with pytest.raises(ValueError, match="differ in teacher"):
        run_sweep(sweep, blocks=["tuning"])


def test_one_tuning_seed_gives_no_interval(write_tuned, nothing_runs, fill_tuning):
    sweep = load_sweep(write_tuned({"seeds": [101]}))
    fill_tuning(sweep)
    run_sweep(sweep)
    text = (sweep.folder / "report.md").read_text()
    assert "An interval needs 3 tuning seeds, and there is 1." in text
    assert "| sid | 0.7000 | 0.7000 | 0.9000 | 0.004 |" in text
    assert "point: one seed" in (sweep.folder / "report.html").read_text()


def test_two_keys_are_tuned_in_all_combinations(write_tuned, nothing_runs, fill_cells):
    grid = {"trainer.learning_rate": RATES[:2], "temperature": [1, 2, 4]}
    sweep = load_sweep(write_tuned({"grid": grid, "seeds": [101]}))
    cells = plan_tuning_cells(sweep)
    assert len(cells) == 2 * 6 == len({cell.folder for cell in cells})
    best = {"soft labels": (0.002, 4), "sid": (0.001, 2)}
    for cell in cells:
        tried = cell.recipe.trainer["learning_rate"], cell.recipe.temperature
        score = 0.9 if tried == best[cell.method] else 0.5
        fill_cells(sweep, [cell], {"scores.selection.student.accuracy": score, "teacher.fingerprint": "of tuning"})
    run_sweep(sweep)
    chosen = {
        (cell.method, (cell.recipe.trainer["learning_rate"], cell.recipe.temperature)) for cell in nothing_runs[1]
    }
    assert chosen == set(best.items())
    blocks = {path.stem for path in (sweep.folder / "blocks").iterdir()}
    assert len(blocks) == 6 and "tuning,trainer.learning_rate=0.001,temperature=2" in blocks
    text = (sweep.folder / "report.md").read_text().replace("\\_", "_")  # as Markdown escapes it
    assert "The trainer.learning_rate and temperature of every method were chosen among the same values" in text
    assert "| method | 0.001, 1 | 0.001, 2 | 0.001, 4 | 0.002, 1 | 0.002, 2 | 0.002, 4 | chosen |" in text
    assert "| sid | 0.5000 | 0.9000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.001, 2 |" in text
    assert "soft labels: the best of the tried values of temperature, 4, is at an end of the grid." in text
    assert "sid: the best of the tried values of temperature" not in text
    assert "sid: the best of the tried values of trainer.learning_rate, 0.001, is at an end of the grid." in text


def test_a_plan_counts_tuning_runs(write_tuned):
    rows = plan_sweep(load_sweep(write_tuned(teachers=[1], methods={"sid": {}}, compare=[]))).rows
    assert [(row.method, row.runs, row.finished) for row in rows] == [("sid, tuning", 9, 0), ("sid", 1, 0)]
    assert all(row.seconds > 0 for row in rows)


REFUSED = [
    ({"grid": {}}, {}, "tune.grid: expected a key with the values to try, such as trainer.learning_rate."),
    ({"grid": {"temperature": [1, 2], "trainer.learning_rate": [1]}}, {},
     "tune.grid.trainer.learning_rate: expected at least two values to choose from."),
    ({"grid": {"trainer.learning_rate": RATES, "trainer": [{}, {"weight_decay": 1}]}}, {},
     "tune.grid.trainer: tune.grid.trainer.learning_rate is a part of it; give it in one place."),
    ({"grid": {"trainer.learning_rate": RATES, "trainer.weight_decay": [0.1, 0.2]}}, {},
     "tune.grid.trainer.weight_decay: the teacher's fine-tuning or the data would change with it"),
    ({"grid": {"trainer.learning_rate": RATES, "losses.cls_cosine": [0.5, 1]}}, {},
     "tune.grid.losses.cls_cosine: the method 'soft labels' has no loss 'cls_cosine'"),
    ({"grid": {"temperature": [1]}}, {}, "tune.grid.temperature: expected at least two values to choose from."),
    ({"grid": {"temperature": []}}, {}, "tune.grid.temperature: it has no values."),
    ({"grid": {"temperature": [1, 1]}}, {}, "tune.grid.temperature: 1 is listed twice."),
    ({"grid": {"seed": [1, 2]}}, {}, "tune.grid.seed: a sweep has the list `seeds`."),
    ({"seeds": []}, {}, "tune.seeds: name the seeds of the tuning runs"),
    ({"seeds": [1]}, {}, "tune.seeds: 1 is a seed of the sweep's own runs; tune with others."),
    ({"seeds": [897946]}, {}, "tune.seeds: 897946 is a seed of the sweep's own runs"),
    ({"teacher": 2}, {}, "tune.teacher: 2 is the seed of a teacher that is reported; name another one."),
    ({"teacher": None}, {}, "tune.teacher: 1 is the seed of a teacher that is reported"),
    ({}, {"grid": {"trainer.learning_rate": [1, 2]}}, "tune.grid.trainer.learning_rate: grid.trainer.learning_rate sets"),
    ({}, {"methods": {"sid": {"trainer": {"learning_rate": 1}}}, "compare": []},
     "tune.grid.trainer.learning_rate: methods.sid.trainer.learning_rate sets it already; give it in one place."),
    ({}, {"tasks": {"a": {"trainer": {}}}}, "tune.grid.trainer.learning_rate: tasks.a.trainer sets it already"),
    ({"recipe": {"trainer.learning_rate": 1}}, {}, "tune.recipe.trainer.learning_rate sets it already"),
    ({"grid": {"trainer.weight_decay": [0.1, 0.2]}}, {},
     "tune.grid.trainer.weight_decay: the teacher's fine-tuning or the data would change with it; set "
     "teacher.trainer.weight_decay under `recipe`"),
    ({"grid": {"data.max_length": [8, 16]}}, {}, "would change with it; tune a key of the students alone."),
    ({"grid": {"internal_trainer.learning_rate": RATES}}, {},
     "tune.grid.internal_trainer.learning_rate: the method 'soft labels' has no internal stages; tune a key that all"),
    ({"grid": {"losses.attention_kl": [0.5, 1]}}, {}, "the method 'soft labels' has no loss 'attention_kl'"),
    ({"grid": {"losses.gold_labels": [0.5, 1]}}, {}, "the method 'soft labels' has no loss 'gold_labels'"),
    ({"grid": {"temperature": [1, 2]}}, {"methods": {"a": {"schedule.name": "finetune"}}, "compare": []},
     "the method 'a' has no soft labels"),
    ({"grid": {"layer_map": ["uniform", "last"]}}, {}, "the method 'soft labels' has no internal losses"),
    ({}, {"methods": {"tuning": {}, "sid": {}}, "compare": [], "teachers": []}, "'tuning' is a name that the sweep uses for its own files"),
]  # fmt: skip


@pytest.mark.parametrize(("tune", "changes", "message"), REFUSED)
def test_bad_tuning_in_one_sentence(write_tuned, tmp_path, capsys, tune, changes, message):
    assert main(["sweep", str(write_tuned(tune, **changes))]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sweep").exists()


def test_a_teacher_of_ones_own_serves_the_tuning_too(write_tuned, teacher_folder, capsys):
    teacher = {"path": str(teacher_folder)}
    assert main(["sweep", str(write_tuned(teacher=teacher, teachers=[]))]) == 2
    assert "tune.teacher: teacher.path is one teacher, whatever its seed" in capsys.readouterr().err
    sweep = load_sweep(write_tuned({"teacher": None}, teacher=teacher, teachers=[]))
    assert len(plan_sweep_cells(sweep).tuning) == 18


@pytest.mark.slow  # cells are processes of their own
def test_a_tuned_sweep_runs_to_its_end(write_tuned, fast_start, tmp_path):
    path = write_tuned({"seeds": [101], "grid": {"trainer.learning_rate": RATES[:2]}}, methods={"sid": {}}, compare=[])
    short = ["recipe.teacher.epochs=1", "recipe.teacher.allow_weak=true", "teachers=[1]"]
    assert main(["sweep", str(path), *short]) == 0
    blocks = {path.stem.partition("=")[0] for path in (tmp_path / "sweep" / "blocks").glob("*.parquet")}
    assert blocks == {"tuning,trainer.learning_rate", "teacher.seed"}
    assert not list((tmp_path / "sweep" / "tuning").rglob("model"))  # nobody asks for them again
    assert "## Tuning" in (tmp_path / "sweep" / "report.md").read_text()
