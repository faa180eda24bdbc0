"""Knowledge distillation from internal representations (Aguilar et al., AAAI 2020)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Where each public name lives. Loaded on first use, so that the command line answers before torch is imported.
_PUBLIC = {
    "FAMILIES": "models.families",
    "LOSSES": "distillation.losses",
    "SCHEDULES": "distillation.schedules",
    "TASKS": "data.tasks",
    "DistillationTrainer": "distillation.trainer",
    "Internals": "models.internals",
    "Loss": "distillation.losses",
    "Recipe": "config",
    "SchedulePlan": "distillation.schedules",
    "ScheduleRecipe": "config",
    "Stage": "distillation.schedules",
    "build_student": "models.students",
    "capture": "models.internals",
    "distill": "pipeline",
    "distill_models": "distillation.stages",
    "evaluate": "pipeline",
    "export": "exporting",
    "finetune": "pipeline",
    "load_recipe": "config",
    "load_task": "data.loading",
    "make_stages": "distillation.schedules",
    "measure_speed": "results.speed",
    "load_sweep": "grid",
    "prepare": "models.families",
    "probe": "models.probing",
    "run_sweep": "sweep",
    "write_report": "results.report",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'innerdistill' has no attribute {name!r}")
    return getattr(import_module(f"innerdistill.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
