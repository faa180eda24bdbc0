"""How often the intervals of a sweep hold the true difference, how often tests find it, and whether refusals come.

    python benchmarks/error_rates.py            # 15 to 30 minutes on one core
    python benchmarks/error_rates.py --quick    # 2 minutes

Answers are drawn in two ways. From a normal model: an example is answered right where the sum of parts of the method,
of the example, of the seed, of example and method, and of all of them is positive. And from committed predictions:
seeds and examples are drawn with replacement, as if those that were run were all there are. Each rate is followed by
its simulation standard error. Shapes: U seeds, N examples.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from innerdistill.evaluation.answers import Answers, count_rarest
from innerdistill.evaluation.labelled_examples import LabelledExamples, sum_groups
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.pseudo_values import compute_pseudo_values
from innerdistill.problem_types.regression import REGRESSION
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.sweep.gather import group_runs
from innerdistill.sweep.grid import plan_cells, read_sweep
from innerdistill.sweep.groups import Group
from innerdistill.sweep.statistics import Comparison, compare_pair
from innerdistill.sweep.store import RunStore

Array = NDArray[np.float64]

RESULTS = Path(__file__).parents[1] / "results"
SWEEPS = ("movies", "cola-bfloat16", "ablations/distil_or_finetune")
SHARES = {"accuracy": (0.5, 0.5), "mcc": (0.3, 0.7), "f1": (0.32, 0.68), "macro_f1": (0.2, 0.3, 0.5), "spearman": ()}
SEEDS_TO_AVERAGE = norm.ppf((np.arange(401) + 0.5) / 401)  # of all seeds there are


@dataclass(frozen=True)
class Noise:
    """Deviations of the parts of the normal model.

    Attributes:
        name: what matters.
        seed: of what a seed is worth to one method.
        example: of what an example is worth to one method beside the other.
        both: of what differs by seed, example and method.
        shared: of what an example is worth to both methods.
    """

    name: str
    seed: float
    example: float
    both: float = 0.5
    shared: float = 0.8


NOISES = (
    Noise("seeds and examples matter", 0.05, 0.35),
    Noise("seeds matter", 0.15, 0.1),
    Noise("examples matter", 0.01, 0.5, both=0.2),
)
NEITHER = Noise("neither matters", 0.0, 0.0, both=0.6)


@dataclass(frozen=True)
class Case:
    """One setting of the simulation. The first method is right more often than the second one.

    Attributes:
        metric: name of the score.
        seeds: U.
        examples: N.
        noise: what matters.
        means: mean of the normal model by method; for correlations, of the seeds' own correlations.
        shares: share of the examples by class.
        group_size: examples that belong together: half of the variance of what an example is worth is their group's.
        knows_groups: whether the examples of a group count as one.
    """

    metric: str
    seeds: int
    examples: int
    noise: Noise
    means: tuple[float, float] = (1.1, 1.0)
    shares: tuple[float, ...] = (0.5, 0.5)
    group_size: int = 1
    knows_groups: bool = True

    @property
    def groups(self) -> NDArray[np.int64]:
        """Number of the group of each example, as an array (N,)."""
        return np.arange(self.examples) // self.group_size

    @property
    def scoring(self) -> Scoring:
        """Metric, and what the outputs mean."""
        if self.metric == "spearman":
            return REGRESSION.make_scoring(self.metric, None)
        return SINGLE_LABEL_CLASSIFICATION.make_scoring(self.metric, "abc"[: len(self.shares)])

    def compute_truth(self) -> float:
        """Compute the difference over all seeds and examples."""
        first, second = (self.score(mean) for mean in self.means)
        return first - second

    def score(self, mean: float) -> float:
        """Compute the mean score of one method over all seeds, on infinitely many examples."""
        noise = self.noise
        if self.metric == "spearman":
            correlations = np.tanh(mean + noise.seed * SEEDS_TO_AVERAGE)
            return float((6 / np.pi * np.arcsin(correlations / 2)).mean())
        rest = np.sqrt(noise.example**2 + noise.both**2 + noise.shared**2)
        right = norm.cdf((mean + noise.seed * SEEDS_TO_AVERAGE) / rest)
        shares, classes = np.array(self.shares), len(self.shares)
        wrong = (1 - np.eye(classes)) / (classes - 1)
        counts = shares[:, None] * (right[:, None, None] * np.eye(classes) + (1 - right)[:, None, None] * wrong)
        metric = self.scoring.primary
        assert metric.of_counts is not None
        return float(metric.of_counts(1e6 * counts, **self.scoring.facts(metric)).mean())

    def draw(self, generator: np.random.Generator) -> tuple[Array, list[Array]]:
        """Draw labels (N,) and the predictions of both methods (U, N)."""
        if self.metric == "spearman":
            return self._draw_scores(generator)
        labels = generator.choice(len(self.shares), self.examples, p=self.shares)
        wrong = (labels + generator.integers(1, len(self.shares), self.examples)) % len(self.shares)
        shared, predictions = self._draw_parts(generator, self.noise.shared), []
        for mean in self.means:
            latent = mean + shared + self._draw_parts(generator, self.noise.example)
            latent = latent + generator.normal(0, self.noise.seed, (self.seeds, 1))
            latent = latent + self.noise.both * generator.standard_normal((self.seeds, self.examples), np.float32)
            predictions.append(np.where(latent > 0, labels, wrong))
        return labels, predictions

    def _draw_scores(self, generator: np.random.Generator) -> tuple[Array, list[Array]]:
        noise, labels = self.noise, generator.standard_normal(self.examples)
        shared, predictions = self._draw_parts(generator, noise.shared), []
        for mean in self.means:
            correlations = np.tanh(generator.normal(mean, noise.seed, (self.seeds, 1)))
            error = shared + self._draw_parts(generator, noise.example)
            error = error + noise.both * generator.standard_normal((self.seeds, self.examples))
            error = error / np.sqrt(noise.example**2 + noise.both**2 + noise.shared**2)
            predictions.append(correlations * labels + np.sqrt(1 - correlations**2) * error)
        return labels, predictions

    def _draw_parts(self, generator: np.random.Generator, deviation: float) -> Array:
        own = generator.standard_normal(self.examples)
        if self.group_size > 1:
            own = np.sqrt(0.5) * (own + generator.standard_normal(self.examples)[self.groups])
        return deviation * own


def compare(examples: LabelledExamples, predictions: Sequence[Array], scoring: Scoring) -> Comparison:
    """Compare two methods by their predictions, as a sweep does.

    Args:
        examples: class ids or scores, and groups. (N,)
        predictions: of both methods. (U, N)
        scoring: metric, and what the outputs mean.

    Returns:
        The only comparison of its family.
    """
    methods = []
    for of_method in predictions:
        units = []
        for run in of_method[:, None]:
            values = sum_groups(_find_pseudo_values(examples.labels, run[0], scoring), examples.groups)
            units.append(Answers(run, values[None], examples.groups))
        methods.append(units)
    rarest = count_rarest(examples, scoring=scoring)
    return compare_pair("first", "second", *methods, metric=scoring.metric, rarest=rarest)


def _find_pseudo_values(labels: Array, predictions: Array, scoring: Scoring) -> Array:
    """What a sweep computes, without the score that only their rounding needs."""
    if scoring.metric == "accuracy":
        return np.asarray(predictions == labels, float)
    if scoring.primary.pseudo_values is not None:
        return scoring.primary.pseudo_values(labels, predictions)
    return compute_pseudo_values(labels, predictions, scoring=scoring)


@dataclass
class Rates:
    """What came of the draws of one case.

    Attributes:
        inside: by draw with an interval, whether it holds the true difference, were it given or not.
        found: by draw, whether a difference is called significant.
        refused: by draw, whether there is no verdict.
        widths: half widths.
    """

    inside: list[bool]
    found: list[bool]
    refused: list[bool]
    widths: list[float]

    def __str__(self) -> str:
        """Coverage with its simulation standard error, power, and half width."""
        covered = np.mean(self.inside)
        error = np.sqrt(covered * (1 - covered) / len(self.inside))
        text = f"coverage {covered:.3f} ± {error:.3f}, found {np.mean(self.found):.3f}"
        text += f", half width {np.mean(self.widths):.4f}"
        return text + (f", refused {np.mean(self.refused):.3f}" if any(self.refused) else "")


def simulate(draw: Callable[[np.random.Generator], Comparison], truth: float, *, draws: int, seed: int = 0) -> Rates:
    """Count how often intervals hold the truth.

    Args:
        draw: (generator) -> a comparison of two methods.
        truth: the true difference.
        draws: number of comparisons.
        seed: random seed of the draws.

    Returns:
        The counts.
    """
    generator, rates = np.random.default_rng(seed), Rates([], [], [], [])
    for _ in range(draws):
        comparison = draw(generator)
        half = comparison.estimate.compute_half_width()
        rates.inside.append(abs(comparison.difference - truth) <= half)
        rates.widths.append(half)
        rates.found.append(comparison.is_significant)
        rates.refused.append(comparison.verdict in ("none", "untested"))
    return rates


def simulate_case(case: Case, *, draws: int, collapse: float = 0.0) -> Rates:
    """Simulate one case of the normal model.

    Args:
        case: the case.
        draws: number of comparisons.
        collapse: share of the second method's runs that predict the most frequent class only.

    Returns:
        The counts.
    """

    def draw(generator: np.random.Generator) -> Comparison:
        labels, predictions = case.draw(generator)
        if collapse:
            predictions[1][generator.random(case.seeds) < collapse] = np.argmax(case.shares)
        groups = case.groups if case.group_size > 1 and case.knows_groups else None
        return compare(LabelledExamples(labels, groups), predictions, case.scoring)

    truth = case.compute_truth()
    if collapse:  # the accuracy of a run that collapsed is the share of its class
        truth += collapse * (case.score(case.means[1]) - max(case.shares))
    return simulate(draw, truth, draws=draws)


def list_cases(*, quick: bool) -> Iterator[Case]:
    """List the ordinary cases.

    Args:
        quick: fewer of them.

    Yields:
        Cases of the normal model.
    """
    for metric, shares in SHARES.items():
        is_scores = metric == "spearman"
        numbers = ((5, 300), (8, 1500)) if quick else itertools.product((5, 8, 16), (300, 1500))
        for (seeds, examples), noise in itertools.product(numbers, NOISES[:1] if quick else NOISES):
            yield Case(metric, seeds, examples, noise, (1.03, 1.0) if is_scores else (1.1, 1.0), shares)


def list_special() -> Iterator[tuple[str, Case, float]]:
    """List the cases in which refusals must come, or the interval is known to be too wide.

    Yields:
        What is special, the case, and the share of the second method's runs that collapse.
    """
    usual = NOISES[0]
    yield "one run in eight collapses", Case("accuracy", 8, 1500, usual), 1 / 8
    yield "5 % positives of 100", Case("f1", 8, 100, usual, shares=(0.95, 0.05)), 0.0
    nearly_same = Noise("few differ", 0.0, 0.02, both=0.02)
    yield "few examples differ", Case("mcc", 8, 200, nearly_same, (1.0, 1.0)), 0.0
    yield "three seeds", Case("accuracy", 3, 1500, usual), 0.0
    yield "neither seeds nor examples matter", Case("accuracy", 5, 1500, NEITHER), 0.0


def list_grouped() -> Iterator[tuple[str, Case]]:
    """List the cases in which five examples belong together.

    Yields:
        Whether they count as one, and the case.
    """
    for metric in ("accuracy", "mcc"):
        for noise, name in ((NOISES[0], "seeds and examples matter"), (NOISES[2], "examples matter")):
            case = Case(metric, 8, 1500, noise, shares=SHARES[metric], group_size=5)
            yield f"{metric}, {name}, groups of 5 count as one", case
            yield f"{metric}, {name}, groups of 5 are ignored", replace(case, knows_groups=False)


def list_committed() -> Iterator[tuple[str, Group, tuple[str, str]]]:
    """List pairs of methods of committed sweeps, on one machine with at least five seeds of both.

    Yields:
        Name of the sweep, its runs, and the methods.
    """
    for name in SWEEPS:
        sweep = read_sweep(RESULTS / name)
        for group in group_runs(RunStore(sweep).select_finished(plan_cells(sweep))):
            for pair in sweep.compare:
                if len(group.list_shared_seeds(*pair)) >= 5:
                    yield f"{name} {group.name}".strip(), group, pair


def simulate_committed(group: Group, pair: tuple[str, str], *, draws: int, seeds: int = 5, number: int = 1500) -> Rates:
    """Draw seeds and examples of committed predictions as if they were all there are.

    Args:
        group: runs of the sweep.
        pair: two methods.
        draws: number of comparisons.
        seeds: seeds drawn, U.
        number: examples drawn, N.

    Returns:
        The counts.
    """
    scoring, known = group.first_record.data.scoring, group.list_shared_seeds(*pair)
    columns = group.methods[pair[0]].runs[known[0]].read_predictions("validation")
    labels = columns["label"][scoring.predictions.has_label(columns["label"])]
    answers = [[group.methods[name].read_answers(seed) for seed in known] for name in pair]
    predictions = [np.concatenate([run.predictions for run in runs]) for runs in answers]
    scores = [np.mean([run.scores for run in runs]) for runs in answers]

    def draw(generator: np.random.Generator) -> Comparison:
        units = generator.integers(0, len(known), seeds)
        drawn = generator.integers(0, len(labels), number)
        examples = LabelledExamples(labels[drawn])
        return compare(examples, [of_method[units][:, drawn] for of_method in predictions], scoring)

    return simulate(draw, float(scores[0] - scores[1]), draws=draws)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description="How often the intervals of a sweep hold the true difference.")
    parser.add_argument("--quick", action="store_true", help="fewer draws and cases: 2 minutes")
    quick = parser.parse_args().quick
    of_others = 200 if quick else 1000
    draws = {"accuracy": 1000 if quick else 4000}
    covered = []
    for case in list_cases(quick=quick):
        rates = simulate_case(case, draws=draws.get(case.metric, of_others))
        covered.append(float(np.mean(rates.inside)))
        print(f"{case.metric}, {case.seeds} seeds, {case.examples} examples, {case.noise.name}: {rates}", flush=True)
    print(f"ordinary cases: coverage {min(covered):.3f} to {max(covered):.3f}, mean {np.mean(covered):.3f}")
    for name, case, collapse in list_special():
        print(f"{name}: {simulate_case(case, draws=of_others, collapse=collapse)}", flush=True)
    for name, case in list_grouped():
        print(f"{name}: {simulate_case(case, draws=draws.get(case.metric, of_others))}", flush=True)
    for name, group, pair in list_committed():
        rates = simulate_committed(group, pair, draws=of_others)
        print(f"{name}, {pair[0]} against {pair[1]}, 5 seeds, 1500 examples: {rates}", flush=True)


if __name__ == "__main__":
    main()
