"""Digests of files, folders and pre-trained models, to detect changes."""

import hashlib
import re
from pathlib import Path

from genir.errors import InputError
from genir.manifest import sha256
from genir.models.checkpoint_checks import check_place, find_file
from genir.models.network_loading import MINILM, MINILM_SHA256
from genir.models.sentence_folder import encoder_root

SHOWN_DIGITS = 12
"""Hexadecimal digits of a digest that messages show."""


def short_digests(text: str) -> str:
    """Return a text with its digests cut, for messages."""
    return re.sub(r"[0-9a-f]{40,}", lambda digits: digits[0][:SHOWN_DIGITS], text)


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
        InputError: The model cannot be found.
    """
    if name == MINILM:
        return f"sha256 {MINILM_SHA256}"  # checked when the weights are loaded
    check_place(name)
    folder = Path(encoder_root(name))
    if folder.is_dir():
        return folder_digest(folder)
    # A snapshot's folder is named by its commit. Modules may have their config.json in subfolders.
    found = find_file(name, "modules.json") or find_file(name, "config.json")
    assert found is not None, "a missing config.json is an error"
    return f"commit {found.parent.name}"


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
