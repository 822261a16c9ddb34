"""Trial of a model folder: a child process loads and queries it before the server does.

A crafted file can make a library crash, hang or allocate without limit. In the child process this
only rejects the folder.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from genir.atomic_dirs import is_enclosed, walk_paths
from genir.errors import InputError

CHILD_SCRIPT = "import sys; from genir.serving.load_sandbox import main; main(*sys.argv[1:])"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
"""Environment of the child: no network access, no GPU."""
CHILD_NICENESS = 5
"""Increment of the scheduling niceness of the child process."""
MEMORY_BYTES = 4 * 2**30
MEMORY_PER_BYTE = 6
"""Limit of the child's address space beyond the imported libraries: `MEMORY_BYTES`, plus
`MEMORY_PER_BYTE` for each byte of the folder (weights in three precisions, the table, the trie)."""
BLOCK_BYTES = 512
"""Unit of `st_blocks`, by which the true size of sparse files is computed."""
MAX_REFUSAL = 1_000
"""Maximum length of the reason for a refusal, in characters."""


class LoadSandbox:
    """Tries folders one at a time, each in a child process with a time and a memory limit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __call__(self, folder: Path) -> None:
        """Load a folder and run a query in a child process.

        Raises:
            InputError: The folder is invalid, or the child crashes, exceeds its memory limit or its
                time limit.
        """
        command = [sys.executable, "-P", "-c", CHILD_SCRIPT, str(folder), str(self._seconds)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": _import_path()},
            start_new_session=True,
        ) as child:
            self._child = child
            try:
                if self._closed:
                    raise InputError(
                        f"{folder}: not tried, since the server is shutting down; try again later"
                    )
                output, _ = child.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                raise _refused(
                    folder, f"does not finish within {self._seconds:g} seconds"
                ) from None
            finally:
                self._kill()
                self._child = None
        try:
            refusal = json.loads(output)
        except ValueError:
            raise _refused(folder, _end_of(child.returncode)) from None
        if refusal is not None:
            raise InputError(str(refusal)[:MAX_REFUSAL])

    def close(self) -> None:
        """Kill a running child; its folder is rejected."""
        self._closed = True
        self._kill()

    def _kill(self) -> None:
        """Kill the child and the processes that it has started."""
        child = self._child
        if child is not None and child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _import_path() -> str:
    """Return a PYTHONPATH with which the child imports this genir, installed or not."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


def _refused(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: refused: a process that loads it {reason}; get the folder from its source again"
    )


def _end_of(code: int) -> str:
    """Describe the end of a child without a report."""
    with suppress(ValueError):
        return f"is ended by {signal.Signals(-code).name}"
    return f"exits with code {code}"


# --- in the child --------------------------------------------------------------------------------


def main(folder: str, seconds: str) -> None:
    """Load a folder and print the reason for rejecting it as JSON; null if it answers."""
    _limit_time(float(seconds))
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep the output of libraries out of the report
    reason = _attempt(Path(folder))
    report.write(json.dumps(reason))
    report.close()
    os._exit(0)  # skip destructors: memory may be corrupted


def _attempt(folder: Path) -> str | None:
    from genir.models.precision import override
    from genir.retriever import Retriever

    override("fp32")
    _limit_memory(folder)
    try:
        retriever = Retriever.load(folder, "cpu")
        retriever.search(["a trial query"], 10)
        retriever.versions()
        for _ in retriever.documents:  # parses each one
            pass
    except InputError as error:
        return str(error)
    except MemoryError:
        return str(_refused(folder, "takes more memory than a folder of its size needs"))
    except Exception as error:
        return str(_refused(folder, f"fails ({type(error).__name__}: {error})"))
    return None


def _limit_time(seconds: float) -> None:
    """Limit the run time of this process and its children, in case the server is gone."""
    os.nice(CHILD_NICENESS)
    signal.alarm(int(seconds) + 10)
    processors = os.cpu_count() or 1
    for limit, most in (
        (resource.RLIMIT_CPU, (int(seconds) + 10) * processors),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, most)


def _limit_memory(folder: Path) -> None:
    """Limit the address space; no limit on systems without /proc."""
    with suppress(OSError, InputError):  # an unreadable folder fails at its load
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        facts = [path.stat() for path in walk_paths(folder) if is_enclosed(path, folder)]
        size = sum(min(one.st_size, one.st_blocks * BLOCK_BYTES) for one in facts)
        used = pages * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + MEMORY_BYTES + MEMORY_PER_BYTE * size)


def _lower(limit: int, most: int) -> None:
    """Set a resource limit, unless a lower one is set."""
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(limit, (most, most))
