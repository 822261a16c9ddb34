"""A model folder is loaded and asked in a child process before this process loads it.

Libraries that read weights, tokenizers and tries may crash, never return or allocate without bound
on a crafted file. In the child that costs a refusal; the server goes on.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from genir.errors import InputError
from genir.folders import is_enclosed, paths_below

CHILD = "import sys; from genir.serving.trial import main; main(*sys.argv[1:])"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
"""No look-ups, and no second copy in the memory of a GPU."""
NICENESS = 5
MEMORY_BYTES = 4 * 2**30
MEMORY_PER_BYTE = 6
"""Address space that the child may take: the first number, and so much for each byte of the folder
(weights in three precisions, the table, the trie), beyond that of the imported libraries."""
BLOCK_BYTES = 512
"""Unit of `st_blocks`: a file with holes is not as large as it says."""
MAX_REFUSAL = 1_000


class Trial:
    """Examine folders one at a time, each in a child process with a deadline and a memory limit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __call__(self, folder: Path) -> None:
        """Load a folder and ask it a query, in a child process.

        Raises:
            InputError: the folder is refused there, or the child crashes, takes more than its
                memory, or is not done in time.
        """
        command = [sys.executable, "-P", "-c", CHILD, str(folder), str(self._seconds)]
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
                    raise InputError(f"{folder}: not tried, since the server is leaving")
                output, _ = child.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                raise _refused(folder, f"is not done in {self._seconds:g} seconds") from None
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
        """End the child that runs; its folder is refused."""
        self._closed = True
        self._kill()

    def _kill(self) -> None:
        """End the child and the processes that it has started."""
        child = self._child
        if child is not None and child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _import_path() -> str:
    """Return a PYTHONPATH by which the child finds this genir, installed or not."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


def _refused(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: refused: a process that loads it {reason}; get the folder from its source again"
    )


def _end_of(code: int) -> str:
    """Return how a child ended that has reported nothing."""
    with suppress(ValueError):
        return f"is ended by {signal.Signals(-code).name}"
    return f"exits with code {code}"


# --- in the child --------------------------------------------------------------------------------


def main(folder: str, seconds: str) -> None:
    """Load a folder and print why it is refused, as JSON; null where it answers."""
    _limit_time(float(seconds))
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no report
    reason = _attempt(Path(folder))
    report.write(json.dumps(reason))
    report.close()
    os._exit(0)  # what is still to be freed may be damaged


def _attempt(folder: Path) -> str | None:
    from genir.models.precision import override
    from genir.retriever import Retriever

    override("fp32")
    _limit_memory(folder)
    try:
        retriever = Retriever.load(folder, "cpu")
        retriever.search(["a trial query"], 10)
        retriever.versions()
        for _ in retriever.documents:  # each is parsed
            pass
    except InputError as error:
        return str(error)
    except MemoryError:
        return str(_refused(folder, "takes more memory than a folder of its size needs"))
    except Exception as error:
        return str(_refused(folder, f"fails ({type(error).__name__}: {error})"))
    return None


def _limit_time(seconds: float) -> None:
    """End this process, and those that it starts, should the one that waits for it be gone."""
    os.nice(NICENESS)
    signal.alarm(int(seconds) + 10)
    processors = os.cpu_count() or 1
    for limit, most in (
        (resource.RLIMIT_CPU, (int(seconds) + 10) * processors),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, most)


def _limit_memory(folder: Path) -> None:
    """Bound the address space from now on; systems without /proc have no bound."""
    with suppress(OSError, InputError):  # a folder that cannot be walked is refused at its load
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        facts = [path.stat() for path in paths_below(folder) if is_enclosed(path, folder)]
        size = sum(min(one.st_size, one.st_blocks * BLOCK_BYTES) for one in facts)
        used = pages * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + MEMORY_BYTES + MEMORY_PER_BYTE * size)


def _lower(limit: int, most: int) -> None:
    """Set a resource limit, unless a lower one holds already."""
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(limit, (most, most))
