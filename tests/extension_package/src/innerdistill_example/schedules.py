"""Progressive internal distillation from the top layer to the bottom."""

from innerdistill import Schedule, SchedulePlan, Stage


def top_down(plan: SchedulePlan) -> list[Stage]:
    """Distil one layer at a time, the top layer first, then classify.

    Args:
        plan: pairs, weights and lengths.

    Returns:
        One stage per layer and one for classification.
    """
    pairs = sorted(plan.pairs.items(), reverse=True)
    stages = [plan.build_internal_stage(f"layer {k}", {k: m}) for k, m in pairs]
    return [*stages, plan.build_last_stage()]


TOP_DOWN = Schedule(top_down)
