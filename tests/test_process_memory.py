import os
import subprocess
import sys

import pytest

from genir.process_memory import (
    MAX_CACHED_KERNELS,
    block_import,
    limit_onednn_cache,
    trim_malloc,
)

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
FAKE_JAX = """
from pathlib import Path
(Path(__file__).parent.parent / "loaded").touch()
"""
EVERYTHING = """
import importlib, pkgutil
import genir
from genir.errors import MissingPackage
for module in pkgutil.walk_packages(genir.__path__, "genir."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except MissingPackage:
            pass
from genir.baselines.bm25 import Bm25
from genir.types import Document
corpus = [Document("a", text="copy a file"), Document("b", text="list files")]
print([hit.key for hit in Bm25.fit(corpus).search(["copy"], 5)[0]])
"""


def test_kernels_are_bounded_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setenv(NAME, "5")
    limit_onednn_cache()
    assert os.environ[NAME] == "5"
    monkeypatch.delenv(NAME)
    limit_onednn_cache()
    assert os.environ[NAME] == str(MAX_CACHED_KERNELS)
    monkeypatch.delenv(NAME)  # is restored after the test


def test_the_command_line_loads_no_torch_before_a_verb_asks_for_it():
    output = subprocess.run(
        [sys.executable, "-c", "import sys, genir.cli; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout.strip() == "False"


def test_freed_memory_is_returned_and_used_memory_stays():
    kept = [bytes([n]) * 50_000 for n in range(200)]
    del kept[::2]
    trim_malloc()
    assert [block[0] for block in kept] == list(range(1, 200, 2))


FREED = """
import os, sys
import numpy as np
from genir.process_memory import limit_heap_growth

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

if sys.argv[1] == "mapped":
    limit_heap_growth()
del_first = np.ones(2**20)  # 8 MiB: freed, it raises the bound of glibc
del del_first
before, kept = resident(), []
for _ in range(10):
    block = np.ones(2**20 - 1000)
    kept.append(bytes(100_000))  # on the heap behind the block
    kept.append(block)
del kept[1::2], block
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, for glibc")
def test_large_blocks_leave_no_holes_in_the_heap():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    grown = {}
    for way in ("default", "mapped"):
        asked = [sys.executable, "-c", FREED, way]
        result = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)
        grown[way] = int(result.stdout)
    assert grown["default"] > 40  # glibc alone: the function prevents this
    assert grown["mapped"] < 10


def test_nothing_of_genir_loads_jax_where_it_is_installed(tmp_path):
    lax = "import numpy\ndef top_k(values, k): return values, values\n"
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(FAKE_JAX)
    (tmp_path / "jax" / "lax.py").write_text(lax)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])

    def run(code):
        words = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True)

    assert run(EVERYTHING).stdout.splitlines()[-1] == "['a']"
    assert not (tmp_path / "loaded").exists()
    run("import bm25s")
    assert (tmp_path / "loaded").exists(), "else this test shows nothing"


def test_blocked_imports_are_restored_and_loaded_ones_stay(tmp_path, monkeypatch):
    (tmp_path / "looked_for.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError), block_import("looked_for"):
        import looked_for
    import looked_for

    with block_import("looked_for"):
        assert sys.modules["looked_for"] is looked_for
    assert sys.modules.pop("looked_for") is looked_for
