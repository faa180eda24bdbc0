"""Metrics: how predictions are scored against labels. An entry in METRICS is all that a metric needs.

A new metric is an entry here, or of an installed package. Standard errors and intervals are computed with its own
score. The functions are those of scikit-learn and SciPy. Shapes: N examples, C classes, D confusion matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from innerdistill.evaluation.correlations import (
    compute_pearson_pseudo_values,
    compute_spearman_pseudo_values,
    correlate,
)
from innerdistill.evaluation.label_set_metrics import (
    compute_average_precision_pseudo_values,
    compute_exact_match_pseudo_values,
    compute_macro_f1_pseudo_values,
    compute_micro_f1_pseudo_values,
    score_average_precision,
    score_exact_match,
    score_macro_f1,
    score_micro_f1,
)
from innerdistill.evaluation.ranking_metrics import (
    correlate_ranks,
    measure_ndcg,
    measure_queries,
    measure_reciprocal_rank,
    score_queries,
)
from innerdistill.evaluation.searches import measure_recall, measure_search_gain, measure_search_rank
from innerdistill.evaluation.similarities import (
    compute_pair_pseudo_values,
    compute_similarity_pseudo_values,
    correlate_similarities,
    score_pairs,
)
from innerdistill.evaluation.tag_metrics import (
    EntityScore,
    compute_entity_pseudo_values,
    compute_tag_accuracy_pseudo_values,
    score_entities_of_tags,
    score_tag_accuracy,
)
from innerdistill.support.extensions import Registry
from innerdistill.support.messages import suggest_closest

Array = NDArray[Any]
AGREEMENT = "agreement_with_the_teacher"  # share of examples with the teacher's predictions
# Metrics whose pseudo-values are 1 and 0, right and wrong: a new one of this kind is named here too.
SHARES_OF_RIGHT = ("accuracy", "exact_match", AGREEMENT)

Shape = Literal["classes", "scores", "label sets", "tags", "embeddings", "rankings", "searches"]


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    Attributes:
        score: called with labels (N,) and predictions (N,), and with the facts that `reads` names as keywords.
        shape: shape of the predictions that it needs: `classes` are class ids, `scores` are real numbers. `label sets`
            are labels of 1 and 0 (N, C), and predictions (N, C) of which those above 0 are chosen. `tags` are arrays of
            tag ids, one for each example (N,). `embeddings` are those of the W texts of an example (N, W, D), and
            labels scores of pairs (N,). `rankings` are arrays of scores, one for each query (N,), and labels arrays of
            relevances. `searches` are places of relevant documents, and labels their relevances, as
            `evaluation/searches.py` has them; one array of each for every query (N,).
        higher_is_better: False for an error. An error cannot be the primary metric.
        reads: further facts: `names` (class names by id), `positive` (id of the class that f1 is of).
        pseudo_values: (labels (N,), predictions (N,), and the facts) -> numbers that average to the score (N,), from
            which standard errors follow. It only saves time: without it, the score is computed without one example
            after the other.
        of_counts: the same score for many confusion matrices (D, C, C), by label and prediction, at once: (D,). It
            only saves time too.
        title: name for people; if empty, the name in METRICS with spaces.
        others: metrics of the same name for predictions of other shapes.
    """

    score: Callable[..., float]
    shape: Shape
    higher_is_better: bool = True
    reads: tuple[Literal["names", "positive"], ...] = ()
    pseudo_values: Callable[..., Array] | None = None
    of_counts: Callable[..., Array] | None = None
    title: str = ""
    others: tuple[Metric, ...] = ()

    def find(self, shape: Shape) -> Metric | None:
        """Find the metric of this name for predictions of one shape.

        Args:
            shape: shape of the predictions.

        Returns:
            This metric or another one; None if there is none.
        """
        return next((metric for metric in (self, *self.others) if metric.shape == shape), None)

    def facts(self, **known: Any) -> dict[str, Any]:
        """The facts that the score reads.

        Args:
            **known: all facts by name.

        Returns:
            Those that `reads` names.
        """
        return {name: known[name] for name in self.reads}


def find_metric(name: str, shape: Shape | None = None) -> Metric:
    """Look a metric up.

    Args:
        name: name of the metric.
        shape: shape of the predictions; None means the first that the metric is for.

    Returns:
        The entry.

    Raises:
        ValueError: unknown name, or predictions that it is not for; the sentence says which metrics fit which ones.
    """
    if name not in METRICS and name not in AGREEMENT_METRICS:
        known = [known for known in METRICS if known not in METRICS.built_in or METRICS[known].higher_is_better]
        hint = " ".join(filter(None, [suggest_closest(name, known), _list_primary_metrics()]))
        raise ValueError(f"unknown metric {name!r}. {hint}")
    entry = METRICS[name] if name in METRICS else AGREEMENT_METRICS[name]
    metric = entry if shape is None else entry.find(shape)
    if metric is None:
        raise ValueError(f"{name!r} is no metric for {shape}. {_list_primary_metrics()}")
    return metric


def find_primary_metric(name: str, shape: Shape | None = None) -> Metric:
    """Look up the metric that models are compared by and checkpoints are chosen by.

    Args:
        name: name of the metric.
        shape: shape of the predictions; None means the first that the metric is for.

    Returns:
        The entry.

    Raises:
        ValueError: unknown name, predictions that it is not for, or a metric of which lower is better.
    """
    if name in AGREEMENT_METRICS:
        raise ValueError(
            f"{name!r} is what splits without labels are scored by, and cannot be chosen. {_list_primary_metrics()}"
        )
    metric = find_metric(name, shape)
    if not metric.higher_is_better:
        raise ValueError(f"{name!r} cannot be the primary metric, because lower is better. {_list_primary_metrics()}")
    return metric


def select_metrics(shape: Shape) -> dict[str, Metric]:
    """Select the built-in metrics that score predictions of one shape. Others are computed where they are the primary.

    Args:
        shape: shape of the predictions.

    Returns:
        Metrics by name.
    """
    found = ((name, metric.find(shape)) for name, metric in METRICS.built_in.items())
    return {name: metric for name, metric in found if metric is not None}


def find_agreement_metric(shape: Shape) -> str:
    """Find the metric of examples without labels: what predictions have in common with those of the teacher.

    Args:
        shape: shape of the predictions.

    Returns:
        A name of AGREEMENT_METRICS, which has one for every shape.

    >>> find_agreement_metric("classes")
    'agreement_with_the_teacher'
    """
    return next(name for name, metric in AGREEMENT_METRICS.items() if metric.find(shape) is not None)


def show_metric(name: str) -> str:
    """Name a metric for people: everywhere by the same name.

    Args:
        name: name in METRICS.

    Returns:
        Its title.

    >>> show_metric("macro_f1"), show_metric("accuracy")
    ('macro F1', 'accuracy')
    """
    entry = METRICS[name] if name in METRICS else AGREEMENT_METRICS.get(name)
    return (entry and entry.title) or name.replace("_", " ")


def accuracy_of_counts(counts: Array) -> Array:
    """Share of right predictions.

    Args:
        counts: confusion matrices by label and prediction. (D, C, C)

    Returns:
        From 0 to 1. (D,)

    >>> accuracy_of_counts(np.array([[[2, 1], [1, 4]]]))
    array([0.75])
    """
    counts = counts.astype(float)
    return np.asarray(_right(counts).sum(1) / counts.sum((1, 2)))


def mcc_of_counts(counts: Array) -> Array:
    """Matthews correlation coefficient, for any number of classes. Source: Gorodkin 2004.

    Args:
        counts: confusion matrices by label and prediction. (D, C, C)

    Returns:
        From -1 to 1; 0 where only one class is predicted or occurs. (D,)

    >>> mcc_of_counts(np.array([[[2, 0], [0, 3]]]))
    array([1.])
    """
    counts = counts.astype(float)
    right, labelled, predicted, total = _right(counts), counts.sum(2), counts.sum(1), counts.sum((1, 2))
    covariance = right.sum(1) * total - (labelled * predicted).sum(1)
    scale = np.sqrt((total**2 - (labelled**2).sum(1)) * (total**2 - (predicted**2).sum(1)))
    return np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)


def macro_f1_of_counts(counts: Array) -> Array:
    """F1 of every class, averaged over the classes that occur.

    Args:
        counts: confusion matrices by label and prediction. (D, C, C)

    Returns:
        From 0 to 1. (D,)
    """
    f1, occurs = _f1_by_class(counts)
    return np.asarray(f1.sum(1) / occurs.sum(1))


def f1_of_counts(counts: Array, *, names: Sequence[str], positive: int) -> Array:
    """F1 of one of two classes; of more than two, macro F1.

    Args:
        counts: confusion matrices by label and prediction. (D, C, C)
        names: class names by id.
        positive: id of the class, where there are two.

    Returns:
        From 0 to 1. (D,)
    """
    if len(names) != 2:
        return macro_f1_of_counts(counts)
    return np.asarray(_f1_by_class(counts)[0][:, positive])


def _right(counts: Array) -> Array:
    return np.diagonal(counts, axis1=1, axis2=2)


def _f1_by_class(counts: Array) -> tuple[Array, Array]:
    """F1 of every class (D, C), 0 where a class does not occur, and whether it occurs (D, C)."""
    counts = counts.astype(float)
    both = counts.sum(2) + counts.sum(1)
    return np.divide(2 * _right(counts), both, out=np.zeros_like(both), where=both > 0), both > 0


def _f1(labels: Array, predictions: Array, *, names: Sequence[str], positive: int) -> float:
    if len(names) != 2:
        return _macro_f1(labels, predictions)
    return float(f1_score(labels, predictions, pos_label=positive, zero_division=0))


def _macro_f1(labels: Array, predictions: Array) -> float:
    return float(f1_score(labels, predictions, average="macro", zero_division=0))


def _mse(labels: Array, predictions: Array) -> float:
    return float(np.square(labels - predictions).mean())


def _make_entity_metric(kind: EntityScore, *, title: str = "") -> Metric:
    pseudo_values = partial(compute_entity_pseudo_values, kind=kind)
    score = partial(score_entities_of_tags, kind=kind)
    return Metric(score, "tags", reads=("names",), pseudo_values=pseudo_values, title=title)


def _make_pair_metric(function: Callable[..., Any], pseudo_values: Callable[[Array, Array], Array]) -> Metric:
    """A correlation of the similarities of pairs with their scores."""
    return Metric(
        partial(score_pairs, function=function),
        "embeddings",
        pseudo_values=partial(compute_pair_pseudo_values, function=pseudo_values),
    )


def _make_query_metric(
    measure: Callable[[Array, Array], float],
    shape: Shape = "rankings",
    *,
    title: str = "",
    others: Sequence[Metric] = (),
) -> Metric:
    """A mean over queries, each of which has its own value."""
    pseudo_values = partial(measure_queries, measure=measure)
    score = partial(score_queries, measure=measure)
    return Metric(score, shape, pseudo_values=pseudo_values, title=title, others=tuple(others))


def _list_primary_metrics() -> str:
    """Which primary metrics fit which predictions, in a sentence."""
    parts = []
    for shape in get_args(Shape):
        names = [name for name, metric in select_metrics(shape).items() if metric.higher_is_better]
        parts.append(f"for {shape}: {', '.join(names)}")
    installed = [name for name in METRICS if name not in METRICS.built_in]
    parts += [f"from installed packages: {', '.join(installed)}"] if installed else []
    return f"{'; '.join(parts).capitalize()}."


METRICS = Registry(
    "metrics",
    Metric,
    {
        "accuracy": Metric(accuracy_score, "classes", of_counts=accuracy_of_counts),
        "f1": Metric(_f1, "classes", reads=("names", "positive"), of_counts=f1_of_counts, title="F1"),
        "micro_f1": Metric(
            score_micro_f1, "label sets", pseudo_values=compute_micro_f1_pseudo_values, title="micro F1"
        ),
        "macro_f1": Metric(
            _macro_f1,
            "classes",
            of_counts=macro_f1_of_counts,
            title="macro F1",
            others=(Metric(score_macro_f1, "label sets", pseudo_values=compute_macro_f1_pseudo_values),),
        ),
        "mean_average_precision": Metric(
            score_average_precision, "label sets", pseudo_values=compute_average_precision_pseudo_values
        ),
        "exact_match": Metric(score_exact_match, "label sets", pseudo_values=compute_exact_match_pseudo_values),
        "mcc": Metric(matthews_corrcoef, "classes", of_counts=mcc_of_counts, title="MCC"),
        "pearson": Metric(
            partial(correlate, pearsonr),
            "scores",
            pseudo_values=compute_pearson_pseudo_values,
            title="Pearson correlation",
            others=(_make_pair_metric(pearsonr, compute_pearson_pseudo_values),),
        ),
        "spearman": Metric(
            partial(correlate, spearmanr),
            "scores",
            pseudo_values=compute_spearman_pseudo_values,
            title="Spearman correlation",
            others=(_make_pair_metric(spearmanr, compute_spearman_pseudo_values),),
        ),
        "entity_f1": _make_entity_metric("f1", title="entity F1"),
        "entity_precision": _make_entity_metric("precision"),
        "entity_recall": _make_entity_metric("recall"),
        "tag_accuracy": Metric(score_tag_accuracy, "tags", pseudo_values=compute_tag_accuracy_pseudo_values),
        "ndcg_at_10": _make_query_metric(
            measure_ndcg, title="nDCG@10", others=[_make_query_metric(measure_search_gain, "searches")]
        ),
        "mrr_at_10": _make_query_metric(
            measure_reciprocal_rank, title="MRR@10", others=[_make_query_metric(measure_search_rank, "searches")]
        ),
        "recall_at_10": _make_query_metric(partial(measure_recall, count=10), "searches", title="recall@10"),
        "recall_at_100": _make_query_metric(partial(measure_recall, count=100), "searches", title="recall@100"),
        "mse": Metric(_mse, "scores", higher_is_better=False, title="mean squared error"),
    },
)

# Of examples without labels. The teacher's predictions stand in the place of the labels. Every shape needs one here.
AGREEMENT_METRICS = {
    AGREEMENT: replace(METRICS.built_in["accuracy"], others=(METRICS.built_in["exact_match"],)),
    "correlation_with_the_teacher": replace(METRICS.built_in["pearson"], title="", others=()),
    "similarity_correlation_with_the_teacher": Metric(
        correlate_similarities,
        "embeddings",
        pseudo_values=compute_similarity_pseudo_values,
        title="agreement of similarities",
    ),
    "entity_f1_with_the_teacher": replace(METRICS.built_in["entity_f1"], title="entity F1 with the teacher"),
    "rank_correlation_with_the_teacher": _make_query_metric(correlate_ranks),
}
