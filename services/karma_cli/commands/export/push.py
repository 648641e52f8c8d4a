"""Uploads an exported folder to a dataset repository of the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from karma.errors import KarmaError, MissingExtraError


def check_push() -> None:
    """Check that folders can be uploaded, before anything is exported.

    Raises:
        MissingExtraError: the hub's package is not installed.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as cause:
        raise MissingExtraError("huggingface-hub", "hub", "--push") from cause


def push(folder: Path, repository: str, public: bool) -> str:
    """Upload a folder in one commit; files of its formats that it no longer has are deleted there.

    The token is that of HF_TOKEN or of `hf auth login`, the hub that of HF_ENDPOINT.

    Args:
        folder: an exported folder.
        repository: of the data set, such as `me/preferences`; made if it is not there.
        public: whether a repository that is made can be read by all.

    Returns:
        The address of the repository.

    Raises:
        KarmaError: the hub refused, or could not be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    formats = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    try:
        url = api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Preferences exported by KARMA",
            ignore_patterns=[".*", "*/.*"],
            delete_patterns=[f"{name}/*" for name in formats],
        )
    except Exception as cause:  # of any of the libraries below, and of the network
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        raise KarmaError(
            f"{folder} is written, but was not pushed to {repository}: {said[0]}. HF_TOKEN needs the right to write; "
            "the same command goes on"
        ) from cause
    return str(url)
