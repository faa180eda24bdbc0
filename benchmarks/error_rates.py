"""How often the statistics of a sweep err: the large version of what tests/sweep/test_statistics.py simulates.

    python benchmarks/error_rates.py

Scores of a method are drawn from a normal distribution with deviation 1 over seeds; methods share what a seed is worth.
"""

import numpy as np
from scipy.stats import norm, t

from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.sweep.statistics import Comparison, compare_pair, compute_interval, correct_comparisons

SIMULATIONS = 5_000
INTERVALS = 200
SCORING = SINGLE_LABEL_CLASSIFICATION.make_scoring("accuracy", ("right", "wrong"))


def rejections(seeds: int, *, methods: int, difference: float = 0.0, simulations: int = SIMULATIONS) -> float:
    """Share of simulated sweeps in which a comparison is called significant.

    Args:
        seeds: per method.
        methods: compared with the same baseline.
        difference: of the first method from the baseline, in deviations of the paired differences.
        simulations: number of sweeps.

    Returns:
        With a difference, the share that finds it; without one, the share with any finding.
    """
    generator, found = np.random.default_rng(seeds), 0
    pairs = [(f"method {number}", "baseline") for number in range(methods)]
    for _ in range(simulations):
        shared = generator.normal(size=seeds)
        names = ["baseline", *(method for method, _ in pairs)]
        scores = {name: shared + generator.normal(size=seeds) / np.sqrt(2) for name in names}
        scores["method 0"] = scores["method 0"] + difference
        comparisons = correct_comparisons([compare_pair(*pair, *(scores[name] for name in pair)) for pair in pairs])
        significant = [comparison.p is not None and comparison.p < 0.05 for comparison in comparisons]
        found += significant[0] if difference else any(significant)
    return found / simulations


def coverage(seeds: int, *, examples: int = 1000, pairs: int = INTERVALS) -> tuple[float, float]:
    """How often the two-level interval of simulated pairs of methods holds the true difference, and how wide it is.

    Args:
        seeds: per method.
        examples: scored.
        pairs: number of pairs of methods.

    Returns:
        The share that holds it, 0.95 is what the interval promises; and the mean width as a multiple of 2 x 1.96
        true standard deviations of the difference, which nobody knows who has one pair.
    """
    generator, inside, widths, differences = np.random.default_rng(seeds), 0, [], []
    for _ in range(pairs):
        labels, logits = simulated(generator, seeds, examples=examples, difference=0.02)
        low, high = compute_interval(labels, *logits, scoring=SCORING, draws=300)
        inside += low <= 0.02 <= high
        widths.append(high - low)
        differences.append(logits[0][..., 0].mean() - logits[1][..., 0].mean())
    return inside / pairs, float(np.mean(widths) / (2 * norm.ppf(0.975) * np.std(differences)))


def verdicts(seeds: int, *, examples: int = 1000, pairs: int = INTERVALS) -> tuple[float, float, float]:
    """How often a difference of 1.5 deviations of the paired differences is found, and called better.

    Args:
        seeds: per method.
        examples: scored.
        pairs: number of pairs of methods.

    Returns:
        The share that the test finds; that which a page calls better, since the interval leaves 0 out too; and the same
        with no difference, in either direction.
    """
    generator = np.random.default_rng(seeds)
    drawn = (simulated(generator, 400, examples=examples, difference=0.0)[1] for _ in range(5))
    deviation = np.mean([(ours[..., 0].mean(1) - theirs[..., 0].mean(1)).std(ddof=1) for ours, theirs in drawn])

    def found(difference: float) -> list[Comparison]:
        made = []
        for _ in range(pairs):
            labels, logits = simulated(generator, seeds, examples=examples, difference=difference)
            interval = compute_interval(labels, *logits, scoring=SCORING, draws=300)
            scores = (of_seeds[..., 0].mean(1) for of_seeds in logits)
            made.append(compare_pair("one", "other", *scores, interval=interval))
        return [correct_comparisons([one])[0] for one in made]

    there, none = found(1.5 * float(deviation)), found(0.0)
    significant = [one.p is not None and one.p < 0.05 for one in there]
    better = [one.verdict == "better" for one in there]
    wrong = [one.verdict in ("better", "worse") for one in none]
    return float(np.mean(significant)), float(np.mean(better)), float(np.mean(wrong))


def simulated(
    generator: np.random.Generator, seeds: int, *, examples: int, difference: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Answers of two methods with a spread over seeds, to examples that are hard for both.

    Args:
        generator: of the draws.
        seeds: per method.
        examples: scored.
        difference: of the first one's mean accuracy from the second one's, 0.78.

    Returns:
        Labels, all 0, and the logits of both. (S, N, 2)
    """
    hard = generator.normal(0, 0.5, examples)
    logits = []
    for mean in (0.78 + difference, 0.78):
        rates = np.clip(generator.normal(mean, 0.02, seeds), 0, 1)
        wrong = generator.normal(0, 1, (seeds, examples)) + hard > np.sqrt(1.25) * norm.ppf(rates)[:, None]
        logits.append(np.stack([~wrong, wrong], axis=-1).astype(float))
    return np.zeros(examples, dtype=int), logits


def main() -> None:
    """Print the rates."""
    print(f"{SIMULATIONS} sweeps each; a test at 5 %")
    for seeds in (5, 8, 10):
        alone = rejections(seeds, methods=1)
        together = rejections(seeds, methods=3)
        print(f"{seeds:2} seeds, no difference: found {alone:.3f} with one comparison, any of three {together:.3f}")
    for seeds in (5, 8, 10):
        one, three = (rejections(seeds, methods=methods, difference=1.5) for methods in (1, 3))
        print(f"{seeds:2} seeds, 1.5 deviations: found {one:.3f} alone, {three:.3f} as one of three")
    for seeds in (5, 8):
        share, width = coverage(seeds)
        print(f"{seeds:2} seeds: the two-level interval holds the true difference in {share:.3f},", end=" ")
        print(f"{width:.2f} times as wide as with the deviation known", end=" ")
        print(f"(Student's t: {t.ppf(0.975, seeds - 1) / norm.ppf(0.975):.2f})")
    for seeds in (5, 8):
        test, better, wrong = verdicts(seeds)
        print(
            f"{seeds:2} seeds, 1.5 deviations: the test finds {test:.3f}, a page says better in {better:.3f};", end=" "
        )
        print(f"with no difference it says better or worse in {wrong:.3f}")


if __name__ == "__main__":
    main()
