"""Knowledge distillation from internal representations (Aguilar et al., AAAI 2020)."""

from innerdistill.config import Recipe, load_recipe
from innerdistill.data.loading import load_task
from innerdistill.data.tasks import TASKS
from innerdistill.distillation.losses import LOSSES, Loss
from innerdistill.distillation.schedules import SCHEDULES, SchedulePlan, Stage, make_stages
from innerdistill.distillation.trainer import DistillationTrainer
from innerdistill.models.families import FAMILIES, prepare
from innerdistill.models.internals import Internals, capture, probe
from innerdistill.models.students import build_student
from innerdistill.pipeline import distill, distill_models, evaluate, finetune
from innerdistill.results.speed import measure_speed

__all__ = [
    "FAMILIES",
    "LOSSES",
    "SCHEDULES",
    "TASKS",
    "DistillationTrainer",
    "Internals",
    "Loss",
    "Recipe",
    "SchedulePlan",
    "Stage",
    "build_student",
    "capture",
    "distill",
    "distill_models",
    "evaluate",
    "finetune",
    "load_recipe",
    "load_task",
    "make_stages",
    "measure_speed",
    "prepare",
    "probe",
]
