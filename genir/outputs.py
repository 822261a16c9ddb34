"""Output files of commands: checked before the work, so that results can be written after it."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from genir.errors import InputError


def check_output(path: Path) -> None:
    """Raise InputError if a file cannot be written: missing folder, a folder, no permission."""
    try:
        if not path.parent.is_dir():
            raise InputError(
                f"{path}: there is no folder {path.parent}; create it, or name another file"
            )
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file")
        if _is_device(path):
            return
        place, new = path.resolve(), not path.exists()
        with place.open("ab"):  # the only reliable test; appends nothing
            pass
        if new:
            place.unlink()
    except OSError as error:
        raise write_error(path, error) from None


def check_folder(path: Path) -> None:
    """Raise InputError if a folder cannot be created or written to."""
    try:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, not a folder; choose another path")
        there = next(one for one in (path, *path.absolute().parents) if one.exists())
        if not there.is_dir():
            raise InputError(f"{path}: {there} is a file, not a folder; choose another path")
        if not os.access(there, os.W_OK | os.X_OK):
            raise write_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    except OSError as error:
        raise write_error(path, error) from None


def check_distinct(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Raise InputError if outputs coincide, an output is an input, or is in a model folder.

    Both map an option, e.g. `--json`, to its path.
    """
    given = {option: path for option, path in inputs.items() if path is not None}
    known = {_identity(path): option for option, path in given.items()}
    models = {
        _resolve(path): option
        for option, path in given.items()
        if (path / "manifest.json").exists()
    }
    for folder, option in models.items():
        files = (path for path in folder.rglob("*") if path.is_file())
        known |= {_identity(path): f"{option}'s {path.relative_to(folder)}" for path in files}
    for option, path in outputs.items():
        if path is None or _is_device(path):
            continue
        for folder in models.keys() & set(_resolve(path).parents):
            raise InputError(
                f"{option}: {path} is inside the model folder {folder} ({models[folder]}), which "
                "accepts no other files; choose a path outside it"
            )
        other = known.setdefault(_identity(path), option)
        if other != option:
            raise InputError(f"{other} and {option} are both {path}; give different paths")


def require_outside(option: str, folder: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise InputError if a folder to be replaced is or contains an input.

    Args:
        option: Option that names the folder, e.g. `--out`.
        folder: Folder to be replaced.
        inputs: As in `check_distinct`.
    """
    replaced = _resolve(folder)
    for name, path in inputs.items():
        if path is None or not path.exists():
            continue
        place = _resolve(path)
        if replaced == place or replaced in place.parents:
            raise InputError(
                f"{name}: {path} would be removed when {option} {folder} is replaced; move it "
                f"elsewhere, or give another {option}"
            )


def _is_device(path: Path) -> bool:
    """Return whether a path is a device or a pipe, which two outputs may share."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _identity(path: Path) -> tuple[int, int] | Path:
    """Return an identity shared by all names of one file, hard links included; path if missing."""
    try:
        status = path.stat()
    except OSError:
        return _resolve(path)
    return status.st_dev, status.st_ino


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file. Raises InputError if it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, half a surrogate pair
        raise write_error(path, error) from None


def write_all(writers: Mapping[Path, Callable[[], object]]) -> None:
    """Write all outputs, even if some fail; then raise InputError for the failed ones."""
    failed = []
    for path, write in writers.items():
        try:
            write()
        except InputError as error:
            failed.append(str(error))
        except OSError as error:
            failed.append(str(write_error(path, error)))
    if failed:
        raise InputError("; ".join(failed))


def write_error(path: Path, error: Exception) -> InputError:
    """Return the error for a path that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    remedy = (
        "free space" if getattr(error, "errno", None) == errno.ENOSPC else "choose another path"
    )
    return InputError(f"{path}: cannot be written ({reason}); {remedy}")
