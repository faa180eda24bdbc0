"""Extras: packages that only some features need. `pip install 'innerdistill[NAME]'` installs those of one extra."""

from __future__ import annotations

from importlib.util import find_spec

# As in pyproject.toml, where the lowest versions stand. Each package is imported under the name that pip knows.
EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "sentence-transformers": ("sentence_transformers",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}


def require_extra(extra: str, *, key: str) -> None:
    """Refuse what needs the packages of an extra, if they are not installed. Imports none of them.

    Args:
        extra: name in EXTRAS.
        key: what needs them, as it stands in a recipe or on the command line.

    Raises:
        ValueError: packages are missing; the sentence says how to install them.
    """
    missing = list_missing_packages(extra)
    if missing:
        *first, last = missing
        names = f"packages {', '.join(first)} and {last}" if first else f"package {last}"
        raise ValueError(f"`{key}` needs the {names}: pip install 'innerdistill[{extra}]'.")


def list_missing_packages(extra: str) -> list[str]:
    """List which packages of an extra are not installed.

    Args:
        extra: name in EXTRAS.

    Returns:
        Names of packages; none if the extra can be used.
    """
    return [package for package in EXTRAS[extra] if not _is_installed(package)]


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # a folder of that name here, such as wandb's, has no origin
