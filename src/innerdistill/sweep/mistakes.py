"""Whether students repeat their teacher's mistakes: examples by right and wrong, and kappa. U seeds, N examples."""

from __future__ import annotations

import numpy as np

from innerdistill.evaluation.crossed import CrossedEstimate, estimate_crossed
from innerdistill.evaluation.kappa import compute_kappa_pseudo_values
from innerdistill.evaluation.labelled_examples import mark_groups, sum_groups
from innerdistill.report.formatting import NOT_APPLICABLE
from innerdistill.sweep.gates import describe_obstacle
from innerdistill.sweep.groups import Group
from innerdistill.sweep.methods import Value
from innerdistill.sweep.table import Table
from innerdistill.sweep.wording import format_interval


def build_right_and_wrong(group: Group) -> Table:
    """Build the table of right and wrong answers.

    Args:
        group: runs of one task and setting, whose labels are classes.

    Returns:
        A row for each method: kappa of right and wrong with its interval, accuracy, and the numbers of examples.
    """
    rows, labels = [], group.right_answers
    for method in group.methods.values():
        estimate, interval = estimate_kappa(group, method.name)
        accuracies = [(run.predictions[0] == labels).mean() for run in method.list_answers()]
        row = [method.name, f"{estimate.mean:.3f}", interval, str(Value(tuple(map(float, accuracies))))]
        for count in (method.right_and_wrong or {}).values():
            row.append(f"{count.mean:.1f}" + ("" if count.deviation is None else f" ± {count.deviation:.1f}"))
        rows.append(tuple(row))
    counts = ("both right", "only the teacher right", "only the student right", "both wrong")
    right = (group.teacher_answers.predictions[0] == labels).mean()
    notes = [
        "± is the standard deviation over seeds." if group.has_several_seeds else "",
        "Kappa is that of right and wrong answers: 1 if student and teacher err on the same examples, 0 if no more "
        f"often than by chance. The teacher's accuracy is {right:.4f}.",
        "The number of shared mistakes falls with every mistake less, so methods are not compared by it.",
        group.note,
    ]
    return Table(
        "Right and wrong answers of teacher and student",
        ("examples, mean over seeds", "kappa", "95 % interval", "accuracy", *counts),
        tuple(rows),
        " ".join(filter(None, notes)),
    )


def estimate_kappa(group: Group, method: str) -> tuple[CrossedEstimate, str]:
    """Estimate Cohen's kappa of the right and wrong answers of a method's students and their teacher.

    Args:
        group: runs of one task and setting.
        method: name of the method.

    Returns:
        The mean over seeds with its variance over seeds and examples, and its interval for people: a dash where it
        would not hold.
    """
    labels, groups = group.right_answers, group.examples.groups
    of_teacher = group.teacher_answers.predictions[0] == labels
    answers = group.methods[method].list_answers()
    of_students = np.stack([run.predictions[0] == labels for run in answers])
    values = sum_groups(np.stack([compute_kappa_pseudo_values(of_teacher, run) for run in of_students]), groups)
    different = mark_groups((of_students != of_teacher).any(0), groups)
    estimate = estimate_crossed(values, different=different, is_accuracy=False)
    fewest = int(min(mark_groups(right, groups).sum() for right in (of_teacher, ~of_teacher)))
    obstacle = describe_obstacle(estimate, None, different, metric="kappa", rarest=fewest)
    is_shown = estimate.has_interval and not obstacle and not any(run.collapsed.any() for run in answers)
    return estimate, format_interval(estimate.interval, digits=3) if is_shown else NOT_APPLICABLE
