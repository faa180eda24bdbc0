"""What the user says about a first recipe, and where it may be written. Imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from innerdistill.models.config_file import check_config_file
from innerdistill.support.messages import join_names, name_key

SPLITS = ("validation", "test", "unlabelled")  # that have options
MOST_TEXTS = 2  # columns of an example


@dataclass(frozen=True)
class Request:
    """What the user says about a first recipe.

    Attributes:
        model: folder or name of the teacher, or of the model that is fine-tuned first.
        is_teacher: whether it is a fine-tuned teacher.
        target: recipe file to write.
        text: text columns; empty if they are to be found.
        label: label column; None if it is to be found.
        files: further files by split: validation, test, unlabelled.
    """

    model: str
    is_teacher: bool
    target: Path
    text: tuple[str, ...]
    label: str | None
    files: Mapping[str, str]

    @property
    def option(self) -> str:
        """Option that names the model."""
        return "--teacher" if self.is_teacher else "--base"


def check_request(request: Request) -> None:
    """Check what needs no library: the recipe file is not there yet, the model's folder is.

    Args:
        request: what the user says.

    Raises:
        ValueError: a recipe that exists, a folder that does not, more than two text columns.
    """
    target = request.target
    if target.exists():
        raise ValueError(f"{target} already exists; choose another name with --output-file.")
    if not target.parent.is_dir():
        raise ValueError(f"{target}: there is no folder {target.parent}.")
    if len(request.text) > MOST_TEXTS:
        raise ValueError(f"--text: expected one column, or two for pairs; got {join_names(request.text)}.")
    with name_key(request.option):
        check_config_file(request.model)
