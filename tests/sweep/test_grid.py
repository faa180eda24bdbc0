"""sweep.yaml is checked, and every cell gets a recipe of its own."""

import pytest

from innerdistill.cli.main import main
from innerdistill.sweep.grid import load_sweep, plan_cells


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "methods: dictionary should have at least 1 item"),
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"grid": {"student.num_layers": []}}, "grid.student.num_layers: it has no values"),
        ({"compare": [["sid", "pid"]]}, "compare: no method 'pid'. Did you mean 'sid'? Methods: "),
        ({"compare": [["sid", "sid"]]}, "compare: 'sid' with 'sid': expected two methods, and each pair once"),
        ({"compare": [["sid", "soft labels"], ["soft labels", "sid"]]}, "compare: 'soft labels' with 'sid': expected two methods, and each pair once"),
        ({"methods": {"a": {"schedule.nmae": "sid"}}, "compare": []}, "cell a/seed-1: recipe: unknown key 'schedule.nmae'"),
        ({"methods": {"a b": {}, "a/b": {}}, "compare": []}, "two runs of the sweep would have the folder"),
        ({"methods": {"a": {"trainer.learning_rte": 1}}, "compare": []},
         "cell a/seed-1: trainer: TrainingArguments has no key 'learning_rte'. Did you mean 'learning_rate'?"),
        ({"methods": {"a": {"schedule.name": "sdi"}}, "compare": []}, "cell a/seed-1: schedule.name: unknown schedule 'sdi'"),
        ({"methods": {"a": {"losses.gold_lable": 1}}, "compare": []}, "cell a/seed-1: losses: unknown loss 'gold_lable'"),
        ({"metods": {}}, "unknown key 'metods'. Did you mean 'methods'?"),
        ({"seeds": [0, 0]}, "seeds: 0 is listed twice."),
        ({"grid": {"teacher.seed": [1, 2]}}, "grid.teacher.seed: teacher.path is one teacher, whatever its seed"),
        ({"teachers": [1, 2]}, "teachers: teacher.path is one teacher, whatever its seed; give teacher.base."),
        ({"teachers": [1]}, "teachers: teacher.path is one teacher, whatever its seed; give teacher.base."),
        ({"teachers": [1, 1]}, "teachers: 1 is listed twice."),
        ({"teachers": [1, 2], "grid": {"teacher.seed": [1, 2]}},
         "grid.teacher.seed: the list `teachers` has the seeds of the teachers already."),
        ({"teachers": [1, 2], "tasks": {"a": {"teacher": {"seed": 3}}}}, "tasks.a.teacher.seed: the list `teachers`"),
        ({"teachers": [1, 2], "seeds": list(range(3000))}, "would have the same random seed; give one of them another"),
        ({"grid": {"student.num_layers": [2, 2]}}, "grid.student.num_layers: 2 is listed twice."),
        ({"methods": {"": {}}, "compare": []}, "methods: one of them has an empty name."),
        ({"methods": {"report.html": {}}, "compare": []}, "'report.html' is a name that the sweep uses for its own files"),
        ({"grid": {"seed": [1, 2]}}, "grid.seed: a sweep has the list `seeds`."),
        ({"tasks": {"a": {"output": "x"}}}, "tasks.a.output: a sweep has its own `output`"),
        ({"grid": {"schedule": [{}, {"total_steps": 4}]}},
         "grid.schedule would overwrite methods.soft labels.schedule.name; name keys inside it in the grid."),
        ({"methods": {"a": {"temperature": 1}, "b": {"temperature": 4}}, "grid": {"temperature": [2, 8]}, "compare": []},
         "grid.temperature would overwrite methods.a.temperature; give it in one place."),
        ({"methods": {"a": {}, "b": {"data.train_rows": 50}}, "compare": []},
         "methods 'a' and 'b' cannot be compared: they differ in data.train_rows, so in data"),
    ],
)  # fmt: skip
def test_bad_sweeps_in_one_sentence(write_sweep, tmp_path, capsys, changes, message):
    assert main(["sweep", str(write_sweep(**changes))]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_every_teacher_has_students_of_its_own(write_sweep, base_folder):
    """Their seeds are SHA-256 of both numbers, as `printf '3 2' | sha256sum` says, the same for both methods."""
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null"]
    path = write_sweep(teachers=[1, 3], seeds=[1, 2], grid={"student.num_layers": [1, 2]})
    sweep = load_sweep(path, overrides=base)
    cells = plan_cells(sweep)
    assert sweep.number_of_cells == len(cells) == 2 * 2 * 2 * 2 and sweep.number_of_teachers == 2
    seeds = {}
    for cell in cells:
        assert cell.recipe.teacher.seed == cell.setting["teacher.seed"] and cell.recipe.seed == cell.seed
        seeds.setdefault((cell.recipe.teacher.seed, cell.method), set()).add(cell.seed)
    of_first, of_third = {897946, 269673}, {590820, 150069}
    assert seeds == {
        (1, "soft labels"): of_first,
        (1, "sid"): of_first,
        (3, "soft labels"): of_third,
        (3, "sid"): of_third,
    }
    first = cells[0]
    assert first.folder == sweep.folder / "teacher.seed=1" / "student.num_layers=1" / "soft-labels" / "seed-897946"


def test_seeds_of_a_grid_of_teachers_are_shared_as_before(write_sweep, base_folder):
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null"]
    cells = plan_cells(load_sweep(write_sweep(grid={"teacher.seed": [1, 3]}, seeds=[1, 2]), overrides=base))
    assert {(cell.recipe.teacher.seed, cell.seed) for cell in cells} == {(1, 1), (1, 2), (3, 1), (3, 2)}


def test_every_key_can_be_swept(write_sweep):
    path = write_sweep(
        seeds=[1, 2],
        grid={"student.num_layers": [1, 2], "data.train_rows": [100, None]},
        tasks={"a": {}, "b": {"temperature": 2.0}},
    )
    cells = plan_cells(load_sweep(path))
    assert len(cells) == 2 * 2 * 2 * 2 * 2 == len({cell.folder for cell in cells})
    assert {(cell.recipe.student.num_layers, cell.recipe.data.train_rows) for cell in cells} == {
        (1, 100), (1, None), (2, 100), (2, None)
    }  # fmt: skip
    assert [cell.seed for cell in cells[:4]] == [1, 1, 2, 2]  # seed by seed


def test_methods_of_different_teachers_are_refused_before_anything_runs(write_sweep, base_folder, tmp_path, capsys):
    base = [f"recipe.teacher.base={base_folder}", "recipe.teacher.path=null"]
    faster = {"soft labels": {}, "sid": {"trainer.learning_rate": 3e-4}}
    assert main(["sweep", str(write_sweep(methods=faster)), *base]) == 2
    assert "set teacher.trainer.learning_rate for all" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sweep").exists()
    assert plan_cells(
        load_sweep(write_sweep(methods=faster), overrides=[*base, "recipe.teacher.trainer.learning_rate=1e-3"])
    )


def test_later_parts_of_a_sweep_win(write_sweep):
    """A method that speaks of a section takes back neither what the grid says of a key in it nor what all have."""
    path = write_sweep(
        tasks={"t": {"trainer.learning_rate": 5e-5}},
        methods={"a": {"trainer": {"weight_decay": 0.1}}},
        grid={"trainer.learning_rate": [1e-5, 1e-4]},
        compare=[],
    )
    trainers = [cell.recipe.trainer for cell in plan_cells(load_sweep(path))]
    common = {"per_device_train_batch_size": 16, "use_cpu": True, "weight_decay": 0.1}
    assert trainers == [{**common, "learning_rate": rate} for rate in (1e-5, 1e-4)]


def test_what_is_said_of_a_part_of_a_section_leaves_the_rest(write_sweep):
    """On the command line and in the file alike."""
    path = write_sweep(methods={"a": {"schedule.name": "sid"}, "b": {"schedule": {"name": "pid"}}}, compare=[])
    cells = plan_cells(load_sweep(path, overrides=["methods.a.schedule.threshold=0.5"]))
    found = [
        (cell.recipe.schedule.name, cell.recipe.schedule.total_steps, cell.recipe.schedule.threshold) for cell in cells
    ]
    assert found == [("sid", 8, 0.5), ("pid", 8, None)]


def test_an_override_is_blamed_for_what_it_sets(tmp_path):
    (tmp_path / "sweep.yaml").write_text("recipe: {}\nmethods: {a: {}}\nseeds: [1]\n")
    with pytest.raises(ValueError, match="^override 'sedes=.2.': unknown key 'sedes'. Did you mean 'seeds'"):
        load_sweep(tmp_path / "sweep.yaml", overrides=["seeds=[3]", "sedes=[2]"])
