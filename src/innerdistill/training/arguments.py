"""The recipe's `trainer` keys -> TrainingArguments of one stage. Every key has the name that transformers gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from innerdistill.recipe.advice import DEFAULT_LEARNING_RATE
from innerdistill.support.messages import get_first_line
from innerdistill.training.check_arguments import check_arguments, check_built_arguments
from innerdistill.training.stage import Stage

DEFAULTS: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "learning_rate": DEFAULT_LEARNING_RATE,
    "warmup_steps": 0.1,  # below 1: a share of the stage's steps
    "weight_decay": 0.01,
    "logging_steps": 20,
    "ddp_timeout": 7 * 24 * 3600,  # in seconds: the others wait while the first process caches or scores
    "use_cpu": not torch.accelerator.is_available(),
    "dataloader_pin_memory": torch.accelerator.is_available(),
}


def check_sections(
    sections: Mapping[str, Mapping[str, Any]], stages: Sequence[Stage], *, folder: Path, seed: int
) -> list[TrainingArguments]:
    """Check all options of a run before anything is written, by building the Trainer's arguments of every stage once.

    Args:
        sections: options by name of the section; those of `trainer` also count in the others, which override them.
        stages: stages of the schedule.
        folder: folder of the run.
        seed: random seed of the run.

    Returns:
        Arguments of every section and stage.

    Raises:
        ValueError: an option that is unknown, not supported or wrong; names section and option.
    """
    arguments = []
    for section, options in sections.items():
        check_arguments(section, options)
        for stage in stages:
            merged = {**sections["trainer"], **options}
            arguments.append(make_training_arguments(folder, stage, merged, seed=seed, section=section))
    return arguments


def make_training_arguments(
    folder: Path,
    stage: Stage,
    options: Mapping[str, Any],
    *,
    seed: int,
    evaluate: bool = True,
    best_by: str | None = None,
    compare_by: str | None = None,
    section: str = "trainer",
) -> TrainingArguments:
    """Build the Trainer's arguments of one stage.

    Args:
        folder: folder of the stage's checkpoints.
        stage: stage whose length in steps or epochs is used.
        options: merged `trainer` keys of the recipe.
        seed: random seed of dropout.
        evaluate: whether to score the selection split after every epoch.
        best_by: name of the score whose best checkpoint is loaded at the end; None stays with the last weights.
        compare_by: name of the score that early stopping compares, if no checkpoint is loaded at the end.
        section: name of the recipe section that the options are from, for messages.

    Returns:
        Arguments for a Trainer.

    Raises:
        ValueError: a value that TrainingArguments refuses; several GPUs for one process.
    """
    length = {"max_steps": stage.steps} if stage.steps else {"num_train_epochs": stage.epochs}
    checkpoints: dict[str, Any] = {"save_strategy": "no"}
    if compare_by is not None:
        checkpoints |= {"metric_for_best_model": compare_by, "greater_is_better": True}
    if best_by is not None:
        checkpoints = {
            "save_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": best_by,
            "greater_is_better": True,
            "save_total_limit": 3,  # the best checkpoint and the last two
        }
    owned = {
        "output_dir": str(folder),
        "seed": seed,
        "eval_strategy": "epoch" if evaluate else "no",
        "save_total_limit": 2,  # one being written, and a whole one before it
        "remove_unused_columns": False,
        "report_to": "none",
        "push_to_hub": False,  # the Trainer would create a repository
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,  # StageProgress shows the bar
    }
    try:
        arguments = TrainingArguments(**{**DEFAULTS, **options, **owned, **length, **checkpoints})
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise ValueError(f"{section}: {get_first_line(error)}.") from None
    check_built_arguments(arguments, section=section)
    if arguments.n_gpu > 1:
        raise ValueError(
            f"this process sees {arguments.n_gpu} GPUs: start one process for each with torchrun "
            f"--nproc_per_node {arguments.n_gpu} -m innerdistill ..., or show it one with CUDA_VISIBLE_DEVICES=0."
        )
    return arguments
