"""Manifest of a model folder: lists its files, which are verified at load."""

import hashlib
import json
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from genir.atomic_dirs import is_enclosed, new_folder, walk_paths
from genir.errors import InputError

FORMAT = 4
"""Version of the model folder layout."""
NAME = "manifest.json"
JOURNAL = "journal-"
"""Prefix of the journal files."""
SIGNATURE = "manifest.sig"
"""Signature of the manifest, hence not listed in it (`genir.signatures`)."""
MAX_JSON_BYTES = 64 * 2**20
MAX_JSON_DEPTH = 100
"""Maximum nesting of values, which are processed recursively; Python's limit is 1,000 frames."""
MAX_NAME = 200
"""Maximum characters of a file's path in the folder."""
MAX_VERSION = 2**30
"""Maximum version or count; both are int32 elsewhere, and increase."""
VERSION_FIELDS = {"version", "kind", "made", "documents", "target"}
UNREAD = ("README.md", "LICENSE")
"""Files that a hub adds to a folder, besides hidden ones; they are not read."""


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the format, `facts`, and the size and sha256 of every file below `folder`."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_unlisted(path.relative_to(folder))
    }
    values = {"format": FORMAT, **facts, "files": files}
    (folder / NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def is_journal(path: Path) -> bool:
    """Return whether a file belongs to the journal.

    The journal grows after the manifest is written, and verifies itself (`updates.journal`).
    """
    return len(path.parts) == 1 and path.name.startswith(JOURNAL)


def _is_unlisted(path: Path) -> bool:
    """Return whether a file of a model folder is not listed in its manifest."""
    return path in (Path(NAME), Path(SIGNATURE)) or is_journal(path)


def check_manifest(folder: Path) -> dict[str, Any]:
    """Verify every file of a model folder, and return the manifest.

    Every file must be listed, except the journal and signature, and every listed file must be a
    regular file inside the folder with the recorded size and sha256.

    Raises:
        InputError: names the first file that fails.
    """
    path = folder / NAME
    require_folder(folder)
    manifest = read_json(path)
    try:
        files = {
            name: (facts["bytes"], facts["sha256"]) for name, facts in manifest["files"].items()
        }
        valid = _has_valid_facts(manifest)
    except (KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise _damaged(path)
    check_format(folder, manifest)
    for name in files:
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts or len(name) > MAX_NAME:
            raise InputError(f"{path}: lists {name!r:.80}, which is not a file inside the folder")
    _refuse_unlisted(folder, files)
    for name, (size, digest) in files.items():
        _check_file(folder / name, size, digest)
    return manifest


def require_folder(folder: Path) -> None:
    """Raise InputError unless a path is a model folder; its files are not read."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such model folder; train one with train.py, or check the path"
        )
    if not (folder / NAME).is_file():
        raise InputError(
            f"{folder / NAME}: missing, so this is not a genir model folder; check the path"
        )


def check_format(folder: Path, manifest: Mapping[str, Any] | None = None) -> None:
    """Raise InputError unless a model folder has the format that this version reads."""
    values = read_json(folder / NAME) if manifest is None else manifest
    if not isinstance(values, Mapping):
        raise _damaged(folder / NAME)
    if values.get("format") != FORMAT:
        raise InputError(
            f"{folder / NAME}: format {values.get('format')!r}, but this genir reads {FORMAT}; "
            "train the model again"
        )


def _has_valid_facts(manifest: Mapping[str, Any]) -> bool:
    """Return whether versions, their history and the base URL have valid types."""
    counts = [manifest.get(name, 0) for name in ("version", "learned", "documents", "identifiers")]
    for line in manifest.get("versions", []):
        counts += [
            line["version"],
            line["documents"],
            0 if line["target"] is None else line["target"],
        ]
        if set(line) != VERSION_FIELDS or not all(type(line[n]) is str for n in ("kind", "made")):
            return False
    url = manifest.get("base_url", "")
    return type(url) is str and all(type(n) is int and 0 <= n < MAX_VERSION for n in counts)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file of a model folder.

    Raises:
        InputError: the file is larger than `MAX_JSON_BYTES`, malformed or nested too deeply.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: larger than {MAX_JSON_BYTES:,} bytes; restore the folder")
        values = json.loads(path.read_text(encoding="utf-8"))
        if _is_deep(values):
            raise RecursionError
        return values
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError):
        raise _damaged(path) from None


def _is_deep(values: Any) -> bool:
    """Return whether values are nested deeper than `MAX_JSON_DEPTH`."""
    level = [values]
    for _ in range(MAX_JSON_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level
                 if isinstance(one, dict | list)]  # fmt: skip
        level = [value for one in inner for value in one]
    return bool(level)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: damaged; restore the folder or train it again")


def refuse_other_files(folder: Path) -> None:
    """Raise InputError if a folder to be replaced has files of other origin.

    The files of the model may be damaged, but the manifest has to list them. Hidden files and files
    of `UNREAD` are not the model's.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    files = _listed(folder)
    if files is None:
        raise InputError(
            f"{folder}: is not a model folder, so it is not replaced; choose another path, or "
            "remove it yourself"
        )
    _refuse_unlisted(folder, files)
    for path in sorted(folder.iterdir()):
        if _is_kept(path.name):
            raise InputError(
                f"{path}: would be removed with the model that is replaced; move it elsewhere, or "
                "choose another path"
            )


@contextmanager
def rewritten_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of a model folder after the block.

    Hidden entries (the history of a clone) and the files of `UNREAD` are copied to it.

    Raises:
        InputError: the folder holds files that are neither of the model nor copied, or cannot be
            written.
    """
    if folder.is_dir():
        _refuse_unlisted(folder, _listed(folder) or ())
    with new_folder(folder, overwrite=True, keep=_is_kept) as partial:
        yield partial


_UNFINISHED = re.compile(r"\.(journal-.+|manifest\.sig)\.[0-9]+\.part(-journal|-wal|-shm)?")
"""Files that a killed process of genir left unfinished in a model folder."""


def is_unread(name: str) -> bool:
    """Return whether an entry of a model folder is hidden or one of `UNREAD`: it is not listed."""
    return name.startswith(".") or name in UNREAD


def _is_kept(name: str) -> bool:
    """Return whether an unread entry is a user's, not an unfinished file of genir."""
    return is_unread(name) and not _UNFINISHED.fullmatch(name)


def _listed(folder: Path) -> frozenset[str] | None:
    """Return the names that a manifest of genir's lists, None where there is none.

    Web apps and browser extensions have a `manifest.json`, too.
    """
    try:
        manifest = read_json(folder / NAME)
        if not (type(manifest["format"]) is int and isinstance(manifest["files"], dict)):
            return None
        return frozenset(name for name, facts in manifest["files"].items() if facts["sha256"])
    except (InputError, KeyError, TypeError):
        return None


def _refuse_unlisted(folder: Path, files: Container[str]) -> None:
    """Raise InputError for a file that the manifest does not list, or a special file."""
    for path in sorted(walk_paths(folder)):
        name = path.relative_to(folder)
        if is_unread(name.parts[0]):
            continue
        if is_journal(name) and not path.exists() and not path.is_symlink():
            continue  # removed: another process closed its journal
        if path.is_dir() and not path.is_symlink():
            continue
        _refuse_special(folder, path)
        if name.as_posix() not in files and not _is_unlisted(name):
            raise InputError(
                f"{path}: not listed in {NAME}; remove it, or get the folder from its source again"
            )


def _refuse_special(folder: Path, path: Path) -> None:
    """Raise InputError for a device, a pipe, or a link out of the folder (`is_enclosed`)."""
    if not is_enclosed(path, folder):
        raise InputError(
            f"{path}: not a regular file inside the model folder; put a copy of the file there"
        )


def _check_file(path: Path, size: int, digest: str) -> None:
    remedy = "restore the folder from a copy, or train it again"
    if not path.is_file():
        raise InputError(f"{path}: missing from the model folder; {remedy}")
    found = path.stat().st_size
    if found != size:
        raise InputError(f"{path}: {found} bytes instead of {size} (truncated?); {remedy}")
    try:
        changed = sha256(path) != digest
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if changed:
        raise InputError(f"{path}: not the file that was saved (sha256 differs); {remedy}")


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
