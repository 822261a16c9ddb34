"""The precision of each kind of work in a training: chosen at its start and recorded.

A resumed training takes the recorded choices: it ends in the same bits, whatever is measured then.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from pydantic import TypeAdapter, ValidationError

from genir.config import Precision
from genir.errors import InputError
from genir.models.precision import WORKS, Taken, Work, choose, fixed, line_of, reason_for
from genir.training.display import say

Recorded = dict[str, dict[Work, Taken]]
"""The precision of each kind of work, by device type."""


@contextmanager
def recorded_precision(path: Path, asked: Precision) -> Iterator[Mapping[str, str]]:
    """Hold the choices recorded in a file in the block; first record those that it lacks.

    asked: the recipe's precision. Yields the choices on this device as `metrics.json` has them.
    Raises InputError for a damaged file.
    """
    state = PartialState()
    kind = state.device.type
    if state.is_main_process:  # one measurement for all processes
        _record(path, kind, asked)
    state.wait_for_everyone()
    recorded = _read(path)
    with fixed(recorded):
        yield {"device": kind} | {str(work): taken for work, taken in recorded[kind].items()}


def _record(path: Path, kind: str, asked: Precision) -> None:
    known = _read(path)
    if kind in known:
        say(f"precision on {kind}: {line_of(known[kind], 'as recorded at the start')}", True)
        return
    if not known and (path.parent / "prepared").is_dir():
        raise InputError(
            f"{path}: missing or empty, so a resumed training might go on in another precision; "
            "--overwrite starts the training over"
        )
    for each in {kind, "cpu"} - known.keys():  # models of earlier trainings may answer on the CPU
        known[each] = {work: _choice(work, each, asked) for work in WORKS}
    say(f"precision on {kind}: {line_of(known[kind], reason_for(kind, WORKS, asked))}", True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(path)


def _choice(work: Work, device_type: str, asked: Precision) -> Taken:
    """Return the recipe's own precision, else the outer training's or the measured one."""
    return choose(work, device_type) if asked == "auto" else asked


def _read(path: Path) -> Recorded:
    if not path.exists():
        return {}
    try:
        known = TypeAdapter(Recorded).validate_json(path.read_bytes())
    except ValidationError:
        known = {"": {}}
    if any(own.keys() != set(WORKS) for own in known.values()):
        raise InputError(f"{path}: damaged; --overwrite starts the training over")
    return known
