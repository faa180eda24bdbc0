"""A run that is stopped or killed resumes, and its student is identical to the byte."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from innerdistill import distill, finetune, load_recipe
from innerdistill.cli.main import main
from innerdistill.recipe.identity import list_differences
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.output_folder import open_run_folder
from innerdistill.report.run_folder import read_record
from innerdistill.run import finish as finish_module
from innerdistill.training.checkpoints import Checkpoints
from innerdistill.training.stopping import Stopped
from innerdistill.training.trainer import DistillationTrainer

STEPS = (9, 9, 12)  # 6 per epoch: two stages of an epoch and a half, two epochs of classification


class Killed(BaseException):
    """Stands for a killed process: nothing catches it."""


def at_call(monkeypatch, owner, name, calls, action):
    """Let a function run so many times, then do something after it."""
    whole, left = getattr(owner, name), [calls]

    def counted(*args, **kwargs):
        result = whole(*args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            action()
        return result

    monkeypatch.setattr(owner, name, counted)


def die():
    raise Killed


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def content(recipe, teacher_folder, tmp_path_factory):
    """SID from cached teacher outputs, with a checkpoint after every step."""
    teachers = tmp_path_factory.mktemp("teachers")

    def make(folder, **changes):
        made = recipe(
            folder,
            checkpoint_minutes=0,
            data={"train_rows": 96},
            schedule={"name": "sid", "epochs_per_layer": 1.5, "classification_epochs": 2},
        )
        made["teacher"] = {"path": str(teacher_folder), "folder": str(teachers), "targets": "cache"}
        return {**made, **changes}

    return make


@pytest.fixture(scope="module")
def whole(content, tmp_path_factory):
    """The run that nobody stops."""
    folder = distill(content(tmp_path_factory.mktemp("whole") / "run"))
    assert tuple(stage.steps for stage in read_record(folder).stages) == STEPS
    return folder


@pytest.fixture(scope="module")
def killed(content, tmp_path_factory):
    """A run that was killed after its 15th step, the 6th of its second stage: to be copied."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 15, die)
        with pytest.raises(Killed):
            distill(content(folder))
    return folder


def files_of(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.name != ".lock")


def assert_same(folder, whole):
    folder, whole = Path(folder), Path(whole)
    assert weights(folder) == weights(whole)
    ours, theirs = read_record(folder), read_record(whole)
    assert (ours.scores, ours.agreement, ours.distances) == (theirs.scores, theirs.agreement, theirs.distances)
    same_time = {"seconds": 0, "cpu_seconds": 0}
    for first, second in zip(ours.stages, theirs.stages, strict=True):
        assert first.model_copy(update=same_time) == second.model_copy(update=same_time)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize(
    ("owner", "name", "calls", "steps_left"),
    [
        pytest.param(DistillationTrainer, "training_step", 1, sum(STEPS), marks=pytest.mark.slow),
        (DistillationTrainer, "training_step", 5, sum(STEPS) - 4),
        (DistillationTrainer, "training_step", 7, sum(STEPS) - 6),  # the first step of an epoch
        (DistillationTrainer, "evaluate", 1, sum(STEPS) - 5),  # an epoch without its end is not over
        pytest.param(DistillationTrainer, "training_step", 10, sum(STEPS) - 9, marks=pytest.mark.slow),
        pytest.param(DistillationTrainer, "training_step", 28, sum(STEPS) - 27, marks=pytest.mark.slow),
        (Checkpoints, "save_start", 2, sum(STEPS) - 18),
        (finish_module, "save_model", 1, 0),
        (finish_module, "write_predictions", 1, 0),
    ],
)
def test_a_killed_run_ends_with_the_same_student(content, whole, tmp_path, monkeypatch, owner, name, calls, steps_left):
    with monkeypatch.context() as patch:
        at_call(patch, owner, name, calls, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run"))
    steps = []
    with monkeypatch.context() as patch:
        step = DistillationTrainer.training_step
        patch.setattr(DistillationTrainer, "training_step", lambda *args: (steps.append(1), step(*args))[1])
        assert distill(content(tmp_path / "run")) == tmp_path / "run"
    assert len(steps) == steps_left
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize("targets", ["cache", "live"])
def test_a_killed_run_whose_internal_losses_learn_from_another_model(
    content, base_folder, tmp_path, monkeypatch, targets
):
    def make(name):
        made = content(tmp_path / name)
        made["teacher"] |= {"internal": str(base_folder), "targets": targets}
        return made

    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 12, die)
        with pytest.raises(Killed):
            distill(make("run"))
    other = make("run")
    other["teacher"] |= {"internal": "teacher"}
    with pytest.raises(ValueError, match="teacher.internal"):
        distill(other)
    assert_same(distill(make("run")), distill(make("whole")))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_write_a_checkpoint_and_say_how_to_resume(content, whole, tmp_path, monkeypatch, capsys, number, code):
    file = tmp_path / "recipe.yaml"
    (tmp_path / "run" / ".model.partial-7").mkdir(parents=True)  # left by a process that was killed
    file.write_text(write_yaml(content(tmp_path / "run", checkpoint_minutes=60)))
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 14, lambda: os.kill(os.getpid(), number))
        assert main(["distill", str(file)]) == code
    assert f"innerdistill distill {file}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run" / "checkpoints" / "02").glob("checkpoint-*")] == ["checkpoint-5"]
    assert main(["distill", str(file)]) == 0
    assert_same(tmp_path / "run", whole)


def test_a_stage_of_a_moment_leaves_no_checkpoint_unless_somebody_stops_it(content, tmp_path, monkeypatch):
    kept, start = [], Checkpoints.save_start
    monkeypatch.setattr("innerdistill.training.callbacks.SHORTEST_WORK", float("inf"))  # however slow the machine is
    monkeypatch.setattr(Checkpoints, "save_start", lambda *args: (kept.append(args[1]), start(*args)))
    distill(content(tmp_path / "whole", checkpoint_minutes=60))
    assert kept == []
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", STEPS[0], lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            distill(content(tmp_path / "stopped", checkpoint_minutes=60))
    assert kept == [2]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_stopped_before_its_report_only_writes_the_report(
    content, tmp_path, monkeypatch, capsys, overwrite
):
    file = tmp_path / "recipe.yaml"
    file.write_text(write_yaml(content(tmp_path / "run", overwrite=overwrite)))

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("innerdistill.run.distill.write_report", interrupt)
        assert main(["distill", str(file)]) == 130
    assert "the same command" in capsys.readouterr().err
    before = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    monkeypatch.setattr(DistillationTrainer, "training_step", lambda *_: die())
    assert main(["distill", str(file)]) == 0
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "run.json").stat().st_mtime_ns == before


def test_a_run_resumes_on_the_same_data_only(content, data_folder, tmp_path):
    """Stopped between the student and its baseline, which a report would compare."""
    train = shutil.copy(data_folder / "train.csv", tmp_path / "train.csv")
    made = content(tmp_path / "run", baseline=True, schedule={"name": "soft_labels", "total_steps": 6})
    made["data"]["train"] = str(train)
    distill(made)
    shutil.rmtree(tmp_path / "run" / "baseline")
    Path(train).write_text(Path(train).read_text() + "another word,pos\n")
    with pytest.raises(ValueError, match="holds a run of other data"):
        distill(made)
    assert not (tmp_path / "run" / "baseline" / "run.json").exists()
    folder = distill({**made, "overwrite": True})
    assert read_record(folder).data.fingerprint == read_record(folder / "baseline").data.fingerprint


def test_the_place_of_the_teachers_and_what_is_said_of_the_data_may_change(content, tmp_path):
    recipe = load_recipe(content(tmp_path / "run"))
    moved = load_recipe(content(tmp_path / "run"), overrides=["teacher.folder=elsewhere", "data.note=Known."])
    assert list_differences(recipe.model_dump(mode="json"), moved) == []


def test_a_key_that_is_younger_than_a_run_had_its_default(content, tmp_path):
    recipe = load_recipe(content(tmp_path / "run"))
    older = {name: value for name, value in recipe.model_dump(mode="json").items() if name != "group_by_length"}
    assert list_differences(older, recipe) == []
    changed = recipe.model_copy(update={"group_by_length": False})
    assert list_differences(older, changed) == ["group_by_length (True, now False)"]


def test_a_machine_without_bfloat16_resumes_where_the_teacher_is_not_run(content, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 5, die)
        patch.setattr("innerdistill.run.teacher_cache.has_fast_bfloat16", lambda _: True)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run"))
    monkeypatch.setattr("innerdistill.run.teacher_cache.has_fast_bfloat16", lambda _: False)
    distill(content(tmp_path / "run"))
    assert weights(tmp_path / "run") == weights(whole)


def test_a_student_that_learns_nothing_is_noticed_after_a_kill_too(content, tmp_path, monkeypatch, caplog):
    still = {"learning_rate": 0.0}
    frozen = content(tmp_path / "run", trainer=still, internal_trainer=still)
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 5, die)
        with pytest.raises(Killed):
            distill(frozen)
    distill(frozen)
    assert not any(stage.learned for stage in read_record(tmp_path / "run").stages)
    assert "No parameter of the student changed" in caplog.text


def test_a_finished_teacher_is_not_trained_again(content, base_folder, tmp_path, monkeypatch):
    made = content(tmp_path / "run")
    made["teacher"] = {"base": str(base_folder), "epochs": 1, "folder": str(tmp_path / "teachers")}
    (finetune(made) / "report.html").unlink()
    monkeypatch.setattr(DistillationTrainer, "training_step", lambda *_: die())
    assert finetune(made) == tmp_path / "run"


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "not sealed"])
def test_a_damaged_checkpoint_is_passed_over(content, whole, killed, tmp_path, caplog, harm):
    caplog.set_level("INFO", logger="innerdistill")
    shutil.copytree(killed, tmp_path / "run")
    latest = tmp_path / "run" / "checkpoints" / "02" / "checkpoint-5"
    file = latest / "optimizer.pt"
    held = bytearray(file.read_bytes())
    if harm == "cut":
        file.write_bytes(held[: len(held) // 2])
    elif harm == "changed":
        held[len(held) // 2] ^= 1
        file.write_bytes(held)
    else:
        (file if harm == "gone" else latest / "checksums.json").unlink()
    distill(content(tmp_path / "run"))
    assert "checkpoint-5 is incomplete or damaged; resuming from the checkpoint before it" in caplog.text
    assert "Resume from" in caplog.text and "checkpoint-4" in caplog.text
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize("identity", ["{", None])
def test_checkpoints_of_which_nobody_knows_what_they_depend_on_are_not_used(
    content, whole, tmp_path, monkeypatch, caplog, identity
):
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 15, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run", losses={"cls_cosine": 0.5}))
    file = tmp_path / "run" / "checkpoints" / "identity.json"
    file.write_text(identity) if identity else file.unlink()
    recipe = load_recipe(content(tmp_path / "run")).model_dump(mode="json")
    (tmp_path / "run" / "recipe.yaml").write_text(write_yaml(recipe))
    distill(content(tmp_path / "run"))
    assert "can be resumed; the run starts from the beginning" in caplog.text
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize("harm", ["cut", pytest.param("gone", marks=pytest.mark.slow)])
def test_a_damaged_best_checkpoint_is_passed_over(content, tmp_path, monkeypatch, caplog, harm):
    """The one that scored best is read at the end of the stage, long after it was written."""
    changes = {"checkpoint": "best", "schedule": {"name": "soft_labels", "classification_epochs": 4}}
    scores = iter([0.9, 0.5, 0.5, 0.5] * 3)  # the first epoch is the best, whoever scores it
    monkeypatch.setattr("innerdistill.run.train.select_numbers", lambda _: {"accuracy": next(scores)})
    whole = distill(content(tmp_path / "whole", **changes))
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 15, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run", **changes))
    best = tmp_path / "run" / "checkpoints" / "01" / "checkpoint-6"
    assert best.is_dir() and len(list(best.parent.glob("checkpoint-*"))) == 3
    if harm == "gone":
        shutil.rmtree(best)
    else:
        (best / "model.safetensors").write_bytes((best / "model.safetensors").read_bytes()[:-1])
    scores = iter([0.9, 0.5, 0.5, 0.5])
    distill(content(tmp_path / "run", **changes))
    assert (
        "needs checkpoint-6, its best checkpoint, which is incomplete or damaged; resuming from the checkpoint before it"
        in caplog.text
    )
    assert weights(tmp_path / "run") == weights(whole)


def test_the_best_checkpoint_and_accumulation_after_a_kill(content, tmp_path, monkeypatch):
    trainer = {
        "learning_rate": 2e-3,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "use_cpu": True,
    }
    changes = {
        "checkpoint": "best",
        "trainer": trainer,
        "schedule": {"name": "soft_labels", "classification_epochs": 5},
    }
    whole = distill(content(tmp_path / "whole", **changes))
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "evaluate", 4, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run", **changes))
    (tmp_path / "run").rename(tmp_path / "moved")
    assert_same(distill(content(tmp_path / "moved", **changes)), whole)


def test_nothing_is_trained_after_the_last_step_inside_a_pass(content, tmp_path, monkeypatch):
    changes = {"checkpoint": "best", "checkpoint_minutes": 60, "schedule": {"name": "soft_labels", "total_steps": 9}}
    whole = distill(content(tmp_path / "whole", **changes))
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "_save_checkpoint", 2, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run", **changes))
    assert_same(distill(content(tmp_path / "run", **changes)), whole)


@pytest.mark.parametrize("name", ["mine.txt", "1000/weights", "01/weights"])
def test_folders_that_are_not_ours_are_left_alone(make_model, tmp_path, name):
    (tmp_path / "checkpoints" / name).parent.mkdir(parents=True)
    (tmp_path / "checkpoints" / name).write_text("mine")
    with pytest.raises(ValueError, match="holds files that are not checkpoints of a run"):
        Checkpoints(tmp_path / "checkpoints", {}).begin(make_model(), [])
    assert (tmp_path / "checkpoints" / name).read_text() == "mine"


def test_what_cannot_be_read_for_now_is_not_deleted(content, whole, killed, tmp_path, monkeypatch):
    shutil.copytree(killed, tmp_path / "run")
    before = files_of(tmp_path / "run")

    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("innerdistill.training.checkpoints.compute_checksum", broken)
        with pytest.raises(ValueError, match=r"checkpoint-5 cannot be read \(Input/output error\); re-run the command"):
            distill(content(tmp_path / "run"))
    assert files_of(tmp_path / "run") == before
    distill(content(tmp_path / "run"))
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow  # a teacher, a student and a baseline, in three runs
def test_a_killed_teacher_resumes_for_another_student(content, base_folder, tmp_path, monkeypatch):
    def make(folder, **changes):
        teacher = {
            "base": str(base_folder),
            "epochs": 2,
            "allow_weak": True,
            "folder": str(tmp_path / folder / "teachers"),
        }
        return content(tmp_path / folder / "run", teacher=teacher, baseline=True, **changes)

    whole = distill(make("whole"))
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 8, die)
        with pytest.raises(Killed):
            distill(make("run", seed=2))
    steps = []
    with monkeypatch.context() as patch:
        step = DistillationTrainer.training_step
        patch.setattr(DistillationTrainer, "training_step", lambda *args: (steps.append(1), step(*args))[1])
        at_call(patch, DistillationTrainer, "training_step", 5 + sum(STEPS) + 11, die)  # in the baseline
        with pytest.raises(Killed):
            distill(make("run", overwrite=True))
    assert read_record(tmp_path / "run" / "run") and not (tmp_path / "run" / "run" / "baseline" / "run.json").exists()
    run = distill(make("run"))
    for folder in (run, run / "baseline"):
        assert weights(folder) == weights(whole if folder == run else whole / "baseline")
    assert weights(next((tmp_path / "run" / "teachers").glob("custom-*"))) == weights(
        next((tmp_path / "whole" / "teachers").glob("custom-*"))
    )


def test_a_run_resumes_without_cached_outputs_if_it_began_without(content, tmp_path, monkeypatch):
    def make(folder):
        made = content(tmp_path / folder)
        return {**made, "teacher": {**made["teacher"], "folder": str(tmp_path / "teachers"), "targets": "auto"}}

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
        whole = distill(make("whole"))
        at_call(patch, DistillationTrainer, "training_step", 8, die)
        with pytest.raises(Killed):
            distill(make("run"))
    assert read_record(whole).teacher.targets.cached == {}
    assert_same(distill(make("run")), whole)  # there is room again


def test_what_does_not_fit_is_refused_and_nothing_is_lost(content, data_folder, tmp_path, monkeypatch, caplog):
    data = {**content("x")["data"], "train": str(shutil.copy(data_folder / "train.csv", tmp_path))}
    with monkeypatch.context() as patch:
        at_call(patch, DistillationTrainer, "training_step", 4, die)
        with pytest.raises(Killed):
            distill(content(tmp_path / "run", data=data))
    before = files_of(tmp_path / "run")
    with pytest.raises(ValueError, match=r"unfinished run that differs in temperature \(1.0, now 2.0\); name another"):
        distill(content(tmp_path / "run", data=data, temperature=2.0))
    same = content(tmp_path / "run", data=data)
    with open_run_folder(load_recipe(same)), pytest.raises(ValueError, match="another process is at work in"):
        distill(same)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    with pytest.raises(ValueError, match="an unfinished run that differs in data; name another folder"):
        distill(content(tmp_path / "run", data=data))
    assert files_of(tmp_path / "run") == before
    folder = distill(content(tmp_path / "run", data=data, overwrite=True))
    assert "differs in data; overwriting it" in caplog.text
    before = (folder / "run.json").stat().st_mtime_ns
    (folder / "report.html").unlink()  # as if killed before its report
    assert distill(content(tmp_path / "run", data=data)) == folder
    assert (folder / "run.json").stat().st_mtime_ns == before and (folder / "report.html").is_file()
    with pytest.raises(ValueError, match="holds a finished run; name another folder or set overwrite=true"):
        distill(content(tmp_path / "run", data=data))
