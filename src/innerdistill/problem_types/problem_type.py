"""ProblemType: everything that depends on what a model puts out.

An object wires functions of the rooms above (data, models, losses, evaluation) together and has no logic of its own.
`problem_types.py` has the dict of all objects. All other rooms ask the object instead of asking which type it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from innerdistill.data.example_type import ExampleType, Names
from innerdistill.evaluation.prediction_type import PredictionType, Scoring
from innerdistill.losses.loss import Loss
from innerdistill.models.heads import Head

CLS_COSINE, SOFT_LABELS, GOLD_LABELS = "cls_cosine", "soft_labels", "gold_labels"
OUTPUT_LOSSES = (SOFT_LABELS, GOLD_LABELS)  # what they measure depends on the problem type

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
        agreement_numbers: titles of all numbers on the agreement of two models, where a page shows more than the main
            one; their standard errors stand beside them.
        file_numbers: titles of those of these numbers that the table of ONNX files shows beside the main one.
        agreement_note: sentences below these numbers.
        class_columns: what the part `per class` has a line for, and what it counts.
        library: package that `usage` loads the model with.
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
    agreement_numbers: Mapping[str, str] = field(default_factory=dict)
    file_numbers: Mapping[str, str] = field(default_factory=dict)
    agreement_note: str = ""
    library: str = "transformers"


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem, named as in `problem_type` of a transformers configuration where that has a name for it.

    Attributes:
        name: name in PROBLEM_TYPES and in run.json.
        examples: how texts and labels are read, encoded and split, and matched to a model's outputs.
        head: which models have the right head.
        output_losses: `soft_labels` and `gold_labels`, those of them that the type has, per example.
        predictions: what the outputs mean, and how they are compared.
        default_metric: primary metric, where nothing else is known.
        wording: plain data for model cards, pages and files.
        has_thresholds: whether its models store thresholds in their configuration.
        stand_ins: losses that stand in the place of others, by the name of those, unless a recipe names them.
        data_keys: keys of `data` that other problem types do not read, and refuse.
        needs_same_tokens: why a student cannot learn from a teacher that reads other tokens; None if it can.
    """

    name: str
    examples: ExampleType
    head: Head
    output_losses: Mapping[str, Loss]
    predictions: PredictionType
    default_metric: str
    wording: Wording
    has_thresholds: bool = False
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    data_keys: tuple[str, ...] = ()
    needs_same_tokens: str | None = None

    def choose_losses(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Choose the losses of a run.

        Args:
            weights: weights by loss of a recipe.

        Returns:
            The same; a loss of `stand_ins` has the weight of the one in whose place it stands, if the recipe does not
            name it. If it does, that one keeps its own weight; but an output loss that the type lacks is left out.
        """
        chosen = {}
        for name, weight in weights.items():
            stand_in = self.stand_ins.get(name, name)
            if stand_in not in weights:
                chosen[stand_in] = weight
            elif stand_in == name or not self._lacks(name):
                chosen[name] = weight
        return chosen

    def check_losses(self, weights: Mapping[str, float], losses: Mapping[str, Loss]) -> None:
        """Check that a run has no loss that is not for this problem type.

        Args:
            weights: weights by loss, from `choose_losses`.
            losses: losses by name.

        Raises:
            ValueError: a loss that compares embeddings or documents, for models that have none; or an output loss
                that the type lacks.
        """
        title, outputs = self.wording.title, self.wording.outputs
        for name in (name for name, weight in weights.items() if weight > 0):
            if losses[name].of_embeddings and self.predictions.shape != "embeddings":
                raise ValueError(
                    f"losses.{name}: it compares embeddings, and {title} has {outputs}; use losses.soft_labels."
                )
            if losses[name].of_rankings and self.predictions.shape != "rankings":
                raise ValueError(
                    f"losses.{name}: it compares the documents of a query, and {title} has none; use "
                    "losses.soft_labels, or data.problem_type=text_ranking."
                )
            if self._lacks(name):
                raise ValueError(f"losses.{name}: {title} learns from the teacher's {outputs} alone; set it to 0.")

    @property
    def learns_from_labels(self) -> bool:
        """Whether a model can be trained on labels alone, without a teacher."""
        return GOLD_LABELS in self.output_losses

    def _lacks(self, name: str) -> bool:
        """Whether a loss depends on the problem type, and this one has none of its name."""
        return name in OUTPUT_LOSSES and name not in self.output_losses

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
