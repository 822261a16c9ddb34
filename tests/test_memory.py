import os
import subprocess
import sys

from genir.memory import KERNELS, give_back, keep_few_kernels

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def test_kernels_are_bounded_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setenv(NAME, "5")
    keep_few_kernels()
    assert os.environ[NAME] == "5"
    monkeypatch.delenv(NAME)
    keep_few_kernels()
    assert os.environ[NAME] == str(KERNELS)
    monkeypatch.delenv(NAME)  # also after the test


def test_the_command_line_loads_no_torch_before_a_verb_asks_for_it():
    told = subprocess.run(
        [sys.executable, "-c", "import sys, genir.cli; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "False"


def test_freed_memory_goes_back_and_what_is_in_use_stays():
    kept = [bytes([n]) * 50_000 for n in range(200)]
    del kept[::2]
    give_back()
    assert [block[0] for block in kept] == list(range(1, 200, 2))
