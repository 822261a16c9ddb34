"""Digests of files, folders and pre-trained models, to detect changes."""

import hashlib
from pathlib import Path

from transformers import AutoConfig

from genir.errors import InputError
from genir.manifest import sha256
from genir.models.checkpoint_checks import check_place
from genir.models.encoder import MINILM, MINILM_SHA256, load_pretrained, pretrained_folder


def file_digest(file: Path) -> str:
    """Return the sha256 of a file. Raises InputError if it cannot be read or is not a file."""
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: not a regular file; name a file that can be read again")
    try:
        return f"sha256 {sha256(file)}"
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); restore the file, or name another"
        ) from None


def weights_digest(name: str) -> str:
    """Return a digest of a pre-trained model, or the commit of a hub model.

    Raises:
        InputError: It cannot be found.
    """
    if name == MINILM:
        return f"sha256 {MINILM_SHA256}"  # checked when the weights are loaded
    folder = Path(pretrained_folder(name))
    if folder.is_dir():
        return folder_digest(folder)
    check_place(name)
    return f"commit {getattr(load_pretrained(AutoConfig, name), '_commit_hash', None)}"


def folder_digest(folder: Path) -> str:
    """Return a digest of names and contents of all files below a folder, except hidden ones.

    Raises:
        InputError: A file cannot be read.
    """
    digest = hashlib.sha256()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    for name in names:
        if (folder / name).is_file() and not name.startswith(".") and "/." not in name:
            digest.update(f"{name}\0{file_digest(folder / name)}\0".encode())
    return f"sha256 {digest.hexdigest()}"
