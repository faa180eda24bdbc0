"""Knowledge distillation from internal representations (Aguilar et al., AAAI 2020)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from warnings import filterwarnings

__version__: str

filterwarnings("ignore", "IProgress not found")  # tqdm's, in a notebook without ipywidgets: the bars here need none

if TYPE_CHECKING:  # for type checkers and editors; the same names as below
    from innerdistill.data.task_data import load_task
    from innerdistill.data.tasks import TASKS
    from innerdistill.evaluation.latency import measure_speed
    from innerdistill.evaluation.metrics import METRICS, Metric
    from innerdistill.losses.loss import Loss
    from innerdistill.losses.registry import LOSSES
    from innerdistill.models.capture import Internals, capture
    from innerdistill.models.families import FAMILIES, Family, prepare
    from innerdistill.models.probe import probe
    from innerdistill.models.student import build_student
    from innerdistill.problem_types.problem_types import PROBLEM_TYPES
    from innerdistill.recipe.loading import load_recipe
    from innerdistill.recipe.recipe import Recipe, ScheduleRecipe
    from innerdistill.report.page import write_report
    from innerdistill.run.arguments import Arguments
    from innerdistill.run.distill import distill
    from innerdistill.run.evaluate import evaluate
    from innerdistill.run.finetune import finetune
    from innerdistill.run.finished_run import Run
    from innerdistill.run.onnx import export
    from innerdistill.sweep.grid import load_sweep
    from innerdistill.sweep.results import SweepResults
    from innerdistill.sweep.sweep import run_sweep
    from innerdistill.training.run_stages import distill_models
    from innerdistill.training.schedules import SCHEDULES, Schedule, SchedulePlan, build_stages
    from innerdistill.training.setup import TrainingSetup
    from innerdistill.training.stage import Stage
    from innerdistill.training.trainer import DistillationTrainer

# Where each public name lives. Loaded on first use, so that the command line answers before torch is imported.
_MODULES = {
    "FAMILIES": "models.families",
    "LOSSES": "losses.registry",
    "METRICS": "evaluation.metrics",
    "PROBLEM_TYPES": "problem_types.problem_types",
    "SCHEDULES": "training.schedules",
    "TASKS": "data.tasks",
    "Arguments": "run.arguments",
    "DistillationTrainer": "training.trainer",
    "Family": "models.families",
    "Internals": "models.capture",
    "Loss": "losses.loss",
    "Metric": "evaluation.metrics",
    "Recipe": "recipe.recipe",
    "Run": "run.finished_run",
    "Schedule": "training.schedules",
    "SchedulePlan": "training.schedules",
    "ScheduleRecipe": "recipe.recipe",
    "Stage": "training.stage",
    "SweepResults": "sweep.results",
    "TrainingSetup": "training.setup",
    "build_stages": "training.schedules",
    "build_student": "models.student",
    "capture": "models.capture",
    "distill": "run.distill",
    "distill_models": "training.run_stages",
    "evaluate": "run.evaluate",
    "export": "run.onnx",
    "finetune": "run.finetune",
    "load_recipe": "recipe.loading",
    "load_sweep": "sweep.grid",
    "load_task": "data.task_data",
    "measure_speed": "evaluation.latency",
    "prepare": "models.families",
    "probe": "models.probe",
    "run_sweep": "sweep.sweep",
    "write_report": "report.page",
}
__all__ = [
    "FAMILIES",
    "LOSSES",
    "METRICS",
    "PROBLEM_TYPES",
    "SCHEDULES",
    "TASKS",
    "Arguments",
    "DistillationTrainer",
    "Family",
    "Internals",
    "Loss",
    "Metric",
    "Recipe",
    "Run",
    "Schedule",
    "SchedulePlan",
    "ScheduleRecipe",
    "Stage",
    "SweepResults",
    "TrainingSetup",
    "build_stages",
    "build_student",
    "capture",
    "distill",
    "distill_models",
    "evaluate",
    "export",
    "finetune",
    "load_recipe",
    "load_sweep",
    "load_task",
    "measure_speed",
    "prepare",
    "probe",
    "run_sweep",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - on first use, as the others

        return version("innerdistill")
    if name not in _MODULES:
        raise AttributeError(f"module 'innerdistill' has no attribute {name!r}")
    return getattr(import_module(f"innerdistill.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
