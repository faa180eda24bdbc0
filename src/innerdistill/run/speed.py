"""The models whose size and latency are measured: those of folders, teachers of runs among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from innerdistill.models.pretrained import default_device
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.report.run_folder import RUN, model_folder, read_run


def load_models(folders: Sequence[str]) -> dict[str, PreTrainedModel]:
    """Models whose speed is to be measured.

    Args:
        folders: of models, or of runs, of which teacher and student are taken.

    Returns:
        By name, on the device that the run would take.

    Raises:
        ValueError: no model there.
    """
    models = {}
    for name in folders:
        if (Path(name) / RUN).is_file():
            if teacher := read_run(name)["teacher"]:
                models[f"teacher of {Path(name).name}"] = load_fine_tuned(teacher["path"])[0]
            models[str(Path(name) / "model")] = load_fine_tuned(str(model_folder(name)))[0]
        else:
            models[name] = load_fine_tuned(name)[0]
    for model in models.values():
        model.to(default_device())
    return models
