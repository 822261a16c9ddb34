"""Memory of the decoder's tables, measured in a separate process that holds nothing else.

Run as `python -m benchmarks.decode.memory_footprint FILE`, with `symbols` in a safetensors file.
"""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.provenance import TOP
from genir.atomic_dirs import temporary_folder
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie
from genir.identifiers.table import smallest_int

STATUS = Path("/proc/self/statm")
PAGE = 4096


def resident_bytes(symbols: NDArray[np.int32]) -> float | None:
    """Return the resident bytes per identifier of trie, live mask and row -> document map.

    symbols: sorted, [rows, levels]. None if the system does not report memory (no /proc).
    """
    if not STATUS.is_file():
        return None
    with temporary_folder() as folder:
        path = folder / "symbols.safetensors"
        save_file({"symbols": np.ascontiguousarray(smallest_int(symbols))}, path)
        command = [sys.executable, "-m", "benchmarks.decode.memory_footprint", str(path)]
        output = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout
    return float(output) / len(symbols)


def _resident() -> int:
    gc.collect()
    return PAGE * int(STATUS.read_text().split()[1])


def _measure(path: Path) -> int:
    small = np.arange(64, dtype=np.int16).reshape(-1, 1)
    kept = [Trie.from_symbols(small), RowMask.build([np.ones(64, dtype=bool)])]  # loads the code
    before = _resident()
    symbols = load_file(path)["symbols"]
    kept.append(Trie.from_symbols(symbols))
    kept.append(RowMask.build([np.broadcast_to(True, len(symbols))]))
    documents = np.arange(len(symbols), dtype=np.int32)
    after = _resident()
    assert len(kept) == 4 and len(documents) == len(symbols)  # all still held
    return after - before


if __name__ == "__main__":
    sys.stdout.write(str(_measure(Path(sys.argv[1]))))
