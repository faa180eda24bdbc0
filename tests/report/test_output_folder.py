"""Opening the folder of a run: empty, to resume, to replace, or refused."""

import pytest
import yaml
from records import make_record

from innerdistill.report.output_folder import check_run_folder, lock_folder, open_run_folder
from innerdistill.report.run_folder import write_record


def make_recipe(folder, **keys):
    return make_record({"output": str(folder), **keys}).recipe


def fill(folder, recipe, *names):
    """Write the recipe, a record if it is named, and empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    for name in names:
        if name == "run.json":
            write_record(folder, make_record().model_copy(update={"recipe": recipe}))
        else:
            (folder / name).touch()


def open_and_list(recipe, **options):
    with open_run_folder(recipe, **options) as folder:
        return {path.name for path in folder.iterdir() if path.name != ".lock"}


TRAINED = ("predictions.parquet", "run.json")


def test_an_empty_folder_gets_the_recipe(tmp_path):
    recipe = make_recipe(tmp_path / "run")
    assert open_and_list(recipe) == {"recipe.yaml"}
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["output"] == str(tmp_path / "run")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("names", [(), ("examples.json",), TRAINED], ids=["begun", "almost trained", "no report"])
def test_an_unfinished_run_is_resumed(tmp_path, names, overwrite):
    fill(tmp_path / "run", make_recipe(tmp_path / "run"), *names)
    assert open_and_list(make_recipe(tmp_path / "run", overwrite=overwrite)) == {"recipe.yaml", *names}


@pytest.mark.parametrize("keys", [{"baseline": True}, {"onnx": True}])
def test_a_run_that_lacks_its_baseline_or_onnx_files_is_resumed(tmp_path, keys):
    recipe = make_recipe(tmp_path / "run", **keys)
    fill(tmp_path / "run", recipe, *TRAINED, "report.html")
    assert open_and_list(recipe) == {"recipe.yaml", *TRAINED, "report.html"}


@pytest.mark.parametrize(
    ("names", "keys", "sentence"),
    [
        ((*TRAINED, "report.html"), {}, "holds a finished run; name another folder or set overwrite=true"),
        ((*TRAINED,), {"seed": 2}, "holds a finished run; name another"),
        (("run.json", "report.html"), {}, "holds a run without its predictions.parquet; name another"),
        (("examples.json",), {"seed": 2}, r"holds an unfinished run that differs in seed \(1, now 2\); name another"),
    ],
    ids=["finished", "another recipe", "damaged", "another unfinished"],
)
def test_a_run_that_would_be_lost_is_refused_and_replaced_with_overwrite(tmp_path, names, keys, sentence):
    fill(tmp_path / "run", make_recipe(tmp_path / "run"), *names)
    with pytest.raises(ValueError, match=sentence):
        open_and_list(make_recipe(tmp_path / "run", **keys))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"recipe.yaml", *names}
    assert open_and_list(make_recipe(tmp_path / "run", **keys, overwrite=True)) == {"recipe.yaml"}


@pytest.mark.parametrize("names", [(), ("checkpoints/identity.json",), ("tensorboard/log",)])
def test_a_run_that_trained_nothing_makes_room_for_another(tmp_path, names):
    """For example, its teacher was refused, and the advice was another learning rate."""
    fill(tmp_path / "run", make_recipe(tmp_path / "run"))
    for name in names:
        (tmp_path / "run" / name).parent.mkdir()
        (tmp_path / "run" / name).touch()
    recipe = make_recipe(tmp_path / "run", seed=2)
    check_run_folder(recipe)
    assert open_and_list(recipe) == {"recipe.yaml"}
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["seed"] == 2


def test_a_checkpoint_or_a_recipe_of_ones_own_is_kept(tmp_path):
    fill(tmp_path / "run", make_recipe(tmp_path / "run"))
    (tmp_path / "run" / "checkpoints" / "01").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text("seed: 1  # mine\n")
    for folder in (tmp_path / "run", tmp_path / "mine"):
        with pytest.raises(ValueError, match="holds an unfinished run that differs in"):
            open_and_list(make_recipe(folder, seed=2))
    assert (tmp_path / "mine" / "recipe.yaml").read_text() == "seed: 1  # mine\n"


def test_a_baseline_is_added_to_a_finished_run(tmp_path):
    fill(tmp_path / "run", make_recipe(tmp_path / "run"), *TRAINED, "report.html")
    assert open_and_list(make_recipe(tmp_path / "run", baseline=True)) == {"recipe.yaml", *TRAINED, "report.html"}
    with pytest.raises(
        ValueError,
        match=r"holds a finished run; .* set overwrite=true \(in Python overwrite=True, or Run.load to open it\)",
    ):
        open_and_list(make_recipe(tmp_path / "run"))


@pytest.mark.parametrize("names", [TRAINED, (*TRAINED, "report.html")], ids=["no report", "finished"])
def test_a_student_does_not_replace_a_teacher_nor_a_teacher_a_student(tmp_path, names):
    recipe = make_recipe(tmp_path / "run", teacher={"base": "bert"})
    fill(tmp_path / "run", recipe, *names)
    with pytest.raises(ValueError, match="holds the run of a student; name another folder or set overwrite=true"):
        open_and_list(recipe, of_teacher=True)
    write_record(tmp_path / "run", make_record(teacher=None).model_copy(update={"recipe": recipe}))
    with pytest.raises(ValueError, match="holds a fine-tuned teacher; .*teacher.path=.*run/model"):
        open_and_list(recipe)
    assert open_and_list(recipe.model_copy(update={"overwrite": True})) == {"recipe.yaml"}


def test_a_teacher_does_not_replace_an_unfinished_student(tmp_path):
    recipe = make_recipe(tmp_path / "run", teacher={"base": "bert"})
    fill(tmp_path / "run", recipe)
    (tmp_path / "run" / "checkpoints" / "01").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds the run of a student"):
        open_and_list(recipe, of_teacher=True)
    assert open_and_list(recipe) == {"recipe.yaml", "checkpoints"}


def test_a_damaged_record_is_named_and_replaced_with_overwrite(tmp_path):
    fill(tmp_path / "run", make_recipe(tmp_path / "run", onnx=True), "predictions.parquet")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json: damaged"):
        open_and_list(make_recipe(tmp_path / "run", onnx=True))
    assert open_and_list(make_recipe(tmp_path / "run", onnx=True, overwrite=True)) == {"recipe.yaml"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("thesis.txt", "holds 'thesis.txt', which is not part of a run"), ("run.json", "is not a run")],
)
def test_a_folder_of_others_is_never_replaced(tmp_path, name, sentence):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=sentence):
        open_and_list(make_recipe(tmp_path, overwrite=True))
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("key", ["path", "internal"])
def test_a_run_is_not_replaced_by_one_that_reads_from_it(tmp_path, key):
    fill(tmp_path / "run", make_recipe(tmp_path / "run"), *TRAINED, "report.html")
    teacher = {"path": "elsewhere", key: str(tmp_path / "run" / "model")}
    with pytest.raises(ValueError, match=rf"teacher\.{key}: .* lies inside .*, which overwrite=true would delete"):
        open_and_list(make_recipe(tmp_path / "run", teacher=teacher, overwrite=True))


@pytest.mark.parametrize("of_teacher", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "cache/custom-0123456789ab",
        "cache/custom-0123456789ab/x",
        "cache",
        "cache/../cache/x-0123456789ab",
        "link/targets",
    ],
)
def test_no_run_is_written_into_the_cache_of_teachers(tmp_path, name, of_teacher):
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    teacher = {"base": "bert", "folder": str(tmp_path / "cache")}
    fill(tmp_path / "cache" / "custom-0123456789ab", make_recipe(tmp_path / "a", teacher=teacher), *TRAINED)
    recipe = make_recipe(f"{tmp_path}/{name}", teacher=teacher, overwrite=True)
    for check in (check_run_folder, open_and_list):
        with pytest.raises(ValueError, match="the cache of teachers .* never overwrite; name another folder"):
            check(recipe, of_teacher=of_teacher)
    assert (tmp_path / "cache" / "custom-0123456789ab" / "run.json").exists()


def test_other_names_beside_the_cached_teachers_are_free(tmp_path):
    recipe = make_recipe(tmp_path / "runs" / "mine", teacher={"base": "bert", "folder": str(tmp_path / "runs")})
    assert open_and_list(recipe) == {"recipe.yaml"}


def test_a_teacher_of_another_cache_is_never_replaced(tmp_path):
    folder = tmp_path / "elsewhere" / "custom-0123456789ab"
    teacher = {"base": "bert", "folder": str(tmp_path / "cache")}
    fill(folder, make_recipe(folder, teacher=teacher, overwrite=True), *TRAINED)
    for output in (folder, folder / "model"):
        with pytest.raises(ValueError, match="custom-0123456789ab is a cached teacher, which runs never overwrite"):
            open_and_list(make_recipe(output, teacher=teacher, overwrite=True))
    fill(tmp_path / "mine-0123456789ab", make_recipe("mine-0123456789ab"), *TRAINED, "report.html")  # of a user
    assert open_and_list(make_recipe(tmp_path / "mine-0123456789ab", overwrite=True)) == {"recipe.yaml"}


def test_what_a_killed_process_left_is_deleted(tmp_path):
    (tmp_path / "run" / ".model.partial-7").mkdir(parents=True)
    assert open_and_list(make_recipe(tmp_path / "run")) == {"recipe.yaml"}


def test_a_folder_is_locked_for_one_process(tmp_path):
    with lock_folder(tmp_path), pytest.raises(ValueError, match="another process is at work in"):
        open_and_list(make_recipe(tmp_path))
