"""Loading the models whose size and latency are measured: those of model folders, and of runs with their teachers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from innerdistill.models.pretrained import default_device
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.report.run_folder import MODEL, find_model_folder, has_record, read_record


def load_models(folders: Sequence[str]) -> dict[str, PreTrainedModel]:
    """Load the models whose speed is to be measured.

    Args:
        folders: model folders or names; of a run folder, teacher and student are loaded.

    Returns:
        Models by name, on the device that a run would choose.

    Raises:
        ValueError: no model there.
    """
    models = {}
    for folder in folders:
        if not has_record(folder):
            models[folder] = load_fine_tuned(folder)[0]
            continue
        teacher = read_record(folder).teacher
        if teacher is not None:
            models[f"teacher of {Path(folder).name}"] = load_fine_tuned(teacher.path)[0]
        models[str(Path(folder) / MODEL)] = load_fine_tuned(str(find_model_folder(folder)))[0]
    for model in models.values():
        model.to(default_device())
    return models
