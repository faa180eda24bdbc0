"""Print the plan of a run in 80 columns: models, data, parts and times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innerdistill.cli.terminal import create_table, print_table, print_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from innerdistill.run.job import Job

# Everything that needs torch is imported inside the functions, so that --help and a wrong recipe answer at once.


def print_plan(job: Job) -> None:
    """Print sizes, data, parts and times of a job that has not run.

    Args:
        job: job from `assemble`.
    """
    from innerdistill.run.plan import plan_run  # noqa: PLC0415

    _print_sizes(job)
    parts = plan_run(job)
    table = create_table("part", "losses", "layers matched", "work", "layers run", "minutes")
    for part in parts:
        cost = part.stage
        losses = pairs = layers = ""
        if cost is not None:
            losses = ", ".join(cost.stage.losses)
            pairs = ", ".join(f"{student}←{teacher}" for student, teacher in cost.stage.pairs.items()) or "–"
            layers = f"{cost.student_layers} + {cost.teacher_layers}"
        table.add_row(part.name, losses, pairs, part.work, layers, f"{part.seconds / 60:.1f}")
    minutes = sum(part.seconds for part in parts) / 60
    table.add_row("total", "", "", "", "", f"{minutes:.1f}")
    print_table(table)
    print_text("Layers run: those of the student, plus those of the teacher.")
    print_text(f"The run takes about {minutes:.1f} minutes on this machine, judged by a few measured steps.")


def _print_sizes(job: Job) -> None:
    from innerdistill.data.task_data import describe_missing_labels  # noqa: PLC0415
    from innerdistill.evaluation.latency import measure_size  # noqa: PLC0415
    from innerdistill.evaluation.metrics import show_metric  # noqa: PLC0415
    from innerdistill.run.without_teacher import describe_outputs  # noqa: PLC0415

    student = job.build_fresh_student()
    models = {"Student": (student, job.num_layers)}
    if (teacher := job.of_teacher.teacher) is not None:
        models = {"Teacher": (teacher, job.of_teacher.architecture.num_layers), **models}
    else:
        print_text(f"Teacher: {describe_outputs(job.recipe)}.")
    for name, (model, layers) in models.items():
        print_text(f"{name}: {layers} layers, {measure_size(model)['parameters'] / 1e6:.1f} M parameters.")
    if job.internal_teacher is not None:
        print_text(f"Internal losses learn from {job.internal_teacher.name_or_path}, soft labels from the teacher.")
    for name, sizes in _describe_sizes(job, student).items():
        print_text(f"{name}: {sizes}.")
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in job.splits.items())
    print_text(f"Examples: {counts}.")
    if not job.data.has_labels("train"):
        print_text(describe_missing_labels(job.data.against_teacher, has_teacher=job.has_teacher))
    if classes := job.count_train_labels():
        listed = ", ".join(f"{name} {count:,}" for name, count in classes.items())
        print_text(f"Examples of train by {job.problem_type.wording.class_columns[0]}: {listed}.")
    truncated = ", ".join(f"{split} {count:,}" for split, count in job.truncated.items() if count)
    if job.problem_type.examples.has_windows:
        print_text(
            f"Texts of more than {job.max_length} tokens are read in windows; these cut words: {truncated or 'none'}."
        )
    elif truncated:
        print_text(f"Longer than {job.max_length} tokens, so truncated: {truncated}.")
    else:
        print_text(f"No text is longer than {job.max_length} tokens, so none is truncated.")
    metrics = {split: show_metric(job.get_scoring(split).metric) for split in ("validation", "selection")}
    if metrics["validation"] == metrics["selection"]:
        print_text(f"Metric: {metrics['validation']}.")
    else:
        print_text(f"Metric: {metrics['validation']}; on selection {metrics['selection']}.")


def _describe_sizes(job: Job, student: PreTrainedModel) -> dict[str, str]:
    """Hidden size and heads of both models, in one entry where they are the same. Some configurations have neither."""
    from innerdistill.models.probe import measure_model  # noqa: PLC0415

    architectures = {"Student": measure_model(student)}
    if job.has_teacher:
        architectures = {"Teacher": job.of_teacher.architecture, **architectures}
    sizes = {
        name: f"hidden size {measured.hidden_size}, {measured.num_heads} attention heads"
        for name, measured in architectures.items()
        if measured.hidden_size and measured.num_heads
    }
    both = set(sizes.values())
    return {"Both": both.pop()} if len(sizes) == 2 and len(both) == 1 else sizes
