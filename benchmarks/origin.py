"""Where a result comes from: the state of the code, and the machine."""

import os
import platform
import subprocess
from pathlib import Path

import torch

TOP = Path(__file__).parents[1]


def commit() -> str:
    """Return the commit of the tree, with `+` where it has changes; "" outside a repository.

    GENIR_COMMIT says it of a copy that left its repository behind.
    """
    told_so = os.environ.get("GENIR_COMMIT", "")
    if told_so or not (TOP / ".git").exists():
        return told_so
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    told = subprocess.run(asked, cwd=TOP, capture_output=True, text=True, check=False)
    return told.stdout.strip()


def processor() -> str:
    """Return the name of what the row was trained on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {os.cpu_count()} cores" if names else platform.processor()
