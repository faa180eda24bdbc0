"""Predictions for GLUE's test files, in the format and under the names that the benchmark's server takes.

A TSV file per test file with a header line and the columns index (from 0, in the order of the file) and prediction: the
label's number, its name for the inference tasks, or a score from 0 to 5. Source: gluebenchmark.com, submission rules.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.tables import read_file
from innerdistill.data.tasks import TASKS, resolve_task
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.report.run_folder import PREDICTIONS, read_predictions, read_run
from innerdistill.run.predict import predict_file
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import suggest_name

# Name in the archive -> test file, by task.
FILES: dict[str, dict[str, str]] = {
    "cola": {"CoLA.tsv": "test.tsv"},
    "sst2": {"SST-2.tsv": "test.tsv"},
    "mrpc": {"MRPC.tsv": "test.tsv"},
    "qqp": {"QQP.tsv": "test.tsv"},
    "stsb": {"STS-B.tsv": "test.tsv"},
    "mnli": {"MNLI-m.tsv": "test_matched.tsv", "MNLI-mm.tsv": "test_mismatched.tsv", "AX.tsv": "diagnostic.tsv"},
    "qnli": {"QNLI.tsv": "test.tsv"},
    "rte": {"RTE.tsv": "test.tsv"},
    "wnli": {"WNLI.tsv": "test.tsv"},
}
SCORES, BY_NAME = ("stsb",), ("mnli", "qnli", "rte")  # tasks whose predictions are scores, or names of labels


def write_submission(runs: Sequence[str | Path], output: str | Path) -> tuple[list[str], list[str]]:
    """Predict the test files of the runs' tasks and zip the predictions.

    Args:
        runs: run folders, one per task; the test files lie where the run's data.path is.
        output: the archive.

    Returns:
        Names in the archive, and a sentence for every test file that is not there.

    Raises:
        ValueError: a run of no GLUE task, two runs of one task, or no test file at all.
    """
    if Path(output).suffix != ".zip":
        raise ValueError(f"{output}: expected a name that ends with .zip.")
    if not Path(output).absolute().parent.is_dir():
        raise ValueError(f"{output}: its folder does not exist.")
    found: dict[str, str] = {}
    missing = []
    for run in runs:
        record = read_run(run)
        data = record["recipe"]["data"]
        task = data["task"]
        if task not in FILES:
            raise ValueError(
                f"{run}: its data.task is {task!r}, which GLUE does not have; {suggest_name(str(task), FILES)}"
            )
        for name, file in FILES[task].items():
            if data["path"] is None:
                missing.append(f"{name} is left out: {run} does not name data.path, the folder of the test file.")
                continue
            path = Path(data["path"], file)
            if name in found:
                raise ValueError(f"{run}: another run has given {name} already; name one run per task.")
            if not path.is_file():
                missing.append(f"{name} is left out: there is no {path}.")
            elif (outputs := _outputs(Path(run), path, DataRecipe.model_validate(data))) is None:
                missing.append(f"{name} is left out: {run} keeps neither its model nor answers for {path}.")
            else:
                found[name] = _lines(outputs, record["data"]["names"], task)
    if not found:
        raise ValueError(f"nothing to submit: {' '.join(missing)}")
    with open_whole_file(Path(output)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in found.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # without the time: the same every time
    return list(found), missing


def _outputs(run: Path, path: Path, data: DataRecipe) -> NDArray[Any] | None:
    """What the student of a run says of a test file: probabilities (N, C) or scores (N, 1), from its model, or where
    that was not kept from the run's own predictions; None if neither is there.
    """
    if (run / "model").is_dir():
        table = predict_file(run, path)
        names = [name for name in table.column_names if name.startswith("probability_")] or ["predicted_score"]
        return np.stack([table[name].to_numpy() for name in names], axis=1)
    task, predictions = resolve_task(data), run / PREDICTIONS
    own = Path(data.path or "", data.test or dict(task.files)["test"])  # what the run read as its test split
    if path != own or not predictions.is_file():
        return None
    outputs = read_predictions(predictions, "test").get("student")
    rows = read_file(path, task, examples=find_problem_type(data).examples, split="test", labelled=False).num_rows
    return outputs if outputs is not None and len(outputs) == rows else None


def _lines(outputs: NDArray[Any], names: Sequence[str] | None, task: str) -> str:
    if task in SCORES:
        answers = [f"{score:.3f}" for score in np.clip(outputs[:, 0], 0, 5)]
    else:
        known = TASKS[task].labels
        assert known and names
        if other := sorted(set(names) - set(known)):
            raise ValueError(f"{task}: GLUE knows the labels {', '.join(known)}, not {other[0]!r}.")
        # The model may call its labels otherwise; their order is that of `names`.
        said = [names[index] for index in outputs.argmax(1)]
        answers = [name if task in BY_NAME else str(known.index(name)) for name in said]
    return "index\tprediction\n" + "".join(f"{index}\t{answer}\n" for index, answer in enumerate(answers))
