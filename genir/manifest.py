"""The manifest of a model folder: what must be in it, checked at load."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genir.errors import InputError

FORMAT = 1
NAME = "manifest.json"
JOURNAL = "journal-"


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Record the format, some facts, and the size and sha256 of every file below `folder`."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / NAME and not is_journal(path.relative_to(folder))
    }
    values = {"format": FORMAT, **facts, "files": files}
    (folder / NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def is_journal(path: Path) -> bool:
    """Tell whether a file of a model folder holds the changes since it was written.

    The journal goes on after the manifest is written, and checks itself (`living.journal`).
    """
    return len(path.parts) == 1 and path.name.startswith(JOURNAL)


def check_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest after checking every file against it.

    Raises InputError naming the first file that is missing, truncated or foreign.
    """
    path = folder / NAME
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such model folder; train one with train.py, or check the path"
        )
    if not path.is_file():
        raise InputError(f"{path}: missing, so this is not a genir model folder; check the path")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {
            name: (facts["bytes"], facts["sha256"]) for name, facts in manifest["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged; restore the folder or train it again") from None
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {manifest.get('format')!r}, but this genir reads {FORMAT}; "
            "use the genir version that wrote it"
        )
    for name, (size, digest) in files.items():
        _check_file(folder / name, size, digest)
    return manifest


def _check_file(path: Path, size: int, digest: str) -> None:
    mend = "restore the folder from a copy, or train it again"
    if not path.is_file():
        raise InputError(f"{path}: missing from the model folder; {mend}")
    found = path.stat().st_size
    if found != size:
        raise InputError(f"{path}: {found} bytes instead of {size} (truncated?); {mend}")
    if sha256(path) != digest:
        raise InputError(f"{path}: not the file that was saved (sha256 differs); {mend}")


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
