"""The runs of one method of a sweep: means and standard deviations over seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from innerdistill.report.run_folder import get_problem_type

SPLIT = "validation"


@dataclass(frozen=True)
class Value:
    """A number over seeds.

    Attributes:
        values: one per seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """For tables."""
        return f"{self.mean:.4f}" + ("" if self.deviation is None else f" ± {self.deviation:.4f}")


@dataclass(frozen=True)
class Method:
    """The runs of one method in one group.

    Attributes:
        name: of the method.
        runs: run.json by seed.
        folders: of the runs, by seed.
    """

    name: str
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)

    @property
    def first(self) -> dict[str, Any]:
        """The run of the first seed, for what all seeds have in common."""
        return next(iter(self.runs.values()))

    def score(self, metric: str, split: str = SPLIT) -> Value:
        """A metric of the student.

        Args:
            metric: its name.
            split: where it was measured.

        Returns:
            One value per seed.
        """
        return Value(tuple(run["scores"][split]["student"][metric] for run in self.runs.values()))

    def total(self, key: str) -> float:
        """Steps or seconds of a run, the mean over seeds.

        Args:
            key: `steps`, `seconds` or `cpu_seconds` of the stages.

        Returns:
            The sum over stages.
        """
        return float(np.mean([sum(stage[key] for stage in run["stages"]) for run in self.runs.values()]))

    @cached_property
    def agreement(self) -> Value:
        """Agreement with the teacher, as its problem type measures it."""
        name = get_problem_type(self.first).predictions.agreement
        return Value(tuple(run["agreement"][SPLIT][name] for run in self.runs.values()))

    @cached_property
    def right_and_wrong(self) -> dict[str, Value] | None:
        """Examples by right and wrong of teacher and student, one value per seed; None for a regression."""
        agreed = [run["agreement"][SPLIT] for run in self.runs.values()]
        names = [f"teacher_{t}_student_{s}" for t in ("right", "wrong") for s in ("right", "wrong")]
        if any(name not in facts for facts in agreed for name in names):
            return None
        return {name: Value(tuple(facts[name] for facts in agreed)) for name in names}

    @cached_property
    def distances(self) -> dict[tuple[int, int], dict[str, float | None]]:
        """Attention KL and CLS cosine after training by layers of student and teacher, the mean over seeds."""
        found: dict[tuple[int, int], dict[str, float | None]] = {}
        for layer, facts in self.first["distances"]["after"].items():
            rows = [run["distances"]["after"][layer] for run in self.runs.values()]
            found[int(layer), facts["teacher_layer"]] = {
                kind: None if any(row[kind] is None for row in rows) else float(np.mean([row[kind] for row in rows]))
                for kind in ("attention_kl", "cls_cosine")
            }
        return found

    @cached_property
    def cosines(self) -> list[float]:
        """Training cosine loss of the top layer at the end of each internal stage, the mean over seeds."""
        ends = []
        for run in self.runs.values():
            stages = [stage for stage in run["stages"] if stage["stage"]["is_internal"] and stage["epochs"]]
            names = [f"cls_cosine/{max(map(int, stage['stage']['pairs']))}" for stage in stages]
            last = [stage["epochs"][-1]["losses"] for stage in stages]
            ends.append([losses[name] for name, losses in zip(names, last, strict=True) if name in losses])
        return np.mean(ends, axis=0).tolist() if len({len(end) for end in ends}) == 1 and ends[0] else []

    @property
    def collapsed(self) -> int:
        """Number of students that predict one class."""
        return sum(bool(run["scores"][SPLIT]["student"].get("collapsed")) for run in self.runs.values())
