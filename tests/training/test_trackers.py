"""Trackers: one run for all stages, whose steps never go back."""

import gc
import sys
import time
from collections import defaultdict

import pytest
from transformers import TrainerCallback
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from innerdistill.data.batches import make_collator
from innerdistill.models.student import build_student
from innerdistill.recipe.identity import list_differences, merge_teacher_trainer
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.reporting import TRACKERS, choose_trackers
from innerdistill.run.assemble import check_names
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage
from innerdistill.training.trackers import FAIL, FINISH, RUN_IS_OPEN

STAGES = [
    Stage("layer 1", {"cls_cosine": 1.0}, {1: 2}, epochs=2, is_internal=True),
    Stage("classification", {"soft_labels": 1.0}, {}, epochs=3),
]
LOGGED = {"layer 1": [4, 8, 12], "classification": [16, 20, 24, 28]}  # 6 steps an epoch; the second begins at 12
SCORED = [6, 12, 18, 24, 30]


class Stopping(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 14:
            raise RuntimeError("no room")


@pytest.fixture
def run(make_model, tokenizer, tokenised, tmp_path, monkeypatch, wandb_offline):
    """Train a student without a network; every tracker writes into `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(report_to, *callbacks, folder="runs/mine", resume=False, **options):
        teacher = make_model(seed=0)
        distill_models(
            teacher,
            build_student(teacher, 2),
            stages=STAGES,
            setup=TrainingSetup(
                train=tokenised,
                collate=make_collator(tokenizer),
                selection=tokenised,
                score=lambda *_: {"accuracy": 0.5},
                callbacks=callbacks,
                checkpoint_minutes=0,
                trainer={
                    "use_cpu": True,
                    "per_device_train_batch_size": 8,
                    "logging_steps": 4,
                    **({} if report_to is None else {"report_to": report_to}),
                    **options,
                },
            ),
            folder=tmp_path / folder,
            resume=resume,
        )

    return run


def read_mlflow(tmp_path):
    """Per run: name, status, and values by name as (step, value)."""
    client = pytest.importorskip("mlflow").MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = []
    for found in client.search_runs(["0"], order_by=["attributes.start_time"]):
        history = {}
        for name in found.data.metrics:
            history[name] = [entry.step for entry in client.get_metric_history(found.info.run_id, name)]
        runs.append((found.info.run_name, found.info.status, history))
    return runs


def read_wandb_records(path):
    """Records of an offline run so far: a LevelDB log, which wandb has no reader for.

    A record whose end is not written yet is left for the next look.
    """
    data, at, parts = path.read_bytes(), 7, []  # behind a header
    while at + 7 <= len(data):
        left = 32768 - at % 32768  # in this block
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if at + 7 + length > len(data):
            return
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def wait_for_wandb(tmp_path, *, runs):
    """As `read_wandb`. wandb's own process may write the end of a file after `finish` has returned."""
    deadline = time.monotonic() + 30
    while True:
        found = read_wandb(tmp_path)
        if len(found) == runs and all(code is not None for _, code, _ in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def read_wandb(tmp_path):
    """Per offline run: name, exit code, and the steps of every value."""
    from wandb.proto.wandb_internal_pb2 import Record

    runs = []
    for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        history, name, code = defaultdict(list), None, None
        for content in read_wandb_records(path):
            record = Record.FromString(content)
            kind = record.WhichOneof("record_type")
            name = record.run.display_name if kind == "run" else name
            code = record.exit.exit_code if kind == "exit" else code
            if kind == "history":
                row = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                for key in row:
                    history[key].append(int(row["train/global_step"]))
        runs.append((name, code, dict(history)))
    return runs


def test_transformers_knows_the_trackers():
    assert len(get_reporting_integration_callbacks(list(TRACKERS))) == len(TRACKERS)
    assert set(RUN_IS_OPEN) == set(FINISH) == set(FAIL) == set(TRACKERS) - {"tensorboard"}


def test_mlflow_has_one_run_for_all_stages(run, tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    run("mlflow")
    [(name, status, history)] = read_mlflow(tmp_path)
    assert (name, status) == ("runs/mine", "FINISHED")
    assert {stage: history[f"{stage}/loss"] for stage in LOGGED} == LOGGED
    assert history["eval_accuracy"] == SCORED
    assert not (tmp_path / "runs/mine/tensorboard").exists()


def test_mlflow_hears_of_a_failure_and_a_resumed_run_counts_on(run, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    with pytest.raises(ValueError, match="no room"):
        run("mlflow", Stopping(), resume=True)
    monkeypatch.setattr(Stopping, "on_step_end", lambda *_, **__: None)
    run(["mlflow", "tensorboard"], Stopping(), resume=True)  # another tracker is no other run
    failed, resumed = read_mlflow(tmp_path)
    assert failed[1] == "FAILED" and resumed[1] == "FINISHED"
    assert failed[2]["classification/loss"] == [16, 20, 24] and resumed[2]["classification/loss"] == [28]
    assert (tmp_path / "runs/mine/tensorboard/02 classification").is_dir()


def test_a_run_that_the_user_began_stays_open(run, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    run("mlflow", folder="runs/before")
    with mlflow.start_run(run_name="my own"):
        run("mlflow")
        gc.collect()  # a callback of transformers ends the open run when it is collected
        assert mlflow.active_run() is not None
    assert [(name, status) for name, status, _ in read_mlflow(tmp_path)] == [
        ("runs/before", "FINISHED"),
        ("my own", "FINISHED"),
    ]


def test_wandb_has_one_run_for_each_distillation(run, tmp_path):
    import wandb

    run("wandb")
    with pytest.raises(ValueError, match="no room"):
        run("wandb", Stopping(), folder="runs/other", run_name="named")
    assert wandb.run is None
    (name, code, history), (other, failure, _) = wait_for_wandb(tmp_path, runs=2)
    assert (name, code, other, failure) == ("runs/mine", 0, "named", 1)
    assert {stage: history[f"train/{stage}/loss"] for stage in LOGGED} == LOGGED
    assert history["eval/accuracy"] == SCORED
    steps = history["train/global_step"]
    assert steps == sorted(steps)


def test_trackio_has_one_run_for_all_stages(run, tmp_path):
    trackio = pytest.importorskip("trackio", reason="the extra trackio is not installed")
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    run("trackio", project="mine")
    [found] = trackio.Api().runs("mine")
    assert found.name == "runs/mine"
    rows = storage.get_logs("mine", found.name, run_id=found.id)
    steps = [row["train/global_step"] for row in rows]
    assert steps == sorted(steps)
    for stage, logged in LOGGED.items():
        assert [row["train/global_step"] for row in rows if f"train/{stage}/loss" in row] == logged


def test_tensorboard_is_the_default_where_it_is_installed(run, tmp_path, monkeypatch):
    run(None)
    assert {path.name for path in (tmp_path / "runs/mine/tensorboard").iterdir()} == {"01 layer 1", "02 classification"}
    run("none", folder="runs/none")
    assert not (tmp_path / "runs/none/tensorboard").exists()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    run(None, folder="runs/without")
    assert not (tmp_path / "runs/without/tensorboard").exists()


@pytest.mark.parametrize(
    ("report_to", "message"),
    [
        ("wanb", "trainer.report_to: 'wanb' is not supported. Did you mean 'wandb'"),
        ("all", "trainer.report_to: 'all' is not supported. Trackers: mlflow, none, tensorboard, trackio, wandb."),
        (["mlflow", "none"], "trainer.report_to: 'none' is not supported"),
        (3, "trainer.report_to: expected a tracker or a list, got 3"),
        ("wandb", "`trainer.report_to: wandb` needs the package wandb: pip install 'innerdistill"),
    ],
)
def test_what_cannot_be_reported_to(run, recipe, tmp_path, monkeypatch, report_to, message):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=message.partition(" pip")[0]):
        run(report_to)
    with pytest.raises(ValueError, match=message.partition(" pip")[0]):
        check_names(load_recipe(recipe(tmp_path, trainer={"report_to": report_to})))


def test_trackers_are_no_part_of_what_a_result_depends_on(recipe, tmp_path):
    silent = load_recipe(recipe(tmp_path, trainer={"report_to": "none"}))
    loud = load_recipe(recipe(tmp_path, trainer={"report_to": ["tensorboard"], "run_name": "first"}))
    assert list_differences(silent.model_dump(mode="json"), loud) == []
    assert (
        merge_teacher_trainer(silent)
        == merge_teacher_trainer(loud)
        == merge_teacher_trainer(load_recipe(recipe(tmp_path)))
    )
    assert choose_trackers(silent.trainer) == []
