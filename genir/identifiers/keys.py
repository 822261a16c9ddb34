"""Storage of document keys as a marisa trie, safe to read from untrusted folders.

The marisa library trusts its files: a flipped bit can end the process with SIGSEGV. So a child
process reads the file; if the child dies, the folder is rejected.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import marisa_trie
import numpy as np
from numpy.typing import NDArray

from genir.errors import InputError
from genir.plurals import counted

READER_SCRIPT = """
import sys
sys.path.append(sys.argv[5])
import resource, signal, marisa_trie
signal.alarm(int(sys.argv[3]))
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
most = int(sys.argv[4])
if sys.platform == "linux" and (hard == resource.RLIM_INFINITY or most < hard):
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
trie = marisa_trie.Trie().mmap(sys.argv[1])
count = len(trie)
if count > int(sys.argv[2]):
    sys.exit(f"{count} keys instead of {sys.argv[2]}")
keys = map(trie.restore_key, range(count))
sys.stdout.buffer.write("\\0".join(keys).encode())
"""
BASE_SECONDS = 30.0
KEYS_PER_SECOND = 50_000
"""Time limit of the child process: `BASE_SECONDS`, plus a second for this many keys, of which it
reads about a million per second."""
BASE_BYTES = 2 * 2**30
BYTES_PER_KEY = 1_024
"""Address space limit of the child process: `BASE_BYTES`, plus this for each key."""


def write_keys(path: Path, keys: Sequence[str]) -> NDArray[np.int64]:
    """Write a trie of keys; return the index in `keys` of each key in the trie's order."""
    trie = marisa_trie.Trie(keys)
    numbers = np.empty(len(keys), dtype=np.int64)
    for number, key in enumerate(keys):
        numbers[trie[key]] = number
    trie.save(str(path))
    return numbers


def read_keys(path: Path, numbers: NDArray[np.int64]) -> list[str]:
    """Return the keys in their original order.

    Args:
        numbers: Result of `write_keys`, int64 [documents].

    Raises:
        InputError: The file is damaged, or does not have these keys.
    """
    count = len(numbers)
    seconds = BASE_SECONDS + count / KEYS_PER_SECOND
    memory = BASE_BYTES + BYTES_PER_KEY * count
    # The child also limits itself, in case this process is killed.
    limits = [str(int(seconds) + 10), str(memory)]
    # Without `site` (-S), Python starts in half the time; the package is found by its folder.
    package = str(Path(marisa_trie.__file__).parent)
    command = [sys.executable, "-P", "-S", "-c", READER_SCRIPT, str(path), str(count)]
    try:
        done = subprocess.run(
            [*command, *limits, package],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise _damaged(path, "reading it timed out") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its reader exited with code {done.returncode}"
        raise _damaged(path, reason)
    try:
        keys = done.stdout.decode().split("\0") if count else []
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from None
    if len(keys) != count or len(set(keys)) != count:
        raise _damaged(path, f"{counted(len(set(keys)), 'key')} instead of {count}")
    if not np.array_equal(np.sort(numbers), np.arange(count)):
        raise _damaged(path, "the numbers of its keys are not 0, 1, 2, ...")
    ordered = [""] * count
    for number, key in zip(numbers.tolist(), keys, strict=True):
        ordered[number] = key
    return ordered


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: damaged identifier table ({reason}); restore the folder or train it again"
    )
