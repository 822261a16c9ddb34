"""Model folders on the Hugging Face hub."""

import os
from os import PathLike
from pathlib import Path

from genir.errors import InputError


def may_be_of_hub(name: str) -> bool:
    """Return whether a name may be one of the hub: `name` or `owner/name`, and not a path."""
    return not name.startswith((".", "/", "~")) and not name.endswith("/") and name.count("/") <= 1


def local_folder(name: str | PathLike[str]) -> Path:
    """Return a local model folder, or that of a hub name after its download.

    Args:
        name: A path or a name. A string may begin with `./`, which a `Path` drops.

    Raises:
        InputError: A name that is no path, and that the hub does not have.
    """
    path = Path(name)
    if path.exists() or not may_be_of_hub(os.fspath(name)):
        return path  # a missing folder is reported where it is read
    return Path(download(str(path)))


def download(name: str) -> str:
    """Download a model folder from the hub, and return its local path.

    Raises:
        InputError: The hub does not have the model, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return snapshot_download(name)
    except (HFValidationError, OSError) as error:
        raise InputError(
            f"{name!r}: neither a local model folder nor available from the hub "
            f"({first_line(error)}); check the name"
        ) from None


def upload(folder: Path, name: str, private: bool) -> str:
    """Upload a model folder under a name; return its address.

    Raises:
        InputError: The hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder))
    except (HFValidationError, HTTPError, OSError) as error:
        raise InputError(f"{name!r} cannot be pushed to the hub: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """First line of an error's message, without the hub's advice on its own parameter."""
    return str(error).strip().partition("\n")[0].partition(" Use `repo_type`")[0]
