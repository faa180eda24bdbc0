"""Blocks: the finished runs of a sweep in few files. A block is one teacher with all its students.

blocks/NAME.jsonl     a line for each run: its folder inside the sweep's folder, and its run.json as `record`
blocks/NAME.parquet   its predictions: model, split, row, label, with groups also group, and a column per logit

A line also names the model in the Parquet file that is the run's teacher. That is `teacher` where all runs share the
teacher's outputs, which are stored once, and a model of the run's own where they differ in any bit. Records and
predictions are read as they were written, value for value. Models, logs and examples.json are not stored. Nor are the
logits of a student before training, whose scores are in the record.

The two files belong together: every line has the checksum of the Parquet file. Blocks of one sweep that were written on
several machines can be put into one folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from innerdistill.recipe.recipe import Recipe
from innerdistill.report.run_folder import BASELINE_FOLDER, MODELS, unpack_table
from innerdistill.report.stored_run import StoredRun
from innerdistill.support.files import compute_checksum, open_whole_file

TEACHER = "teacher"  # the model whose logits all runs of a block share
OF_LABEL = re.compile(r"label_\d+")  # of multi-label classification, in place of `label`
EXAMPLE = ("split", "row", "label", "group")  # columns of predictions.parquet; `group` with data.group only
LINE = {"run", "teacher", "checksum", "record"}  # keys of a line


class Block:
    """One block.

    Attributes:
        file: its .jsonl file; the .parquet file has the same name.
    """

    def __init__(self, file: Path) -> None:
        """Nothing is read yet.

        Args:
            file: its .jsonl file, inside the folder `blocks` of a sweep.
        """
        self.file = file

    @property
    def predictions(self) -> Path:
        """Its .parquet file."""
        return self.file.with_name(self.file.name.removesuffix(".jsonl") + ".parquet")

    @cached_property
    def lines(self) -> dict[str, dict[str, Any]]:
        """Lines of the .jsonl file by the run's folder inside the sweep's; a ValueError if the block is damaged."""
        lines = {}
        try:
            for text in self.file.read_text(encoding="utf-8").rstrip("\n").split("\n"):
                line = json.loads(text)
                if not line.keys() >= LINE:
                    raise ValueError("a line lacks a key")
                lines[line["run"]] = line
            checksum = compute_checksum(self.predictions)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{self.file}: damaged, or no block of a sweep ({error}); delete it.") from None
        if any(line["checksum"] != checksum for line in lines.values()):
            raise ValueError(
                f"{self.predictions} does not belong to {self.file.name}; delete both, or copy both again."
            )
        return lines

    def find_run(self, name: str) -> BlockRun | None:
        """Look up a run.

        Args:
            name: its folder inside the sweep's folder, such as `SID/seed-1`.

        Returns:
            The run; None if the block does not have it.
        """
        return BlockRun(self, name) if name in self.lines else None

    def list_runs(self) -> dict[str, BlockRun]:
        """List the runs, without baselines.

        Returns:
            Runs by their folder inside the sweep's.
        """
        return {name: BlockRun(self, name) for name in self.lines if not name.endswith(f"/{BASELINE_FOLDER}")}

    def read_logits(self, model: str, *, split: str | None = None) -> pa.Table:
        """Read what one model predicted.

        Args:
            model: name of the model in the Parquet file.
            split: name of the split; None reads all.

        Returns:
            split, row, label, with groups also group, and a column per logit, in the order in which they were written.

        Raises:
            ValueError: damaged.
        """
        wanted = pc.field("model") == model
        if split is not None:
            wanted &= pc.field("split") == split
        try:
            return pa.parquet.read_table(self.predictions, filters=wanted, partitioning=None).drop_columns("model")
        except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"{self.predictions}: damaged; delete it and {self.file.name}.") from None


class BlockRun(StoredRun):
    """A run in a block."""

    def __init__(self, block: Block, name: str) -> None:
        """Nothing is read yet.

        Args:
            block: block that has the run.
            name: its folder inside the sweep's folder.
        """
        self.block = block
        self.name = name
        self.folder = block.file.parent.parent / name

    @property
    def place(self) -> str:
        """The block, and the run in it."""
        return f"{self.block.file} ({self.name})"

    @property
    def content(self) -> dict[str, Any]:
        """The parsed run.json."""
        content: dict[str, Any] = self.block.lines[self.name]["record"]
        return content

    @property
    def baseline(self) -> StoredRun | None:
        """The run of its baseline in the same block."""
        return self.block.find_run(f"{self.name}/{BASELINE_FOLDER}")

    @property
    def has_predictions(self) -> bool:
        """A block always has them."""
        return True

    def is_finished(self, recipe: Recipe) -> bool:
        """Whether the block has everything that a recipe asks for; ONNX files are described in the record."""
        try:
            has_onnx = self.record.onnx is not None
        except ValueError:
            return False
        return (self.baseline is not None or not recipe.baseline) and (has_onnx or not recipe.onnx)

    def read_table(self) -> pa.Table:
        """Read the predictions on all splits."""
        return self._read(None)

    def read_predictions(self, split: str) -> dict[str, NDArray[Any]]:
        """Read the predictions on one split."""
        return unpack_table(self._read(split))

    def _read(self, split: str | None) -> pa.Table:
        table = _rename_logits(self.block.read_logits(self.name, split=split), "student")
        if (teacher := self.block.lines[self.name]["teacher"]) is None:
            return table
        of_teacher = _rename_logits(self.block.read_logits(teacher, split=split), "teacher")
        for name in _name_logits(of_teacher, "teacher"):
            table = table.append_column(name, of_teacher[name])
        return table


def write_block(file: Path, runs: Mapping[str, StoredRun]) -> None:
    """Write a block; what is there is replaced.

    Args:
        file: its .jsonl file.
        runs: finished runs by their folder inside the sweep's. A run's baseline is stored with it.

    Raises:
        ValueError: a run's record or predictions are damaged, or have columns that a block cannot store.
    """
    with_baselines: dict[str, StoredRun] = {}
    for name, run in runs.items():
        with_baselines[name] = run
        if run.baseline is not None:
            with_baselines[f"{name}/{BASELINE_FOLDER}"] = run.baseline
    file.parent.mkdir(parents=True, exist_ok=True)
    block = Block(file)
    with open_whole_file(block.predictions) as temporary:
        teachers = _write_predictions(temporary, with_baselines)
    checksum = compute_checksum(block.predictions)
    with open_whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:
        for name, run in with_baselines.items():
            line = {"run": name, "teacher": teachers[name], "checksum": checksum, "record": run.content}
            lines.write(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n")


def _write_predictions(path: Path, runs: Mapping[str, StoredRun]) -> dict[str, str | None]:
    """Write the predictions of all runs, a row group per model; returns the model that is each run's teacher."""
    shared: pa.Table | None = None
    teachers: dict[str, str | None] = {}
    writer: pa.parquet.ParquetWriter | None = None
    try:
        for name, run in runs.items():
            table = run.read_table()
            student, teacher = (_take_logits(table, model, run.place) for model in ("student", "teacher"))
            if student is None:
                raise ValueError(f"{run.place}: its predictions have no logits of the student.")
            models = {name: student}
            teachers[name] = None if teacher is None else TEACHER
            if teacher is not None and shared is None:
                shared = models[TEACHER] = teacher
            elif teacher is not None and not _are_identical(teacher, shared):
                teachers[name] = f"{name}/{TEACHER}"
                models[f"{name}/{TEACHER}"] = teacher
            for model, logits in models.items():
                rows = logits.add_column(0, "model", pa.array([model] * len(logits), pa.string()))
                writer = writer or _open_writer(path, rows.schema)
                if rows.schema != writer.schema:
                    raise ValueError(f"{run.place}: its predictions have other columns than those beside them.")
                writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()
    return teachers


def _open_writer(path: Path, schema: pa.Schema) -> pa.parquet.ParquetWriter:
    """Rows are in order and logits hardly repeat, so they get encodings of their own."""
    integers = [name for name in ("row", "group") if name in schema.names]
    leaves = {}  # Parquet has a name of its own for the values of a list, as the logits of words are
    for field in schema:
        leaves[field.name] = f"{field.name}.list.element" if _holds_lists(field.type) else field.name
    encodings = {leaf: "BYTE_STREAM_SPLIT" for name, leaf in leaves.items() if name.startswith("logit_")}
    return pa.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=9,
        use_dictionary=[
            leaf for name, leaf in leaves.items() if name in ("model", "split") or name.startswith("label")
        ],
        column_encoding={**dict.fromkeys(integers, "DELTA_BINARY_PACKED"), **encodings},
    )


def _take_logits(table: pa.Table, model: str, place: str) -> pa.Table | None:
    """The predictions of one model of a run, with neutral names of the logits; None if there are none."""
    examples = [name for name in table.column_names if name in EXAMPLE or OF_LABEL.fullmatch(name)]
    known = {*examples, *(name for each in MODELS for name in _name_logits(table, each))}
    if set(table.column_names) != known or not {"split", "row"} <= known:
        raise ValueError(f"{place}: its predictions have other columns than a run's, which a block cannot store.")
    names = _name_logits(table, model)
    if not names:
        return None
    logits = [f"logit_{number}" for number in range(len(names))]
    return table.select([*examples, *names]).rename_columns([*examples, *logits]).replace_schema_metadata(None)


def _name_logits(table: pa.Table, model: str) -> list[str]:
    """Names of the columns of a model's logits: consecutive from 0."""
    names: list[str] = []
    while (name := f"{model}_{len(names)}") in table.column_names:
        names.append(name)
    return names


def _rename_logits(table: pa.Table, model: str) -> pa.Table:
    return table.rename_columns([name.replace("logit_", f"{model}_") for name in table.column_names])


def _are_identical(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables have identical bytes: equality calls 0.0 and -0.0 the same."""
    if first.schema != second.schema or len(first) != len(second):
        return False
    return all(_has_same_bytes(*pair) for pair in zip(first.columns, second.columns, strict=True))


def _has_same_bytes(first: pa.ChunkedArray, second: pa.ChunkedArray) -> bool:
    if _holds_lists(first.type):
        lists = [column.combine_chunks() for column in (first, second)]
        lengths = [column.value_lengths() for column in lists]  # null where there is no list
        return bool(lengths[0].equals(lengths[1])) and _has_same_bytes(*(column.flatten() for column in lists))
    if not pa.types.is_floating(first.type):
        return bool(first.equals(second))
    if first.null_count or second.null_count:  # of outputs that were given for some splits only
        if not first.is_null().equals(second.is_null()):
            return False
        first, second = first.drop_null(), second.drop_null()
    return bool(first.to_numpy().tobytes() == second.to_numpy().tobytes())


def _holds_lists(kind: pa.DataType) -> bool:
    """Whether cells are lists, as the logits of words and embeddings are."""
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))
