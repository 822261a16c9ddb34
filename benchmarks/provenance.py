"""The commit and the processor that a result was measured with."""

import os
import platform
import subprocess
from pathlib import Path

import torch

TOP = Path(__file__).parents[1]


def commit() -> str:
    """Return the commit, with `+` if the tree has changes; "" outside a repository.

    GENIR_COMMIT overrides it, for a copy of the tree without its repository.
    """
    override = os.environ.get("GENIR_COMMIT", "")
    if override or not (TOP / ".git").exists():
        return override
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    finished = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    return finished.stdout.strip()


def processor() -> str:
    """Return the name of the GPU, or of the CPU with its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {os.cpu_count()} cores" if names else platform.processor()
