"""A finished run where it is stored: its record and its predictions, from the run's folder or from elsewhere.

Commands that need no model read runs through `StoredRun`. `sweep.blocks` stores the runs of a sweep in fewer files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from innerdistill.evaluation.differences import compare_with_constant
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.recipe.identity import list_differences
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.explorer import read_examples
from innerdistill.report.record import Difference, RunRecord, Scores, parse_record
from innerdistill.report.run_folder import (
    BASELINE_FOLDER,
    MODEL,
    PREDICTIONS,
    REPORT,
    RUN,
    has_record,
    is_finished,
    read_predictions,
)
from innerdistill.support.files import read_json


class StoredRun(ABC):
    """A finished run.

    Attributes:
        folder: folder of the run; it may be gone.
    """

    folder: Path

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the run is stored, for messages."""

    @property
    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The parsed run.json, as the run wrote it; a ValueError if it is missing or damaged."""

    @cached_property
    def record(self) -> RunRecord:
        """The record of the run; a ValueError if it is missing, damaged or written by a later version."""
        return parse_record(self.content, where=self.place)

    @property
    @abstractmethod
    def baseline(self) -> StoredRun | None:
        """The run of the student that was trained without distillation; None if there is none."""

    @property
    @abstractmethod
    def has_predictions(self) -> bool:
        """Whether its predictions are stored."""

    @property
    def has_model(self) -> bool:
        """Whether its model is stored."""
        return False

    @property
    def has_report(self) -> bool:
        """Whether its own page is stored."""
        return False

    @abstractmethod
    def read_table(self) -> pa.Table:
        """Read the predictions on all splits.

        Returns:
            split, row, label, with groups also group, and a column per logit of student and teacher.

        Raises:
            ValueError: missing or damaged.
        """

    @abstractmethod
    def read_predictions(self, split: str) -> dict[str, NDArray[Any]]:
        """Read the predictions on one split.

        Args:
            split: name of the split.

        Returns:
            row, label, with groups also group (N,), and the logits of `teacher` and `student` (N, C).

        Raises:
            ValueError: missing or damaged.
        """

    def read_examples(self) -> dict[str, Any] | None:
        """Read attention maps and disagreements on single examples.

        Returns:
            `attention` and `disagreements`; None if they are not stored.

        Raises:
            ValueError: the file is damaged.
        """
        return None

    def score_teacher(self, split: str) -> Scores | None:
        """Look up the scores of the teacher.

        Records of older runs lack the difference from the constant answer. It is computed from their predictions.

        Args:
            split: name of the split.

        Returns:
            Its scores on that split; None where its outputs are columns that the split lacks.
        """
        scores = self.record.scores[split].teacher
        if scores is None or scores.above_constant is not None or not self.has_predictions:
            return scores
        if split not in self._older_teacher_scores:
            columns = self.read_predictions(split)
            scoring = self.record.data.scoring
            examples = LabelledExamples.from_columns(columns, scoring=scoring)
            difference = compare_with_constant(examples, columns["teacher"], scoring=scoring)
            self._older_teacher_scores[split] = scores.model_copy(
                update={"above_constant": Difference.model_validate(difference.as_dict())}
            )
        return self._older_teacher_scores[split]

    @cached_property
    def _older_teacher_scores(self) -> dict[str, Scores]:
        return {}

    @abstractmethod
    def is_finished(self, recipe: Recipe) -> bool:
        """Whether nothing of what a recipe asks for is left to compute, as `run_folder` says.

        Args:
            recipe: recipe of the run.

        Returns:
            True if it is finished; False for a damaged record.
        """

    def list_differences(self, recipe: Recipe) -> list[str]:
        """List the keys in which the run's recipe differs from another.

        Args:
            recipe: recipe that is wanted.

        Returns:
            Dotted keys, each with the run's value and the one that is wanted.
        """
        return list_differences(self.record.recipe.model_dump(mode="json"), recipe)


class FolderRun(StoredRun):
    """A run in its own folder."""

    def __init__(self, folder: str | Path) -> None:
        """Nothing is read yet.

        Args:
            folder: folder of the run.
        """
        self.folder = Path(folder)

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The parsed run.json."""
        try:
            content = read_json(self.folder / RUN)
        except FileNotFoundError:
            raise ValueError(f"{self.folder}: no finished run there ({RUN} is missing).") from None
        return content if isinstance(content, dict) else {}

    @property
    def baseline(self) -> StoredRun | None:
        """The run in the folder `baseline`."""
        folder = self.folder / BASELINE_FOLDER
        return FolderRun(folder) if has_record(folder) else None

    @property
    def has_predictions(self) -> bool:
        """Whether predictions.parquet is there."""
        return (self.folder / PREDICTIONS).is_file()

    @property
    def has_model(self) -> bool:
        """Whether the folder `model` is there."""
        return (self.folder / MODEL).is_dir()

    @property
    def has_report(self) -> bool:
        """Whether report.html is there."""
        return (self.folder / REPORT).is_file()

    def is_finished(self, recipe: Recipe) -> bool:
        """Whether its folder holds everything that a recipe asks for."""
        try:
            return bool(self.record) and is_finished(self.folder, recipe)  # a damaged record is that of no run
        except ValueError:
            return False

    def read_table(self) -> pa.Table:
        """Read predictions.parquet."""
        file = self.folder / PREDICTIONS
        try:
            return pa.parquet.read_table(file, partitioning=None)
        except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"{file}: missing, damaged or not the predictions of a run.") from None

    def read_predictions(self, split: str) -> dict[str, NDArray[Any]]:
        """Read one split of predictions.parquet."""
        return read_predictions(self.folder / PREDICTIONS, split)

    def read_examples(self) -> dict[str, Any] | None:
        """Read examples.json."""
        return read_examples(self.folder)
