"""Knowledge distillation from internal representations (Aguilar et al., AAAI 2020)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Where each public name lives. Loaded on first use, so that the command line answers before torch is imported.
_PUBLIC = {
    "FAMILIES": "models.families",
    "LOSSES": "losses.registry",
    "SCHEDULES": "training.schedules",
    "TASKS": "data.tasks",
    "DistillationTrainer": "training.trainer",
    "Internals": "models.capture",
    "Loss": "losses.loss",
    "Recipe": "recipe.recipe",
    "SchedulePlan": "training.schedules",
    "ScheduleRecipe": "recipe.recipe",
    "Stage": "training.schedules",
    "TrainingSetup": "training.setup",
    "build_student": "models.student",
    "capture": "models.capture",
    "distill": "run.distill",
    "distill_models": "training.run_stages",
    "evaluate": "run.distill",
    "export": "run.onnx",
    "finetune": "run.finetune",
    "load_recipe": "recipe.loading",
    "load_task": "data.task_data",
    "make_stages": "training.schedules",
    "measure_speed": "evaluation.latency",
    "load_sweep": "sweep.grid",
    "prepare": "models.families",
    "probe": "models.probe",
    "run_sweep": "sweep.sweep",
    "write_report": "report.page",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'innerdistill' has no attribute {name!r}")
    return getattr(import_module(f"innerdistill.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
