"""Results as files: one JSON a row and collection, and where each row of the plan stands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.contents import earlier
from benchmarks.plan import Run, Taken
from genir.errors import InputError

LONG = ("ranks", "ranks_misspelt", "unseen", "dev", "p_values", "latency_ms", "bytes_per_document")
"""Keys whose values are written on one line."""


def write(folder: Path, run: Run, result: dict[str, Any]) -> None:
    """Write a result; a failure that stands there before goes."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / run.file, _lines(result))
    failure_file(folder, run).unlink(missing_ok=True)


def write_failure(folder: Path, run: Run, reason: str) -> None:
    """Write down why a row failed; its former result, if any, stays."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = {"row": run.place, "digest": settled(folder, run).digest, "failed": reason}
    _replace(failure_file(folder, run), json.dumps(failed, indent=1) + "\n")


def failure_file(folder: Path, run: Run) -> Path:
    """Return where a row's failure is written."""
    return folder / run.file.replace(".json", ".failed.json")


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _lines(result: dict[str, Any]) -> str:
    """Write JSON with a line a key, and the tables in it indented: diffs stay readable."""
    lines = []
    for key, value in result.items():
        indent = None if key in LONG else 1
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
        lines.append(f" {json.dumps(key)}: " + text.replace("\n", "\n "))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read(folder: Path, run: Run) -> dict[str, Any] | None:
    """Return a row's result, be it stale; None where there is none."""
    return _read(folder / run.file)


def failure(folder: Path, run: Run) -> str:
    """Return why a row failed when it was tried last; "" where it did not."""
    found = _read(failure_file(folder, run))
    return "" if found is None else str(found["failed"])


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path}: not valid JSON ({error}); remove it, the row runs again"
        ) from None
    return found


def state(folder: Path, run: Run) -> str:
    """Return `done`, `stale`, `failed`, `missing`, `waits` or `no such recipe yet`.

    A row waits until the one that it is like is done.
    """
    if not run.has_recipe:
        return "no such recipe yet"
    run = settled(folder, run)
    if run.like is not None and run.taken is None:
        return "waits"
    result = read(folder, run)
    if result is not None and result["digest"] == run.digest:
        return "done"
    if failure(folder, run):
        return "failed"
    return "missing" if result is None else "stale"


def settled(folder: Path, run: Run) -> Run:
    """Return a row with the steps of the one that it is like; as it is while that is not done.

    A row that starts from the one that it is like takes its last training's steps twice.
    """
    if run.like is None or state(folder, run.like) != "done":
        return run
    result = read(folder, run.like)
    assert result is not None
    taken = dict(_taken(result, run.like))
    taken[run.row.recipe] = taken[run.like.row.recipe]
    if run.like.row.recipe not in (run.row.recipe, *earlier(run.row.recipe, run.row.settings)):
        del taken[run.like.row.recipe]
    return replace(run, taken=taken)


def _taken(result: dict[str, Any], run: Run) -> Taken:
    """Return the steps of a result. Raises InputError where a recipe was trained twice, unlike."""
    taken: dict[str, dict[str, int]] = {}
    for part in result["trained"]:
        first = {"first": part["first"]} if "first" in part else {}
        steps = {"main": part["steps"], **first}
        if taken.setdefault(part["recipe"], steps) != steps:
            raise InputError(
                f"{run.place}: has trained {part['recipe']!r} twice, in different steps; "
                "no row can be like it"
            )
    return taken
