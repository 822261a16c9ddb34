"""Signed model folders and their journals: a signature covers the folder, not what came after."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from genir.errors import InputError
from genir.living.base import Base
from genir.living.journal import Journal
from genir.manifest import NAME as MANIFEST
from genir.manifest import check_manifest, read_json
from genir.signatures import check_signature, sign_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


def changes_since(folder: Path) -> int:
    """Return how many changes the journal of a model folder holds.

    Raises:
        InputError: the journal or the manifest is damaged.
    """
    base = Base.of(folder, read_json(folder / MANIFEST))
    with closing(Journal(base)) as journal:
        return journal.head() - base.version


def refuse_changes(folder: Path) -> None:
    """Raise InputError for a model folder with changes, which no signature covers."""
    count = changes_since(folder)
    if count:
        raise InputError(
            f"{folder}: holds {count:,} changes that no signature covers; genir compact it, then "
            "genir sign it"
        )


def sign(folder: Path, key: "Ed25519PrivateKey") -> str:
    """Sign a model folder without changes; return the key's id. Raises InputError otherwise."""
    check_manifest(folder)
    refuse_changes(folder)
    return sign_folder(folder, key)


def verify(folder: Path, keys: Sequence["Ed25519PublicKey"]) -> str:
    """Return the id of the key that signed a folder, all of whose files and documents it covers.

    Raises:
        InputError: the folder is not signed by one of `keys`, damaged, or changed since.
    """
    signer = check_signature(folder, keys)
    check_manifest(folder)
    refuse_changes(folder)
    return signer
