"""Download one public file: resumed after interruptions, checked, then moved into place."""

import hashlib
import json
import re
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from genir.errors import InputError

CHUNK = 1 << 20
TIMEOUT = 60
CONSOLE = Console(stderr=True)


def fetch(url: str, target: Path, checksum: str = "") -> Path:
    """Download a file unless it is there; return its path.

    The transfer is written to `target`.part, and continued after an interruption if the server
    still has the same version. `checksum` is `sha256:<hex>` or `md5:<hex>`.
    Raises InputError for a failed or incomplete transfer and for a wrong checksum.
    """
    if not target.exists():
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _transfer(url, part)
        verify(part, checksum, url)
        part.replace(target)
        _tag(part).unlink(missing_ok=True)
    else:
        verify(target, checksum, url)
    return target


def verify(path: Path, checksum: str, url: str = "") -> None:
    """Raise InputError, and set the file aside, unless it has the checksum (if one is given)."""
    if not checksum:
        return
    name, _, expected = checksum.partition(":")
    actual = digest(path, name)
    if actual != expected.lower():
        aside = path.with_name(path.name + ".mismatch")
        path.replace(aside)
        raise InputError(
            f"{url or path}: {name} is {actual}, expected {expected}; set aside as {aside}. Fetch "
            "it again, or give the checksum of the version you want"
        )


def digest(path: Path, name: str = "sha256") -> str:
    """Return a file's checksum in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _transfer(url: str, part: Path) -> None:
    """Append the missing bytes; start again if the server has another version."""
    try:
        with urllib.request.urlopen(_request(url, part), timeout=TIMEOUT) as response:
            resumed = response.status == 206
            have = part.stat().st_size if resumed else 0
            if resumed and not _continues(response, part, have):
                _tag(part).unlink()  # the next request asks for the whole file
                return _transfer(url, part)
            total = _total(response, have)
            _tag(part).write_text(json.dumps(_validator(response)))
            _copy(response, part, have, total)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise InputError(f"{url}: the origin answers {error.code} {error.reason}") from None
        size = error.headers.get("Content-Range", "").rpartition("/")[2]
        if size not in ("", "*", str(part.stat().st_size)):  # else nothing is missing
            _tag(part).unlink()
            _transfer(url, part)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise InputError(
            f"{url}: the transfer failed ({error}); run it again to go on, or give a local copy "
            "with --source"
        ) from None
    except OSError as error:
        raise InputError(f"{part}: cannot be written ({error.strerror}); free space") from None


def _continues(response: HTTPResponse, part: Path, have: int) -> bool:
    """Whether a partial response has the same version and begins at the end of the part.

    A proxy may answer a range without having looked at If-Range.
    """
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    now, before = _validator(response), json.loads(_tag(part).read_text())
    return start == str(have) and now in ("", before)


def _request(url: str, part: Path) -> urllib.request.Request:
    if not re.match(r"https?://", url):
        raise InputError(f"{url}: not an http address")
    request = urllib.request.Request(url, headers={"User-Agent": "genir-data-prep"})
    validator = json.loads(_tag(part).read_text()) if _tag(part).exists() else ""
    if validator and part.exists():
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", validator)
    return request


def _validator(response: HTTPResponse) -> str:
    """Return a strong ETag or the modification date; weak ETags do not promise equal bytes."""
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _total(response: HTTPResponse, have: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else int(length) + have


def _copy(response: HTTPResponse, part: Path, have: int, total: int | None) -> None:
    with part.open("ab" if have else "wb") as file, _progress() as progress:
        task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=have)
        have += _pump(response, file, progress, task)
    if total is not None and have < total:
        raise ConnectionError(f"cut after {have:,} of {total:,} bytes")


def _pump(response: HTTPResponse, file, progress: Progress, task: TaskID) -> int:  # noqa: ANN001
    copied = 0
    while chunk := response.read(CHUNK):
        file.write(chunk)
        copied += len(chunk)
        progress.advance(task, len(chunk))
    return copied


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=CONSOLE,
        transient=True,
        disable=not CONSOLE.is_terminal,
    )
