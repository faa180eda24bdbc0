"""Upload: the model folder of a finished run becomes a repository on the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from innerdistill.recipe.recipe import Recipe
from innerdistill.report.run_folder import MODEL
from innerdistill.support.messages import get_first_line

logger = logging.getLogger(__name__)


def push_to_hub(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool | None = None, token: str | None = None
) -> str:
    """Upload a model folder with its card, as one commit. The repository is created if it does not exist.

    Args:
        folder: folder of a model.
        repo_id: name of the repository, such as `my-name/my-model`.
        private: whether a new repository is private; None leaves it to the account's settings.
        token: token with write permission; None means that of `hf auth login` or HF_TOKEN.

    Returns:
        Address of the repository.

    Raises:
        ValueError: no such folder, a name that is not one of a repository, no token, or a failed upload.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - takes half a second, and most runs upload nothing

    check_repository(repo_id, token=token)
    if not Path(folder).is_dir():
        raise ValueError(f"{os.fspath(folder)}: expected the folder of a model.")
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        message = "Upload a model distilled with innerdistill"
        api.upload_folder(folder_path=Path(folder), repo_id=address.repo_id, commit_message=message)
    except Exception as error:  # also those of the HTTP library, which differs between versions
        raise ValueError(f"{os.fspath(folder)} was not uploaded to {repo_id}: {get_first_line(error)}.") from error
    return str(address)


def check_repository(repo_id: str, *, token: str | None = None) -> None:
    """Check what an upload needs, without a network.

    Args:
        repo_id: name of the repository.
        token: token with write permission; None means that of `hf auth login` or HF_TOKEN.

    Raises:
        ValueError: a name that is not one of a repository, no token, or no network wanted.
    """
    from huggingface_hub import constants, get_token  # noqa: PLC0415 - as above
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # noqa: PLC0415

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not the name of a repository: {get_first_line(error)}.") from None
    if constants.HF_HUB_OFFLINE:
        raise ValueError(f"{repo_id}: HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it.")
    if token is None and get_token() is None:
        raise ValueError(f"{repo_id}: an upload needs a token; run `hf auth login`, or set HF_TOKEN.")


def check_upload(recipe: Recipe) -> None:
    """Check before a run whether its model can be uploaded at the end, if `trainer.push_to_hub` asks for it.

    Args:
        recipe: recipe of the run.

    Raises:
        ValueError: no name for the repository, or one that is not allowed; no token.
    """
    if not recipe.trainer.get("push_to_hub"):
        return
    repo_id = recipe.trainer.get("hub_model_id")
    if not isinstance(repo_id, str):
        raise ValueError("trainer.hub_model_id: name the repository to upload to, such as my-name/my-model.")
    try:
        check_repository(repo_id)
    except ValueError as error:
        raise ValueError(f"trainer.push_to_hub: {error}") from None


def refuse_upload_of_sweep(recipe: Recipe) -> None:
    """Refuse the upload of a cell.

    Args:
        recipe: recipe of the cell.

    Raises:
        ValueError: the recipe asks for an upload.
    """
    if recipe.trainer.get("push_to_hub"):
        raise ValueError(
            "trainer.push_to_hub is not supported in a sweep: every cell would overwrite the same repository."
        )


def upload_run(recipe: Recipe, folder: Path) -> None:
    """Upload the model of a finished run in the first process, if its recipe asks for it.

    Args:
        recipe: recipe of the run.
        folder: folder of the run.

    Raises:
        ValueError: the upload failed; the run is finished in any case.
    """
    from innerdistill.support.processes import is_first_process  # noqa: PLC0415 - it needs torch, `check_upload` does not

    if not recipe.trainer.get("push_to_hub") or not is_first_process():
        return
    repo_id, model = recipe.trainer["hub_model_id"], folder / MODEL
    try:
        address = push_to_hub(model, repo_id, private=recipe.trainer.get("hub_private_repo"))
    except ValueError as error:
        raise ValueError(
            f"trainer.push_to_hub: {error} The run is finished; `hf upload {repo_id} {model}` uploads its model."
        ) from error
    logger.info("Uploaded the model to %s.", address)
