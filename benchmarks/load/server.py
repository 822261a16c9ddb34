"""A server in a separate process, for measurements over HTTP."""

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

from genir.arguments import is_blank
from genir.corpus.store import DocumentStore
from genir.corpus.tokens import join_words, words
from genir.errors import InputError
from genir.signals import on_leave

START = "import sys; from genir.cli import main; sys.argv[0] = 'genir'; main()"
"""Python code that runs the command line of genir."""

TIMEOUT_S = 240.0


@contextmanager
def started(
    folder: Path, *flags: str, max_files: int = 0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `genir serve` on a model folder; yield the process and its address.

    Args:
        folder: The model folder.
        flags: Further options of `genir serve`.
        max_files: Limit of open files; 0 for that of this process.

    Raises:
        InputError: The server did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", str(folder), "--port", "0", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        with on_leave(process.terminate):
            if max_files:  # before it reads the limit: Python is still starting
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (max_files, max_files))
            line = process.stderr.readline()
            if " answers at " not in line:
                raise InputError(f"the server did not start: {line}{process.stderr.read()}")
            yield process, line.split(" answers at ")[1].split()[0]
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(60)


def connect(address: str, token: str = "") -> httpx.AsyncClient:
    """Return a client of a server, without proxies."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(
        base_url=address, headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=False
    )


def resident_bytes(process: int) -> int:
    """Return the resident size of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def passages(model: Path, count: int = 5_000) -> list[str]:
    """Return random passages of 3 to 8 words from the documents of a model."""
    store, rng, found = DocumentStore(model / "documents.sqlite"), random.Random(0), list[str]()
    for number in [rng.randrange(len(store)) for _ in range(count)]:
        read = words(f"{store[number].title} {store[number].text}")
        start = rng.randrange(max(1, len(read) - 3))
        found.append(join_words(read[start : start + rng.randint(3, 8)])[:500])
    store.close()
    return [text for text in found if not is_blank(text)]
