"""The folder of a run: how it is opened, and how files get into it whole.

recipe.yaml          what was asked for
model/               the result: config, model.safetensors, tokenizer, README.md (model card)
run.json             what happened and what came out
predictions.parquet  row, split, label, logits of teacher and student
examples.json        attention of teacher and student on examples, and where they disagree most
report.html          for people
tensorboard/         one log per stage
baseline/            the run of the plainly fine-tuned student, if one was asked for
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import yaml
from filelock import FileLock
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.config import Recipe

PACKAGES = ("innerdistill", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "scikit-learn")
# Only a folder that holds nothing else is ever replaced.
RUN_FILES = {
    "recipe.yaml", "model", "run.json", "predictions.parquet", "examples.json", "report.html", "tensorboard",
    "checkpoints", "baseline",
}  # fmt: skip


def open_run_folder(recipe: Recipe) -> Path:
    """Create the folder of a run.

    Args:
        recipe: names the folder and says whether a former run may be replaced.

    Returns:
        The folder, holding only recipe.yaml.

    Raises:
        ValueError: it holds another run and `overwrite` is off, or holds something that is not a run.
    """
    folder = Path(recipe.output)
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise ValueError(f"output: {folder} is not a folder that can be used ({error.strerror}).") from None
    if present:
        if foreign := sorted(present - RUN_FILES):
            raise ValueError(f"output: {folder} holds {foreign[0]!r}, which is not part of a run; name another folder.")
        if "recipe.yaml" not in present:
            raise ValueError(f"output: {folder} is not a run (it has no recipe.yaml); name another folder.")
        if not recipe.overwrite:
            raise ValueError(f"output: {folder} holds another run; name another folder or set overwrite=true.")
        for key, used in _inputs(recipe):
            if folder.resolve() in Path(used).resolve().parents:
                raise ValueError(f"{key}: {used} lies inside {folder}, which overwrite=true would delete.")
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "recipe.yaml") as path:
            path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"output: {folder} cannot be written ({error.strerror}).") from None
    return folder


@contextmanager
def lock_beside(folder: Path, *, key: str) -> Iterator[None]:
    """Hold a lock that belongs to a folder, beside it.

    Args:
        folder: need not exist.
        key: recipe key, for messages.

    Yields:
        Nothing.

    Raises:
        ValueError: the place cannot be written.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise ValueError(f"{key}: {folder.parent} cannot be written ({error.strerror}).") from None
    try:
        yield
    finally:
        lock.release()


def _inputs(recipe: Recipe) -> list[tuple[str, str]]:
    """Everything a recipe reads, by key."""
    data = {f"data.{key}": getattr(recipe.data, key) for key in ("path", "train", "validation", "test", "unlabelled")}
    models = {"teacher.path": recipe.teacher.path, "teacher.base": recipe.teacher.base}
    found = {**data, **models, "teacher.folder": recipe.teacher.folder, "student.source": recipe.student.source}
    return [(key, value) for key, value in found.items() if value is not None]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when it is complete.

    Args:
        path: final name.

    Yields:
        The temporary path to write to, in the same folder.
    """
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a JSON file whole.

    Args:
        path: final name.
        content: numbers, texts, lists and mappings; no NaN.
        indent: spaces per level; None writes everything into one line.
    """
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_run(folder: str | Path) -> dict[str, Any]:
    """Read run.json.

    Args:
        folder: of a finished run.

    Returns:
        Its content.

    Raises:
        ValueError: missing or damaged.
    """
    path = Path(folder) / "run.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no finished run there (run.json is missing).") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(found, dict) or "recipe" not in found or "scores" not in found:
        raise ValueError(f"{path}: this is not the record of a run.")
    return found


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save a model folder whole: weights as safetensors, configuration, tokenizer.

    Args:
        folder: final name; must not exist.
        model: classifier.
        tokenizer: belongs to it.
    """
    temporary = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_predictions(path: Path, splits: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write predictions.parquet.

    Args:
        path: final name.
        splits: by split the columns row, label and, per model, its logits (N, C).
    """
    tables = []
    for split, columns in splits.items():
        flat: dict[str, Any] = {"split": [split] * len(columns["row"])}
        for name, values in columns.items():
            flat |= (
                {name: values} if values.ndim == 1 else {f"{name}_{c}": values[:, c] for c in range(values.shape[1])}
            )
        tables.append(pa.table(flat))
    with whole_file(path) as temporary:
        pa.parquet.write_table(pa.concat_tables(tables, promote_options="default"), temporary)


def read_predictions(path: Path, split: str) -> dict[str, NDArray[Any]]:
    """Read one split of predictions.parquet.

    Args:
        path: the file.
        split: name of the split.

    Returns:
        row, label (N,) and the logits of `teacher` and `student`, those that are there (N, C).
    """
    table = pa.parquet.read_table(path, filters=[("split", "=", split)])
    found = {name: table[name].to_numpy() for name in ("row", "label")}
    for model in ("teacher", "student"):
        names = [name for name in table.column_names if name.startswith(f"{model}_")]
        if names:
            found[model] = np.stack([table[name].to_numpy() for name in names], axis=1)
    return found


def environment() -> dict[str, Any]:
    """Versions, machine and, in a checkout, git revision: what is needed to make a run again."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        git = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - fixed command
    except OSError:  # no git on this machine
        git = ""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git_revision": git or None,
    }
