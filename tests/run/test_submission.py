"""GLUE's submission format, for every task, from models and made test files."""

import shutil
import zipfile

import numpy as np
import pytest
from records import make_record

from innerdistill.cli.main import main
from innerdistill.data.tasks import TASKS
from innerdistill.recipe.yaml import write_yaml
from innerdistill.report.run_folder import read_record, write_predictions, write_record
from innerdistill.run.submission import FILES, write_submission
from innerdistill.sweep.declaration import Sweep
from innerdistill.sweep.grid import load_sweep, plan_cells
from innerdistill.sweep.store import RunStore
from innerdistill.sweep.sweep import choose_runs

ALLOWED = {
    "CoLA.tsv": {"0", "1"}, "SST-2.tsv": {"0", "1"}, "MRPC.tsv": {"0", "1"}, "QQP.tsv": {"0", "1"},
    "WNLI.tsv": {"0", "1"}, "RTE.tsv": {"entailment", "not_entailment"}, "QNLI.tsv": {"entailment", "not_entailment"},
}  # fmt: skip
ALLOWED |= {name: {"entailment", "neutral", "contradiction"} for name in ("MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv")}


@pytest.fixture
def make_run(make_model, tokenizer, tmp_path):
    def make(task, *, names=None):
        facts = TASKS[task]
        labels = names or facts.labels
        # A teacher of the user's own calls its labels otherwise, in an order of its own.
        outputs = len(labels or ("score",))
        model = make_model(num_labels=outputs, layers=2, id2label={i: f"answer {i}" for i in range(outputs)})
        folder, data = tmp_path / f"run-{task}", tmp_path / f"glue-{task}"
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        record = make_record({"data": {"task": task, "path": str(data)}, "output": str(folder)})
        facts_of_data = record.data.model_copy(update={"names": labels})
        write_record(folder, record.model_copy(update={"data": facts_of_data}))
        data.mkdir()
        for file in FILES[task].values():
            rows = [["index", *facts.text], *([str(i), *[f"word{i} good{i % 8}"] * len(facts.text)] for i in range(6))]
            (data / file).write_text("".join("\t".join(row) + "\n" for row in rows))
        return folder

    return make


def test_every_task_in_one_archive(make_run, tmp_path, capsys):
    runs = [str(make_run(task)) for task in FILES]
    assert main(["submit", *runs, "--output", str(tmp_path / "all.zip")]) == 0
    assert "AX.tsv" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == sorted([*ALLOWED, "STS-B.tsv"])
        for name in archive.namelist():
            header, *rows = archive.read(name).decode().splitlines()
            assert header == "index\tprediction" and [row.split("\t")[0] for row in rows] == list("012345")
            answers = {row.split("\t")[1] for row in rows}
            assert answers <= ALLOWED[name] if name in ALLOWED else all(0 <= float(answer) <= 5 for answer in answers)


def test_labels_in_the_order_of_the_model(make_run, tmp_path):
    answers = []
    for names in (("not_equivalent", "equivalent"), ("equivalent", "not_equivalent")):
        write_submission([make_run("mrpc", names=names)], tmp_path / "mrpc.zip")
        with zipfile.ZipFile(tmp_path / "mrpc.zip") as archive:
            answers.append([line[-1] for line in archive.read("MRPC.tsv").decode().splitlines()[1:]])
        (tmp_path / "glue-mrpc" / "test.tsv").unlink()
        (tmp_path / "glue-mrpc").rmdir()
    assert answers[0] == [{"0": "1", "1": "0"}[answer] for answer in answers[1]]


def test_what_is_not_there_is_said(make_run, tmp_path, capsys):
    runs = [make_run("rte"), make_run("wnli")]
    (tmp_path / "glue-wnli" / "test.tsv").unlink()
    assert main(["submit", *map(str, runs), "--output", str(tmp_path / "two.zip")]) == 0
    assert "WNLI.tsv is left out: there is no" in capsys.readouterr().err
    for arguments, sentence in (
        ([str(runs[1])], "nothing to submit"),
        ([str(runs[0]), str(runs[0])], "another run has given RTE.tsv already"),
        ([str(tmp_path)], "run.json"),
    ):
        assert main(["submit", *arguments, "--output", str(tmp_path / "none.zip")]) == 2
        assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert main(["submit", str(runs[0]), "--output", str(tmp_path / "none.tar")]) == 2
    assert main(["submit", str(runs[0]), "--output", str(tmp_path / "nowhere" / "none.zip")]) == 2
    assert "its folder does not exist" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "none.zip").exists()


def test_a_run_without_its_model_answers_by_its_predictions(make_run, tmp_path, capsys):
    run = make_run("mrpc")
    write_submission([run], tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        wanted = archive.read("MRPC.tsv")
    logits = np.array([[0, 1] if line.endswith("1") else [1, 0] for line in wanted.decode().splitlines()[1:]])
    shutil.rmtree(run / "model")
    columns = {"row": np.arange(6), "label": np.full(6, -1), "student": logits}
    write_predictions(run / "predictions.parquet", {"test": columns})
    write_submission([run], tmp_path / "kept.zip")
    with zipfile.ZipFile(tmp_path / "kept.zip") as archive:
        assert archive.read("MRPC.tsv") == wanted
    (run / "predictions.parquet").rename(tmp_path / "moved.parquet")
    assert main(["submit", str(run), "--output", str(tmp_path / "none.zip")]) == 2
    assert "has neither its model nor predictions" in capsys.readouterr().err.replace("\n", " ")
    write_predictions(run / "predictions.parquet", {"test": {name: column[:5] for name, column in columns.items()}})
    assert main(["submit", str(run), "--output", str(tmp_path / "none.zip")]) == 2
    assert "has neither its model nor predictions" in capsys.readouterr().err.replace("\n", " ")


def test_the_runs_of_one_method_of_a_sweep(make_run, tmp_path, capsys):
    sweep = {
        "recipe": {}, "methods": {"one": {}, "two": {"temperature": 2}}, "seeds": [1, 2], "output": "elsewhere",
        "tasks": {task: {"data.task": task, "data.path": str(tmp_path / f"glue-{task}")} for task in ("rte", "mrpc")},
    }  # fmt: skip
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.yaml").write_text(write_yaml(sweep))
    planned = plan_cells(load_sweep(tmp_path / "sweep" / "sweep.yaml", overrides=[f"output={tmp_path}/sweep"]))
    runs = {task: make_run(task) for task in ("rte", "mrpc")}
    for cell in planned[:-1]:
        shutil.copytree(runs[cell.task], cell.folder)
        (cell.folder / "predictions.parquet").touch()
        write_record(cell.folder, read_record(cell.folder).model_copy(update={"recipe": cell.recipe}))
    chosen = choose_runs([tmp_path / "sweep"], method="two", seed=1)
    assert [run.folder for run in chosen] == [tmp_path / "sweep" / task / "two" / "seed-1" for task in ("rte", "mrpc")]
    (chosen,) = choose_runs([tmp_path / "sweep"], method="two", seed=2)
    assert chosen.folder == tmp_path / "sweep" / "rte" / "two" / "seed-2"
    arguments = ["submit", str(tmp_path / "sweep"), "--output", str(tmp_path / "all.zip")]
    assert main([*arguments, "--method", "one"]) == 0
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == ["MRPC.tsv", "RTE.tsv"]
    for more, sentence in (
        ([], "name one of its methods with --method: one, two"),
        (["--method", "one", "--seed", "7"], "has no seed 7; its seeds are 1, 2"),
    ):
        assert main([*arguments, *more]) == 2
        assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert main([*arguments, "--method", "two", "--seed", "2"]) == 0
    assert "seed-2 is left out" in "".join(capsys.readouterr().err.split("\n"))
    assert main(["submit", str(runs["rte"]), "--seed", "1", "--output", str(tmp_path / "all.zip")]) == 2
    assert "no folder is one" in capsys.readouterr().err.replace("\n", " ")


def test_the_runs_of_a_block_answer_by_their_predictions(make_run, tmp_path):
    """A sweep that has its runs in blocks gives the same archive as the run folders did without their models."""
    run, logits = make_run("mrpc"), np.eye(2)[[0, 1, 1, 0, 1, 0]]
    shutil.rmtree(run / "model")
    columns = {"row": np.arange(6), "label": np.full(6, -1), "student": logits}
    write_predictions(run / "predictions.parquet", {"test": columns})
    write_submission([run], tmp_path / "folder.zip")
    tasks = {"mrpc": {"data.task": "mrpc", "data.path": str(tmp_path / "glue-mrpc")}}
    sweep = Sweep(recipe={}, methods={"one": {}}, tasks=tasks, seeds=[1], output=str(tmp_path / "sweep"))
    (cell,) = plan_cells(sweep)
    shutil.copytree(run, cell.folder)
    write_record(cell.folder, read_record(cell.folder).model_copy(update={"recipe": cell.recipe}))
    (tmp_path / "sweep" / "sweep.yaml").write_text(write_yaml(sweep.model_dump(mode="json")))
    store = RunStore(sweep)
    store.write_finished_blocks([cell], store.select_finished([cell]))
    shutil.rmtree(cell.folder)
    assert main(["submit", str(tmp_path / "sweep"), "--output", str(tmp_path / "block.zip")]) == 0
    assert (tmp_path / "block.zip").read_bytes() == (tmp_path / "folder.zip").read_bytes()
