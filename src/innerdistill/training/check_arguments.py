"""Checks of the recipe's `trainer` keys, which refuse a wrong option before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, get_scheduler

from innerdistill.recipe.reporting import REPORTING_KEYS, choose_trackers
from innerdistill.support.messages import get_first_line, shorten_value, suggest_closest

# Keys that other parts of a recipe set, and where.
SET_ELSEWHERE = {
    "output_dir": "output",
    "num_train_epochs": "schedule.classification_epochs and schedule.epochs_per_layer",
    "max_steps": "schedule.total_steps",
    "seed": "seed",
    "data_seed": "seed",
    "save_strategy": "checkpoint",
    "load_best_model_at_end": "checkpoint",
    "metric_for_best_model": "data.metric",
    "train_sampling_strategy": "group_by_length",
    "save_steps": "checkpoint_minutes",
    "greater_is_better": "data.metric",
}
# Keys that are not supported, and why.
SCORED_PER_EPOCH = "the selection split is scored after every epoch"
OWN_EVALUATION = "the selection split is scored by `score`, not by the Trainer"
OWN_LAUNCH = "a run over several processes is started with torchrun"
RECOMPUTED = "captured layers get gradients in the default way only"
COMPILED = "a compiled model cannot be captured"
NOT_SUPPORTED = {
    "remove_unused_columns": "no column is ever removed",
    "disable_tqdm": "progress bars are shown in a terminal and in a notebook",
    "per_device_eval_batch_size": "evaluation takes 64 examples of similar length at a time",
    "auto_find_batch_size": "another batch size changes the steps of a stage",
    "logging_nan_inf_filter": "a loss that is NaN or infinite stops the run",
    "save_total_limit": "a run stores its last two checkpoints until it is finished",
    "save_only_model": "a stopped run resumes from its checkpoints",
    "enable_jit_checkpoint": "SIGTERM writes a checkpoint in any case",
    "resume_from_checkpoint": "run the same command again to resume a stopped run",
    "restore_callback_states_from_checkpoint": "a resumed run restores them in any case",
    "ignore_data_skip": "a resumed run skips the batches that it has trained on",
    "label_smoothing_factor": "the recipe's `losses` section names every loss",
    "use_liger_kernel": "its kernels hide the attention",
    "hub_token": "a run stores its recipe; run `hf auth login`, or set HF_TOKEN",
    **dict.fromkeys(("hub_strategy", "hub_always_push", "hub_revision"), "a run uploads its model once, at its end"),
    **dict.fromkeys(("eval_strategy", "do_eval", "eval_steps", "eval_delay", "eval_on_start"), SCORED_PER_EPOCH),
    **dict.fromkeys(("bf16_full_eval", "fp16_full_eval", "prediction_loss_only", "batch_eval_metrics"), OWN_EVALUATION),
    **dict.fromkeys(("eval_do_concat_batches", "eval_use_gather_object"), OWN_EVALUATION),
    **dict.fromkeys(("eval_accumulation_steps", "include_for_metrics"), OWN_EVALUATION),
    **dict.fromkeys(("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"), RECOMPUTED),
    **dict.fromkeys(("torch_compile", "torch_compile_backend", "torch_compile_mode"), COMPILED),
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "parallelism_config"), OWN_LAUNCH),
}
# TrainingArguments does not check these values; a wrong one would fail in the middle of training.
WHOLE_NUMBERS = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "dataloader_num_workers": 0}
AT_LEAST = {
    **WHOLE_NUMBERS,
    "learning_rate": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "logging_steps": 1,
}
FRAMEWORKS = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")  # an empty value is allowed
LOSS_DRIVEN_SCHEDULERS = ("reduce_lr_on_plateau", "greedy")  # learning-rate schedules that follow a held-out loss
MODEL_OPTIMIZERS = ("lomo", "adalomo", "galore", "apollo")  # optimisers built from the model itself
SWITCHES = (
    "bf16",
    "fp16",
    "use_cpu",
    "dataloader_drop_last",
    "full_determinism",
    "activation_checkpointing",
    "gradient_checkpointing",
    "push_to_hub",
    "hub_private_repo",
)


def check_arguments(section: str, options: Mapping[str, Any]) -> None:
    """Check the keys of a `trainer` section.

    Args:
        section: name of the recipe section, for messages.
        options: values by key.

    Raises:
        ValueError: an unknown key (with the nearest known one), a key that is not supported, or a wrong value.
    """
    if section == "trainer":
        choose_trackers(options)
    known = {field.name for field in fields(TrainingArguments)}
    for key, value in options.items():
        if key in REPORTING_KEYS and section != "trainer":
            raise ValueError(
                f"{section}.{key} is not supported: it belongs to the whole run; set trainer.{key} instead."
            )
        if key in SET_ELSEWHERE:
            raise ValueError(f"{section}.{key} is not supported: set {SET_ELSEWHERE[key]} instead.")
        if key in NOT_SUPPORTED and (value or key not in FRAMEWORKS):
            raise ValueError(f"{section}.{key} is not supported: {NOT_SUPPORTED[key]}.")
        if key not in known:
            hint = suggest_closest(key, known) or "See its documentation."
            raise ValueError(f"{section}: TrainingArguments has no key {shorten_value(key)}. {hint}")
        if key in AT_LEAST and not (type(value) in (int, float) and value >= AT_LEAST[key]):
            raise ValueError(
                f"{section}.{key}: expected a number of at least {AT_LEAST[key]}, got {shorten_value(value)}."
            )
        if key in AT_LEAST and key != "max_grad_norm" and not math.isfinite(value):
            raise ValueError(f"{section}.{key}: expected a finite number, got {shorten_value(value)}.")
        if key in WHOLE_NUMBERS and not (type(value) is int and value < 2**31):
            raise ValueError(f"{section}.{key}: expected a whole number below 2^31, got {shorten_value(value)}.")
        if key in SWITCHES and type(value) is not bool:
            raise ValueError(f"{section}.{key}: expected true or false, got {shorten_value(value)}.")


def check_built_arguments(arguments: TrainingArguments, *, section: str) -> None:
    """Check what the Trainer itself would notice only when a stage begins.

    By then a run that `overwrite` replaces would be deleted already.

    Args:
        arguments: arguments of a stage.
        section: name of the recipe section, for messages.

    Raises:
        ValueError: an optimiser, learning-rate schedule, log level or data loader that cannot be built.
    """
    if arguments.fp16 and arguments.device.type == "cpu":
        raise ValueError(f"{section}.fp16: training in float16 needs a GPU, and this run is on a CPU; leave it out.")
    _check_optimizer(arguments, section=section)
    _check_log_level(arguments, section=section)
    _check_data_loader(arguments, section=section)


def _check_optimizer(arguments: TrainingArguments, *, section: str) -> None:
    """Build the optimiser and its learning-rate schedule once, to see whether they can be built."""
    if arguments.lr_scheduler_type in LOSS_DRIVEN_SCHEDULERS:
        raise ValueError(
            f"{section}.lr_scheduler_type: {arguments.lr_scheduler_type.value!r} follows a loss on held-out examples, "
            "and none is computed; choose another one, such as linear or cosine."
        )
    needs_model = str(arguments.optim.value).startswith(MODEL_OPTIMIZERS)
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        if needs_model:
            return
        optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **options)
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer,
            num_warmup_steps=0,
            num_training_steps=1,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs or {},
        )
    except Exception as error:  # noqa: BLE001 - any error of any optimiser library
        if not needs_model or isinstance(error, ImportError):  # otherwise it only misses the model
            raise ValueError(f"{section}: {get_first_line(error)}.") from None


def _check_log_level(arguments: TrainingArguments, *, section: str) -> None:
    try:
        arguments.get_process_log_level()
    except KeyError:
        raise ValueError(
            f"{section}.log_level: {shorten_value(arguments.log_level)} is not one of debug, info, warning, "
            "error, critical."
        ) from None


def _check_data_loader(arguments: TrainingArguments, *, section: str) -> None:
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
