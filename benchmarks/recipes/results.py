"""Result files: one JSON file per row and collection."""

import json
from pathlib import Path
from typing import Any

from benchmarks.recipes.plan import Run
from genir.errors import InputError
from genir.json_parser import JsonError, parse_json

Result = dict[str, Any]


def write_result(folder: Path, run: Run, result: Result) -> None:
    """Write a result with one line per key, for readable diffs."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items()]
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
        result: Result = parse_json(path.read_text(encoding="utf-8"))
    except JsonError as error:
        raise InputError(f"{path}: not valid JSON ({error}); remove it and run again") from None
    return result


def status(folder: Path, run: Run) -> str:
    """Return `done`, `stale` (its inputs have changed) or `missing`."""
    result = read_result(folder, run)
    if result is None:
        return "missing"
    return "done" if result["fingerprint"] == run.fingerprint else "stale"
