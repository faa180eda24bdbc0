"""Predictions for GLUE's test files, in the format and under the names that the benchmark's server takes.

One TSV file per test file, with a header line and two columns. `index` counts from 0, in the order of the file.
`prediction` is the label's number, for the inference tasks its name, or a score from 0 to 5.
Source: gluebenchmark.com, submission rules.
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
from innerdistill.report.stored_run import FolderRun, StoredRun
from innerdistill.run.predict import predict_file
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import suggest_name

# Test file by its name in the archive, by task.
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
SCORES = ("stsb",)  # tasks whose predictions are scores
BY_NAME = ("mnli", "qnli", "rte")  # tasks whose labels are submitted by name, not by number


def write_submission(runs: Sequence[str | Path | StoredRun], output: str | Path) -> tuple[list[str], list[str]]:
    """Predict the test files of the runs' tasks and zip the predictions.

    Args:
        runs: run folders or stored runs, one per task; the test files lie in the run's data.path.
        output: path of the archive.

    Returns:
        Names of the files in the archive, and a sentence for every test file that is left out.

    Raises:
        ValueError: a run of no GLUE task, two runs of one task, or no test file at all.
    """
    if Path(output).suffix != ".zip":
        raise ValueError(f"{output}: expected a name that ends with .zip.")
    if not Path(output).absolute().parent.is_dir():
        raise ValueError(f"{output}: its folder does not exist.")
    texts: dict[str, str] = {}
    left_out: list[str] = []
    for given in runs:
        run = given if isinstance(given, StoredRun) else FolderRun(given)
        for name, file in _get_test_files(run).items():
            if name in texts:
                raise ValueError(f"{run.place}: another run has given {name} already; name one run per task.")
            outputs, reason = _predict_test_file(run, file)
            if outputs is None:
                left_out.append(f"{name} is left out: {reason}.")
            else:
                texts[name] = _write_lines(outputs, run.record.data.names, str(run.record.recipe.data.task))
    if not texts:
        raise ValueError(f"nothing to submit: {' '.join(left_out)}")
    with open_whole_file(Path(output)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # without the time: the same every time
    return list(texts), left_out


def _get_test_files(run: StoredRun) -> dict[str, str]:
    """Test files of the run's task, by name in the archive."""
    task = run.record.recipe.data.task
    if task not in FILES:
        hint = suggest_name(str(task), FILES, kind="tasks of GLUE")
        raise ValueError(f"{run.place}: its data.task is {task!r}, which GLUE does not have. {hint}")
    return FILES[task]


def _predict_test_file(run: StoredRun, file: str) -> tuple[NDArray[Any] | None, str]:
    """Probabilities (N, C) or scores (N, 1) of the run's student on a test file; None and a reason without them."""
    data = run.record.recipe.data
    if data.path is None:
        return None, f"{run.place} does not name data.path, the folder of the test file"
    path = Path(data.path, file)
    if not path.is_file():
        return None, f"there is no {path}"
    if run.has_model:
        table = predict_file(run.folder, path)
        names = [name for name in table.column_names if name.startswith("probability_")] or ["predicted_score"]
        return np.stack([table[name].to_numpy() for name in names], axis=1), ""
    # Without the model, the run's own predictions serve, if this file was its test split.
    task = resolve_task(data)
    own_file = Path(data.path, data.test or dict(task.files)["test"])
    if path == own_file and run.has_predictions:
        outputs = run.read_predictions("test").get("student")
        rows = read_file(path, task, examples=run.record.problem_type.examples, split="test", labelled=False).num_rows
        if outputs is not None and len(outputs) == rows:
            return outputs, ""
    return None, f"{run.place} has neither its model nor predictions for {path}"


def _write_lines(outputs: NDArray[Any], names: Sequence[str] | None, task: str) -> str:
    if task in SCORES:
        predictions = [f"{score:.3f}" for score in np.clip(outputs[:, 0], 0, 5)]
    else:
        labels = TASKS[task].labels
        assert labels and names
        if unknown := sorted(set(names) - set(labels)):
            raise ValueError(f"{task}: GLUE knows the labels {', '.join(labels)}, not {unknown[0]!r}.")
        # The model may name its labels differently; their order is that of `names`.
        predictions = [names[index] for index in outputs.argmax(1)]
        if task not in BY_NAME:
            predictions = [str(labels.index(name)) for name in predictions]
    lines = [f"{index}\t{prediction}\n" for index, prediction in enumerate(predictions)]
    return "".join(["index\tprediction\n", *lines])
