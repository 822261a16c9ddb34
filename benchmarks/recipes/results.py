"""Result files: one JSON file per row and collection."""

import json
from pathlib import Path
from typing import Any

from benchmarks.recipes.plan import Run
from genir.errors import InputError

Result = dict[str, Any]
ONE_LINE_KEYS = frozenset(
    ("ranks", "ranks_misspelt", "unseen", "dev", "p_values", "latency_ms", "bytes_per_document")
)


def write_result(folder: Path, run: Run, result: Result) -> None:
    """Write a result with one line per key and indented tables, for readable diffs."""
    lines = []
    for key, value in result.items():
        indent = None if key in ONE_LINE_KEYS else 1
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
        lines.append(f" {json.dumps(key)}: " + text.replace("\n", "\n "))
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{run.file}.part"
    part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    part.replace(folder / run.file)


def read_result(folder: Path, run: Run) -> Result | None:
    """Return the result of a row, even if it is stale; None without a file."""
    path = folder / run.file
    if not path.is_file():
        return None
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); remove it and run again") from None
    return result


def status(folder: Path, run: Run) -> str:
    """Return `done`, `stale` (its inputs have changed) or `missing`."""
    result = read_result(folder, run)
    if result is None:
        return "missing"
    return "done" if result["fingerprint"] == run.fingerprint else "stale"


def accept(folder: Path, run: Run) -> None:
    """Give an existing result the fingerprint of the plan, without measuring it again."""
    result = read_result(folder, run)
    if result is not None and result["fingerprint"] != run.fingerprint:
        write_result(folder, run, {**result, "fingerprint": run.fingerprint})
