"""Run: a finished run in Python, with its student, scores, predictions and report."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import METRICS, Metric, show_metric
from innerdistill.report.page import write_report
from innerdistill.report.record import RunRecord
from innerdistill.report.run_folder import REPORT, find_model_folder, read_record
from innerdistill.report.speed_record import OnnxRecord
from innerdistill.run.hub import push_to_hub
from innerdistill.run.objects import Objects, make_metrics
from innerdistill.run.onnx import export
from innerdistill.run.predict import Predictor, load_predictor, predict_texts

HEIGHT = 800  # pixels of the report in a notebook


class Report:
    """The report of a run, which a notebook shows.

    Attributes:
        path: the HTML file.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read yet.

        Args:
            path: the HTML file.
        """
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles stay inside."""
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{HEIGHT}" style="border: 0"></iframe>'


class Run(os.PathLike[str]):
    """A finished run. It can stand wherever a path of its folder can: `run / "model"`.

    Attributes:
        folder: folder of the run.
    """

    def __init__(self, folder: str | os.PathLike[str], *, objects: Objects | None = None) -> None:
        """Nothing is read yet.

        Args:
            folder: folder of the run.
            objects: Python objects that the run was given; `export` needs its data and metrics.
        """
        self.folder = Path(folder)
        self._objects = objects or Objects()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Run:
        """Open a finished run.

        Args:
            folder: folder of the run.

        Returns:
            The run.

        Raises:
            ValueError: no finished run there.
        """
        read_record(Path(folder))
        return cls(folder)

    @property
    def record(self) -> RunRecord:
        """What the run was asked for, what happened, and what came out: its run.json."""
        return read_record(self.folder)

    @property
    def scores(self) -> dict[str, Any]:
        """Scores by split and model, such as `run.scores["validation"]["student"]["accuracy"]`."""
        return {split: scores.model_dump(mode="json") for split, scores in self.record.scores.items()}

    @property
    def model(self) -> PreTrainedModel:
        """The trained model, in eval mode: the student, or the teacher of a fine-tuning."""
        return self._predictor.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the model."""
        return self._predictor.tokenizer

    @cached_property
    def _predictor(self) -> Predictor:
        folder, longest = find_model_folder(self.folder), self.record.data.max_length
        return load_predictor(folder, max_length=longest, texts=self._number_of_texts)

    @cached_property
    def _number_of_texts(self) -> int:
        """Texts of an example, 1 or 2."""
        return len(resolve_task(self.record.recipe.data).text)

    def predict(self, texts: Sequence[str] | Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Predict texts.

        Args:
            texts: texts; pairs of texts where the model was trained on pairs; texts or lists of words for a tagger.

        Returns:
            A dict for each: predicted_label and probability_<label> per class, predicted_labels and the same for label
            sets, predicted_score, or predicted_tags and predicted_spans. Spans count the characters of the text, or of
            the words joined by spaces.

        Raises:
            ValueError: one text or a table instead of a list, something that is not text, or pairs where the model
                reads single texts.
        """
        return predict_texts(self._predictor, texts, number=self._number_of_texts)

    def report(self) -> Report:
        """Write the report, if it is not there, and show it in a notebook.

        Returns:
            The report.
        """
        path = self.folder / REPORT
        return Report(path if path.is_file() else write_report(self.folder))

    def export(self, *, metrics: Mapping[str, Callable[..., float] | Metric] | None = None, **data: Any) -> OnnxRecord:
        """Export the model to ONNX, in float32 and int8. The files are compared with the model, scored and timed.

        A run that was loaded with `Run.load` needs the Python objects that it was given.

        Args:
            metrics: metrics of the user's own by name.
            **data: rows by split (`train`, `validation`, ...).

        Returns:
            Sizes, latencies and scores of the files.

        Raises:
            ValueError: data or metrics missing or changed, or a file that cannot be written.
        """
        own_metrics = {
            **self._objects.metrics,
            **make_metrics(metrics or {}, self.record.problem_type.predictions.shape),
        }
        with METRICS.extend(own_metrics):
            return export(self.folder, data={**self._objects.data, **data})

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Upload the model and its card to the Hugging Face Hub.

        Args:
            repo_id: name of the repository, such as `my-name/my-model`; it is created if it does not exist.
            private: whether a new repository is private; None leaves it to the account's settings.
            token: token with write permission; None means that of `hf auth login` or HF_TOKEN.

        Returns:
            Address of the repository.

        Raises:
            ValueError: a name that is not one of a repository, no token, or a failed upload.
        """
        return push_to_hub(find_model_folder(self.folder), repo_id, private=private, token=token)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __truediv__(self, part: str | os.PathLike[str]) -> Path:
        return self.folder / part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run | Path) and Path(other) == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """A table of scores; `report` has the rest."""
        record = self.record
        trained = "student" if record.teacher is not None else "teacher"  # of `finetune`
        columns = [trained] if record.teacher is None else ["teacher", trained]
        rows = []
        for split, scores in record.scores.items():
            of_models = [scores.student] if scores.teacher is None else [scores.teacher, scores.student]
            cells = "".join(f"<td>{of_model.primary:.3f}</td>" for of_model in of_models)
            rows.append(f"<tr><th>{split}</th>{cells}</tr>")
        metric = html.escape(show_metric(record.data.metric))
        head = f"<tr><th>{metric}</th>{''.join(f'<th>{name}</th>' for name in columns)}</tr>"
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
