"""The notebooks in examples/: without outputs, valid Python, and all their cells run on tiny models."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PARAMETERS = "parameters"  # tag of the cell that a test replaces; papermill has the same

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read_cells(path, kind):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


@every_notebook
def test_notebooks_are_stored_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert path.read_text() == nbformat.writes(notebook) + "\n"  # so that a diff shows what has changed
    for cell in read_cells(path, "code"):
        assert cell.outputs == [] and cell.execution_count is None, cell.source


@every_notebook
def test_every_cell_is_python(path):
    for cell in read_cells(path, "code"):
        ast.parse(cell.source)
        assert all(len(line) <= 120 for line in cell.source.splitlines()), cell.source


@every_notebook
def test_links_lead_to_this_notebook(path):
    first = read_cells(path, "markdown")[0].source
    assert f"https://colab.research.google.com/github/ADDRESS/blob/main/examples/{path.name}" in first


@pytest.mark.slow
@every_notebook
def test_every_cell_runs(path, base_folder, data_folder, tmp_path, preloaded_python, monkeypatch):
    # The notebook has a Python of its own; the runs of a sweep that it starts need not import the libraries again.
    runs = f"import os, sys\nsys.executable = {preloaded_python!r}\nos.environ.pop('PYTHONPATH')\n"
    if "PYTHONPATH" in os.environ:
        runs += f"os.environ['PYTHONPATH'] = {os.environ['PYTHONPATH']!r}\n"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, 4)
    (cell,) = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    names = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
    values = {
        "base": str(base_folder),
        "train_file": f"{data_folder}/train.csv",
        "validation_file": f"{data_folder}/validation.csv",
        "columns": {"text": "text", "label": "label"},
        "trainer": {"learning_rate": 2e-3, "per_device_train_batch_size": 16},
        "epochs": 8,
        "total_steps": 60,
        "seeds": [1, 2],
    }
    cell.source = runs + "\n".join(f"{name} = {value!r}" for name, value in values.items() if name in names)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("<iframe srcdoc=" in page for page in pages)
    assert any("<progress" in page for page in pages)
    errors = "".join(output.text for output in shown if output.get("name") == "stderr")
    assert "Warning" not in errors, errors  # such as tqdm's, where ipywidgets is missing
