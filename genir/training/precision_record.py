"""Record of the precision chosen for each kind of work at the start of training.

A resumed run uses the recorded precision, so its result is bit-identical.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from pydantic import TypeAdapter, ValidationError

from genir.config import Precision
from genir.errors import InputError
from genir.models.precision import (
    WORKLOADS,
    DType,
    Workload,
    choose,
    fixed,
    reason_for,
    summary_line,
)
from genir.training.progress_display import log

PrecisionRecord = dict[str, dict[Workload, DType]]
"""The precision of each kind of work, by device type."""


@contextmanager
def recorded_precision(path: Path, asked: Precision) -> Iterator[Mapping[str, str]]:
    """Apply the precision recorded in a file within the block; record missing choices first.

    Yields:
        The choices on this device, as stored in `metrics.json`.

    Raises:
        InputError: the file is damaged.
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
        log(f"precision on {kind}: {summary_line(known[kind], 'recorded at the start')}", True)
        return
    if not known and (path.parent / "prepared").is_dir():
        raise InputError(
            f"{path}: missing or empty, so a resumed run could differ in precision; --overwrite "
            "starts again"
        )
    for each in {kind, "cpu"} - known.keys():  # parent models may run on the CPU
        known[each] = {work: choose(work, each) if asked == "auto" else asked for work in WORKLOADS}
    reason = reason_for(kind, WORKLOADS, asked)
    log(f"precision on {kind}: {summary_line(known[kind], reason)}", True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> PrecisionRecord:
    if not path.exists():
        return {}
    try:
        known = TypeAdapter(PrecisionRecord).validate_json(path.read_bytes())
    except ValidationError:
        known = {"": {}}
    if any(own.keys() != set(WORKLOADS) for own in known.values()):
        raise InputError(f"{path}: damaged; --overwrite starts again")
    return known
