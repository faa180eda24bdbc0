"""The recipe's `trainer` keys -> TrainingArguments of one stage. No synonyms: every key is transformers' own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, get_scheduler

from innerdistill.support.messages import get_first_line, shorten_value, suggest_name
from innerdistill.training.schedules import Stage

DEFAULTS: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "learning_rate": 5e-5,
    "warmup_steps": 0.1,  # below 1: a share of the stage
    "weight_decay": 0.01,
    "logging_steps": 20,
    "ddp_timeout": 7 * 24 * 3600,  # the others wait while the first process keeps answers or scores; torchrun ends all
    "use_cpu": not torch.accelerator.is_available(),
    "dataloader_pin_memory": torch.accelerator.is_available(),
}
# Keys that follow from other parts of the recipe, and where to set them.
OWNED = {
    "output_dir": "output",
    "num_train_epochs": "schedule.classification_epochs and schedule.epochs_per_layer",
    "max_steps": "schedule.total_steps",
    "seed": "seed",
    "data_seed": "seed",
    "eval_strategy": "nothing (the selection split is scored after every epoch)",
    "save_strategy": "checkpoint",
    "load_best_model_at_end": "checkpoint",
    "metric_for_best_model": "data.metric",
    "train_sampling_strategy": "group_by_length",
    "remove_unused_columns": "nothing (it is always off)",
    "disable_tqdm": "nothing (progress bars are shown in a terminal)",
    "per_device_eval_batch_size": "nothing (64 examples of similar length)",
    "do_eval": "nothing (the selection split is scored after every epoch)",
    "save_total_limit": "nothing (the last two checkpoints are kept until the run is finished)",
    "save_only_model": "nothing (a stopped run goes on from its checkpoints)",
    "save_steps": "checkpoint_minutes",
    "greater_is_better": "data.metric",
    "resume_from_checkpoint": "nothing (the same command goes on with a stopped run)",
    "label_smoothing_factor": "nothing (the losses are those under `losses`)",
    "torch_compile": "nothing (capturing internals does not go through a compiled model)",
    "torch_compile_backend": "nothing (capturing internals does not go through a compiled model)",
    "torch_compile_mode": "nothing (capturing internals does not go through a compiled model)",
    "ignore_data_skip": "nothing (a run that goes on sees the batches it has not seen)",
    "use_liger_kernel": "nothing (its kernels hide the attention)",
    "push_to_hub": "nothing (nothing is uploaded)",
    "gradient_checkpointing": "nothing (recomputed layers would be captured twice)",
    "report_to": "nothing (TensorBoard files are always written)",
    "deepspeed": "nothing (several processes share a run as torchrun starts them)",
    "fsdp": "nothing (several processes share a run as torchrun starts them)",
    "fsdp_config": "nothing (several processes share a run as torchrun starts them)",
    "parallelism_config": "nothing (several processes share a run as torchrun starts them)",
}
# Values that TrainingArguments takes as they are and that would fail only in the middle of training.
WHOLE = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "dataloader_num_workers": 0}
AT_LEAST = {**WHOLE, "learning_rate": 0, "weight_decay": 0, "max_grad_norm": 0, "warmup_steps": 0, "logging_steps": 1}
OFF = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")  # may be said to be off
STEERED = ("reduce_lr_on_plateau", "greedy")  # learning-rate schedules
OF_THE_MODEL = ("lomo", "adalomo", "galore", "apollo")  # optimisers that are made from the model itself
SWITCHES = ("bf16", "fp16", "use_cpu", "dataloader_drop_last", "full_determinism")


def check_arguments(section: str, options: Mapping[str, Any]) -> None:
    """Check the keys of a `trainer` section.

    Args:
        section: its name, for messages.
        options: the keys and values.

    Raises:
        ValueError: an unknown key (with the nearest one), or one that the recipe sets elsewhere.
    """
    known = {field.name for field in fields(TrainingArguments)}
    for key, value in options.items():
        if key in OWNED and (value or key not in OFF):
            raise ValueError(f"{section}.{key}: this is set by {OWNED[key]}.")
        if key not in known:
            hint = suggest_name(key, known).partition("Known:")[0].strip()
            raise ValueError(
                f"{section}: TrainingArguments has no key {shorten_value(key)}; {hint or 'see its documentation.'}"
            )
        if key in AT_LEAST and not (type(value) in (int, float) and value >= AT_LEAST[key]):
            raise ValueError(
                f"{section}.{key}: expected a number of at least {AT_LEAST[key]}, got {shorten_value(value)}."
            )
        if key in AT_LEAST and key != "max_grad_norm" and not math.isfinite(value):
            raise ValueError(f"{section}.{key}: expected a finite number, got {shorten_value(value)}.")
        if key in WHOLE and not (type(value) is int and value < 2**31):
            raise ValueError(f"{section}.{key}: expected a whole number below 2^31, got {shorten_value(value)}.")
        if key in SWITCHES and type(value) is not bool:
            raise ValueError(f"{section}.{key}: expected true or false, got {shorten_value(value)}.")


def training_arguments(
    folder: Path,
    stage: Stage,
    options: Mapping[str, Any],
    *,
    seed: int,
    evaluate: bool = True,
    best_by: str | None = None,
    section: str = "trainer",
) -> TrainingArguments:
    """Arguments of one stage.

    Args:
        folder: for checkpoints.
        stage: gives the length.
        options: merged `trainer` keys of the recipe.
        seed: of dropout.
        evaluate: score the selection split after every epoch.
        best_by: keep the checkpoint with the highest score of this name on selection; None keeps the last one.
        section: of the recipe that the options are from, for messages.

    Returns:
        Arguments for a Trainer.

    Raises:
        ValueError: a value that TrainingArguments refuses; several GPUs for one process.
    """
    length = {"max_steps": stage.steps} if stage.steps else {"num_train_epochs": stage.epochs}
    checkpoints: dict[str, Any] = {"save_strategy": "no"}
    if best_by is not None:
        checkpoints = {
            "save_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": best_by,
            "greater_is_better": True,
            "save_total_limit": 3,  # the best one, and the last two
        }
    owned = {
        "output_dir": str(folder),
        "seed": seed,
        "eval_strategy": "epoch" if evaluate else "no",
        "save_total_limit": 2,  # while one is written the one before is whole
        "remove_unused_columns": False,
        "report_to": "none",
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,  # StageProgress shows the bar
    }
    try:
        arguments = TrainingArguments(**{**DEFAULTS, **options, **owned, **length, **checkpoints})
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise ValueError(f"{section}: {get_first_line(error)}.") from None
    _check_optimizer(arguments, section=section)
    _check_the_rest(arguments, section=section)
    if arguments.n_gpu > 1:
        raise ValueError(
            f"this process sees {arguments.n_gpu} GPUs: start one process for each with torchrun "
            f"--nproc_per_node {arguments.n_gpu} -m innerdistill ..., or show it one with CUDA_VISIBLE_DEVICES=0."
        )
    return arguments


def _check_optimizer(arguments: TrainingArguments, *, section: str) -> None:
    """Make the optimiser and its schedule once: their options are looked at only when a stage begins."""
    if arguments.lr_scheduler_type in STEERED:
        raise ValueError(
            f"{section}.lr_scheduler_type: {arguments.lr_scheduler_type.value!r} follows a loss on held-out rows, and "
            "none is computed; choose another one, such as linear or cosine."
        )
    of_the_model = str(arguments.optim.value).startswith(OF_THE_MODEL)
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        if of_the_model:
            return
        optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **options)
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer,
            num_warmup_steps=0,
            num_training_steps=1,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs or {},
        )
    except Exception as error:  # noqa: BLE001 - whatever an optimiser of any library says
        if not of_the_model or isinstance(error, ImportError):  # else it asks for the model
            raise ValueError(f"{section}: {get_first_line(error)}.") from None


def _check_the_rest(arguments: TrainingArguments, *, section: str) -> None:
    """What else is looked at only when a stage begins, when the run that it replaces is gone."""
    try:
        arguments.get_process_log_level()
    except KeyError:
        raise ValueError(
            f"{section}.log_level: {shorten_value(arguments.log_level)} is not one of debug, info, warning, "
            "error, critical."
        ) from None
    workers = arguments.dataloader_num_workers
    try:
        DataLoader(
            [0],  # type: ignore[arg-type]
            num_workers=workers,
            persistent_workers=arguments.dataloader_persistent_workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            multiprocessing_context=getattr(arguments, "dataloader_multiprocessing_context", None) if workers else None,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{section}.dataloader_...: {get_first_line(error)}.") from None
