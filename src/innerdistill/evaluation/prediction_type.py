"""PredictionType: what the outputs of a model mean. Scoring: that, and what else scores depend on.

`problem_types` has a PredictionType for each problem type. The functions of this room get a Scoring as an argument.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.example_type import Names
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.metrics import (
    AGREEMENT_METRICS,
    Metric,
    Shape,
    find_agreement_metric,
    find_metric,
    select_metrics,
)
from innerdistill.evaluation.searches import find_places, list_relevances

Array = NDArray[Any]


@dataclass(frozen=True)
class SwappedLabels:
    """A model whose outputs seem to mean other labels than they are named after.

    Attributes:
        sentence: the rest of a sentence that begins with the model, as in "the teacher's ...".
        meant: label that each output seems to mean, by id.
    """

    sentence: str
    meant: tuple[int, ...]


@dataclass(frozen=True)
class PredictionType:
    """How the outputs of one problem type are read, described and compared. Shapes: N examples, C outputs.

    Labels and predictions are (N,), or (N, C) where an example has several. Logits per token are ragged: an array for
    each example, (W, C) for the W tokens in its column `pieces`. Labels and predictions are ragged where
    `ExampleType.encode_labels` makes such; of tagged words they are (W,). Of a query's documents, labels are (K,) and
    logits (K, C). Embeddings are (N, W, D), of the W texts of
    each example.

    Attributes:
        shape: shape of the predictions; metrics state the shape that they need.
        further_shapes: other shapes that metrics may need, where the labels are of another kind. Of `searches`, labels
            and predictions are made by `Scoring`; `identify`, `has_label` and `constant_predictions` get them too.
        predict: (logits (N, C)) -> predictions, of the same shape as labels.
        decide: (logits (N, C)) -> predictions in the form of labels: those of the teacher stand in for missing labels.
        identify: (predictions) -> one number for each example, equal for equal answers. (N,)
        has_label: (labels) -> True for examples with a label. (N,)
        mark_classes: (labels, names) -> by class name, True for the examples of the class (N,); nothing where there are
            no classes. Of tags, types of entities are the classes.
        choose_thresholds: (labels, logits (N, C), kind=) -> probabilities from which labels are predicted (C,), chosen
            on these examples; None where there are no thresholds.
        constant_predictions: (labels, names) -> the constant answers that a model has to beat, each as predictions for
            all these examples. At least one.
        describe: (labels, logits (N, C), names) -> further scores by name. All examples have a label. Pages know
            `collapsed`, whether all predictions are the same, `per_class` and `calibration_error`.
        compare: (labels, teacher logits (N, C), student logits (N, C)) -> numbers on their agreement, by name. With
            those of `count_right_and_wrong`, a page has the part `right and wrong`.
        agreement: name of the main one of these numbers, 1 for models that predict the same.
        agreement_values: (teacher logits (N, C), student logits (N, C)) -> by name of these numbers, values of the
            examples whose mean it is (N,), NaN for those that are left out. From them follow standard errors. None
            where the numbers have none.
        find_changed: (split as text, columns of its predictions, count=) -> the examples that two models answer most
            differently, as `find_disagreements` gives them; None where `measure_distances` says which these are.
        show_agreement: (this number) -> text for people. Types with the same name for it show it alike.
        measure_distances: (teacher logits (N, C), student logits (N, C)) -> True where they answer differently (N,),
            and how far apart their answers are (N,).
        show_label: (label, names, first text of the example as a table has it) -> a label for people. The text may be
            left out.
        show_answer: (logits of one example (C,), names, its first text) -> `answer`, and what else there is to show, by
            name. The text may be left out.
        make_columns: (logits (N, C), names of the outputs, thresholds (C,), texts=) -> the columns that `predict` adds
            to a file, by name. `texts` are the last text of each example (N,). Of a head with an activation, that is
            `activate=`.
        find_swapped_labels: (examples (N,), logits (N, C), names) -> what was found if the outputs of a model seem to
            mean other labels than they are named after, else None.
    """

    shape: Shape
    predict: Callable[[Array], Array]
    decide: Callable[[Array], Array]
    identify: Callable[[Array], Array]
    has_label: Callable[[Array], NDArray[np.bool_]]
    mark_classes: Callable[[Array, Any], dict[str, NDArray[np.bool_]]]
    choose_thresholds: Callable[..., NDArray[np.float64] | None]
    constant_predictions: Callable[[Array, Any], Iterable[Array]]
    describe: Callable[[Array, Array, Any], dict[str, Any]]
    compare: Callable[[Array, Array, Array], dict[str, float]]
    agreement: str
    show_agreement: Callable[[float], str]
    measure_distances: Callable[[Array, Array], tuple[NDArray[np.bool_], Array]]
    show_label: Callable[..., Any]
    show_answer: Callable[..., dict[str, Any]]
    make_columns: Callable[..., dict[str, Any]]
    find_swapped_labels: Callable[[LabelledExamples, Array, Any], SwappedLabels | None]
    agreement_values: Callable[[Array, Array], dict[str, Array]] | None = None
    find_changed: Callable[..., list[dict[str, Any]]] | None = None
    further_shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """What scores depend on, beside labels and logits.

    Attributes:
        metric: name of the primary metric. One of AGREEMENT_METRICS says that examples have no labels.
        names: class names by id; None where labels are numbers.
        predictions: what the outputs mean.
        positive: of two classes, the id of the one that f1 is of.
        constant: number of the constant answer to beat, among `predictions.constant_predictions`: the one that scores
            best on train. None, as in older records: the one that scores best on the examples that are scored.
    """

    metric: str
    names: Names
    predictions: PredictionType
    positive: int = 1
    constant: int | None = None

    @property
    def is_against_teacher(self) -> bool:
        """Whether the teacher's predictions stand in the place of labels."""
        return self.metric in AGREEMENT_METRICS

    def switch_to_teacher(self) -> Scoring:
        """The same for examples without labels, which are scored against the teacher's predictions.

        Returns:
            Scoring whose metric is the agreement, and whose constant answer is the best one on the scored examples.
        """
        return replace(self, metric=find_agreement_metric(self.predictions.shape), constant=None)

    @property
    def shape(self) -> Shape:
        """Shape of the predictions that the primary metric needs."""
        entry = AGREEMENT_METRICS.get(self.metric) or find_metric(self.metric)
        shapes = (shape for shape in self.predictions.further_shapes if entry.find(shape) is not None)
        return next(shapes, self.predictions.shape)

    @property
    def primary(self) -> Metric:
        """Entry of the primary metric."""
        return find_metric(self.metric, self.shape)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """All metrics that fit, by name."""
        if self.is_against_teacher:
            return {self.metric: self.primary}
        return {**select_metrics(self.shape), self.metric: self.primary}

    def select_labelled(self, examples: LabelledExamples) -> LabelledExamples:
        """Select the examples that have a label. Of searches, examples are queries with the relevances of documents.

        Args:
            examples: examples of a split. (N,)

        Returns:
            Those that are scored.
        """
        if self.shape == "searches":
            return LabelledExamples(list_relevances(examples.labels))
        return examples.select(self.predictions.has_label(examples.labels))

    def predict_labelled(self, examples: LabelledExamples, logits: Array) -> Array:
        """Predict the examples that have a label.

        Args:
            examples: examples of a split. (N,)
            logits: output of a model. (N, C)

        Returns:
            Predictions of those that `select_labelled` selects; of searches places of relevant documents.
        """
        if self.shape == "searches":
            return find_places(examples.labels, logits)
        return self.predictions.predict(logits[self.predictions.has_label(examples.labels)])

    def score(self, metric: Metric, labels: Array, predictions: Array) -> float:
        """Score predictions.

        Args:
            metric: entry of a metric that fits.
            labels: labels, none missing.
            predictions: from `predictions.predict`.

        Returns:
            The score.
        """
        return float(metric.score(labels, predictions, **self.facts(metric)))

    def score_constants(self, labels: Array) -> list[float]:
        """Score every constant answer in the primary metric.

        Args:
            labels: labels, none missing. (N,)

        Returns:
            Scores in the order of `predictions.constant_predictions`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of examples of one class only: their score is defined
            constants = self.predictions.constant_predictions(labels, self.names)
            return [self.score(self.primary, labels, constant) for constant in constants]

    def choose_constant(self, labels: Array) -> int:
        """Choose the constant answer that scores best on some examples; the first of equal ones.

        Args:
            labels: labels, none missing. (N,)

        Returns:
            Its number among `predictions.constant_predictions`.
        """
        return int(np.argmax(self.score_constants(labels)))

    def answer_constant(self, labels: Array) -> Array:
        """Predict the constant answer for all examples.

        Args:
            labels: labels, none missing. (N,)

        Returns:
            Predictions. (N,)
        """
        number = self.choose_constant(labels) if self.constant is None else self.constant
        return list(self.predictions.constant_predictions(labels, self.names))[number]

    def facts(self, metric: Metric) -> dict[str, Any]:
        """The facts that a metric reads.

        Args:
            metric: entry of a metric that fits.

        Returns:
            `names` and `positive`, as far as the metric reads them.
        """
        return metric.facts(names=self.names, positive=self.positive)
