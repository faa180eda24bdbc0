"""ProblemType: everything that depends on what a model puts out.

An object wires functions of the rooms above (data, models, losses, evaluation) together and has no logic of its own.
`problem_types.py` has the dict of all objects. All other rooms ask the object instead of asking which type it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from innerdistill.data.example_type import ExampleType, Names
from innerdistill.evaluation.prediction_type import PredictionType, Scoring
from innerdistill.losses.loss import Loss
from innerdistill.models.heads import Head

CLS_COSINE = "cls_cosine"

PagePart = Literal["calibration error", "per class", "right and wrong"]


@dataclass(frozen=True)
class Wording:
    """Plain data for model cards, pages and files.

    Attributes:
        title: name of the problem, as in "a teacher for regression".
        outputs: plural noun for what is predicted, as in "the data has classes".
        pipeline_tag: task of the hub and of transformers' pipelines.
        usage: lines of Python that load the model, for its card: by transformers' pipeline, or by the class of the head
            where there is no pipeline.
        function: name of the function that these lines define. The card calls it with a text; of pairs with a mapping
            of `text` and `text_pair`, as pipelines take them.
        onnx_outputs: names of the outputs of an ONNX file, in the order in which the model returns them.
        output_columns: columns that `predict` adds to a file; `<label>` stands for every label.
        agreement: what the agreement of two models is, as in "as the model: equal predictions".
        output_distance: what the mean distance of the outputs of two models is.
        disagreement: what two models have that disagree, as in "examples with other answers".
        page_parts: parts of a report that only some problem types have.
        class_columns: what the part `per class` has a line for, and what it counts.
    """

    title: str
    outputs: str
    pipeline_tag: str
    usage: tuple[str, ...]
    function: str
    onnx_outputs: tuple[str, ...]
    output_columns: tuple[str, ...]
    agreement: str
    output_distance: str
    disagreement: str
    page_parts: frozenset[PagePart]
    class_columns: tuple[str, str] = ("class", "examples")


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem, named as in `problem_type` of a transformers configuration where that has a name for it.

    Attributes:
        name: name in PROBLEM_TYPES and in run.json.
        examples: how texts and labels are read, encoded and split, and matched to a model's outputs.
        head: which models have the right head.
        output_losses: `soft_labels` and `gold_labels`, per example.
        predictions: what the outputs mean, and how they are compared.
        default_metric: primary metric, where nothing else is known.
        wording: plain data for model cards, pages and files.
        has_thresholds: whether its models store thresholds in their configuration.
        cosine: internal loss that stands in the place of `cls_cosine`, unless a recipe names it.
        data_keys: keys of `data` that other problem types do not read, and refuse.
    """

    name: str
    examples: ExampleType
    head: Head
    output_losses: Mapping[str, Loss]
    predictions: PredictionType
    default_metric: str
    wording: Wording
    has_thresholds: bool = False
    cosine: str = CLS_COSINE
    data_keys: tuple[str, ...] = ()

    def choose_losses(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Choose the losses of a run. A head that reads all tokens learns little from a cosine of [CLS] alone.

        Args:
            weights: weights by loss of a recipe.

        Returns:
            The same; the weight of `cls_cosine` is that of `cosine`, if the recipe does not name that loss.
        """
        if self.cosine in weights:
            return dict(weights)
        return {self.cosine if name == CLS_COSINE else name: weight for name, weight in weights.items()}

    def make_scoring(self, metric: str, names: Names, *, positive: int = 1, constant: int | None = None) -> Scoring:
        """Put together what the scores of a run depend on.

        Args:
            metric: name of the primary metric.
            names: class names in the order of the model's outputs.
            positive: of two classes, the id of the one that f1 is of.
            constant: number of the constant answer to beat; None means the best one on the scored examples.

        Returns:
            An argument of the functions of `evaluation`.
        """
        return Scoring(metric, names and tuple(names), self.predictions, positive, constant)
