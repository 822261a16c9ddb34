"""Signatures of model folders: a signature covers the folder, not later changes in the journal."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from genir.errors import InputError
from genir.manifest import NAME as MANIFEST
from genir.manifest import check_manifest, read_json
from genir.plurals import counted
from genir.signatures import check_signature, sign_folder
from genir.updates.base_folder import JournalBase
from genir.updates.journal import Journal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


def changes_since(folder: Path) -> int:
    """Return the number of changes in the journal of a model folder.

    Raises:
        InputError: the journal or the manifest is damaged.
    """
    base = JournalBase.open(folder, read_json(folder / MANIFEST))
    with closing(Journal(base)) as journal:
        return journal.head() - base.version


def refuse_changes(folder: Path) -> None:
    """Raise InputError if the journal of a folder has changes: a signature does not cover them."""
    count = changes_since(folder)
    if count:
        raise InputError(
            f"{folder}: the journal has {counted(count, 'change')} that a signature does not "
            "cover; run genir compact, then genir sign"
        )


def sign(folder: Path, key: "Ed25519PrivateKey") -> str:
    """Sign a model folder and return the key's id. Raises InputError if its journal has changes."""
    check_manifest(folder)
    refuse_changes(folder)
    return sign_folder(folder, key)


def verify(folder: Path, keys: Sequence["Ed25519PublicKey"]) -> str:
    """Verify that a signature covers all files and documents of a folder; return the key's id.

    Raises:
        InputError: the folder is not signed by one of `keys`, is damaged or has changed since.
    """
    signer = check_signature(folder, keys)
    check_manifest(folder)
    refuse_changes(folder)
    return signer
