"""The folder of a run: names of its files, and how each of them is read and written. Files are written whole.

recipe.yaml          the recipe, complete
model/               the trained model: config, model.safetensors, tokenizer, README.md (model card); onnx/ on request
run.json             what happened and what came out: a `RunRecord`
predictions.parquet  row, split, label, with `data.group` also group, logits of teacher and student; of a sentence
                     encoder also those of the student before training
examples.json        attention of teacher and student on a few examples, and their largest disagreements
report.html          the report, one page
tensorboard/         one log per stage
checkpoints/         what an unfinished run resumes from
baseline/            the run of the same student trained without distillation, on request

run.json is the last file of training: a folder that has it has model, predictions and examples too. A run is *finished*
when nothing is left to compute: `is_finished`. The report can be written again at any time from the other files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from innerdistill.data.ragged import is_ragged, join_ragged, make_ragged, read_lists, split_ragged, write_lists
from innerdistill.recipe.recipe import Recipe
from innerdistill.support.files import open_whole_file, open_whole_folder, read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from innerdistill.models.heads import Head
    from innerdistill.report.record import RunRecord

RECIPE = "recipe.yaml"
MODEL = "model"
RUN = "run.json"
PREDICTIONS = "predictions.parquet"
EXAMPLES = "examples.json"
REPORT = "report.html"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
BASELINE_FOLDER = "baseline"
ONNX = "onnx"
MODELS = ("teacher", "student", "untrained")  # whose logits a run may have stored
TOKENIZER_CONFIG = "tokenizer_config.json"


def read_record(folder: str | Path) -> RunRecord:
    """Read run.json.

    Args:
        folder: folder of a finished run.

    Returns:
        Its content.

    Raises:
        ValueError: missing, damaged, not the record of a run, or written by a later version.
    """
    from innerdistill.report.record import parse_record  # noqa: PLC0415 - it needs torch

    path = Path(folder) / RUN
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{folder}: no finished run there (run.json is missing).") from None
    return parse_record(content, where=str(path))


def has_part(folder: str | Path, part: str) -> bool:
    """Whether the record of a run has a part that not every run has. Unlike `read_record`, this needs no torch.

    Args:
        folder: folder of a run whose training is over.
        part: key of run.json, such as `teacher` or `onnx`.

    Returns:
        True if it is there and not null.

    Raises:
        ValueError: missing or damaged.
    """
    content = read_json(Path(folder) / RUN)
    if not isinstance(content, dict) or "scores" not in content:
        read_record(folder)  # says what is wrong with it
    return content.get(part) is not None


def write_record(folder: Path, record: RunRecord) -> None:
    """Write run.json.

    Args:
        folder: folder of the run.
        record: what happened and what came out.
    """
    write_json(folder / RUN, record.model_dump(mode="json"))


def has_record(folder: str | Path) -> bool:
    """Whether a folder is that of a run whose training is over: it has a run.json.

    Args:
        folder: any folder.

    Returns:
        True if run.json is there.
    """
    return Path(folder, RUN).is_file()


def list_missing(folder: Path, recipe: Recipe) -> list[str]:
    """List what a run still has to write of what its recipe asks for.

    Args:
        folder: folder of the run.
        recipe: recipe of the run.

    Returns:
        Paths in the folder, in the order in which a run writes them.

    Raises:
        ValueError: run.json is damaged.
    """
    missing = [name for name in (PREDICTIONS, RUN) if not (folder / name).is_file()]
    if recipe.baseline and not has_record(folder / BASELINE_FOLDER):
        missing.append(f"{BASELINE_FOLDER}/{RUN}")
    if recipe.onnx and (RUN in missing or not has_part(folder, "onnx")):
        missing.append(f"{MODEL}/{ONNX}")
    if not (folder / REPORT).is_file():
        missing.append(REPORT)
    return missing


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether a run is finished: nothing of what its recipe asks for is left to compute.

    That is its record and predictions, the record of its baseline and its ONNX files, the last two if the recipe asks
    for them. A report may be missing.

    Args:
        folder: folder of the run.
        recipe: recipe of the run.

    Returns:
        True if it is finished.

    Raises:
        ValueError: run.json is damaged.
    """
    return set(list_missing(folder, recipe)) <= {REPORT}


def find_model_folder(folder: str | Path) -> Path:
    """Find the model folder, given the folder of a run or of a model.

    Args:
        folder: folder of a run or of a model.

    Returns:
        Folder of the model.

    Raises:
        ValueError: the run has no model any more.
    """
    folder = Path(folder)
    if not has_record(folder):
        return folder
    if not (folder / MODEL).is_dir():
        raise ValueError(f"{folder}: the run has no model; it was deleted, or its sweep has keep_models=false.")
    return folder / MODEL


def save_model(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_length: int, head: Head
) -> None:
    """Save a model: weights as safetensors, configuration, tokenizer.

    Args:
        folder: folder of the model; what an unfinished run left there is replaced.
        model: trained classifier.
        tokenizer: tokenizer of the model.
        max_length: tokens that an example had at most in training. The saved tokenizer truncates to as many.
        head: head of the model, which says how it is written.
    """
    with open_whole_folder(folder) as temporary:
        head.save(model, temporary, max_length=max_length)
        _save_tokenizer(tokenizer, temporary, max_length=max_length)


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, *, max_length: int) -> None:
    """Save a tokenizer so that transformers 4 can load it too, as it loads the teacher's."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer([""], truncation=True, padding=False)  # tokenizer.json has the state of the last call
    tokenizer.save_pretrained(folder)
    path = folder / TOKENIZER_CONFIG
    config = read_json(path)
    # transformers 5 knows the old names too.
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    write_json(path, config)


def write_predictions(path: Path, splits: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write predictions.parquet.

    Args:
        path: the file.
        splits: by split the columns row, label, with groups also group (N,), and, by model, its logits (N, C). Labels
            of multi-label classification are (N, C) too. Of words, labels and logits are ragged; a cell is a list then.
            Embeddings are (N, W, D), in a column of lists for each of the W texts of an example.
    """
    tables: list[pa.Table] = []
    sizes: dict[str, int] = {}  # numbers of an embedding, by column
    for split, columns in splits.items():
        flat: dict[str, Any] = {"split": [split] * len(columns["row"])}
        for name, values in columns.items():
            if is_ragged(values):
                flat |= _write_ragged(name, values)
            elif values.ndim == 1:
                flat[name] = values
            elif values.ndim == 3:
                flat |= {f"{name}_{text}": _write_vectors(values[:, text]) for text in range(values.shape[1])}
                sizes |= {f"{name}_{text}": values.shape[2] for text in range(values.shape[1])}
            else:
                flat |= {f"{name}_{output}": values[:, output] for output in range(values.shape[1])}
        tables.append(pa.table(flat))
    tables = [_add_missing_vectors(table, sizes) for table in tables]
    if any(is_ragged(columns["label"]) for columns in splits.values()):
        tables = [_make_labels_lists(table) for table in tables]
    with open_whole_file(path) as temporary:
        table = pa.concat_tables(tables, promote_options="default")
        # Numbers of embeddings are all different, so a dictionary of them would only take room.
        plain = [name for name in table.column_names if name not in sizes]
        pa.parquet.write_table(table, temporary, use_dictionary=plain)


def _write_vectors(values: NDArray[Any]) -> pa.Array:
    """A column of lists of the same length, (N, D)."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), values.shape[1])


def _add_missing_vectors(table: pa.Table, sizes: Mapping[str, int]) -> pa.Table:
    """Add columns of embeddings that only other splits have, as NaN: Arrow before 26 reads no vectors that are null."""
    for name, size in sizes.items():
        if name not in table.column_names:
            table = table.append_column(name, _write_vectors(np.full((table.num_rows, size), np.nan)))
    return table


def _make_labels_lists(table: pa.Table) -> pa.Table:
    """Empty lists in place of missing labels, where other splits have lists."""
    column = table["label"]
    if pa.types.is_list(column.type):
        return table
    empty = write_lists(make_ragged([np.zeros(0)] * len(column)))
    return table.set_column(table.column_names.index("label"), "label", empty)


def _write_ragged(name: str, arrays: NDArray[Any]) -> dict[str, pa.Array]:
    """Columns of lists: of tag ids one, of logits one for each output."""
    if name == "label":
        return {name: write_lists(arrays)}
    values, lengths = join_ragged(arrays)
    return {
        f"{name}_{output}": write_lists(split_ragged(values[:, output], lengths)) for output in range(values.shape[1])
    }


def read_predictions(path: Path, split: str) -> dict[str, NDArray[Any]]:
    """Read one split of predictions.parquet.

    Args:
        path: the file.
        split: name of the split.

    Returns:
        row, label, with groups also group (N,), and the logits of `teacher`, `student` and `untrained`, those that are
        there (N, C).

    Raises:
        ValueError: missing, damaged or another file.
    """
    try:
        return unpack_table(pa.parquet.read_table(path, filters=[("split", "=", split)], partitioning=None))
    except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ValueError(f"{path}: missing, damaged or not the predictions of a run.") from None


def unpack_table(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Unpack predictions into arrays.

    Args:
        table: columns of predictions.parquet on one split.

    Returns:
        row, label, with groups also group (N,), and the logits of `teacher`, `student` and `untrained`, those that are
        there (N, C).
        Of words, labels and logits are ragged.

    Raises:
        KeyError: a column is missing.
    """
    columns = {"row": table["row"].to_numpy()}
    if "label_0" in table.column_names:
        columns["label"] = _stack_columns(table, "label")
    else:
        columns["label"] = _read_column(table["label"])
    if "group" in table.column_names and not table["group"].null_count:  # null on a split that has no groups
        columns["group"] = table["group"].to_numpy()
    for model in MODELS:
        # Given outputs may be missing on a split, so they are null there.
        if f"{model}_0" in table.column_names and _is_there(table[f"{model}_0"]):
            columns[model] = _stack_columns(table, model)
    return columns


def _stack_columns(table: pa.Table, name: str) -> NDArray[Any]:
    """The columns NAME_0, NAME_1, ... side by side. Of embeddings, single texts have no second one."""
    names = [column for column in table.column_names if column.startswith(f"{name}_")]
    columns = [_read_column(table[column]) for column in names if _is_there(table[column])]
    if not is_ragged(columns[0]):
        return np.stack(columns, axis=1)
    lengths = join_ragged(columns[0])[1]
    return split_ragged(np.stack([join_ragged(column)[0] for column in columns], axis=1), lengths)


def _is_there(column: pa.ChunkedArray) -> bool:
    """Whether a split has a column that other splits have. Embeddings that it lacks are NaN."""
    if pa.types.is_fixed_size_list(column.type):
        return not bool(np.isnan(_read_column(column)).all())
    return bool(column.null_count < len(column))


def _read_column(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return read_lists(column) if pa.types.is_list(column.type) else column.to_numpy()
