"""Arguments and options that several verbs share."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from genir.config import Precision
from genir.errors import InputError


def refuse_place(path: Path | None) -> Path | None:
    """Refuse a file that could not be written, before the work whose result goes there."""
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    if path is not None and path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    return path


Model = Annotated[Path, typer.Argument(help="a model folder", metavar="MODEL", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="change a recipe key: training.epochs=1")
]
Conditions = Annotated[
    list[str] | None, typer.Option("--where", help="metadata a hit must have: lang=en")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="write JSON here", callback=refuse_place)
]
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="of products; auto: what is faster here, as measured"),
]
Overwrite = Annotated[bool, typer.Option(help="replace what stands at the output")]


def read_conditions(where: list[str] | None) -> dict[str, Any]:
    """Return what `--where field=value` options ask for: field -> values, any of which will do."""
    conditions: dict[str, Any] = {}
    for item in where or []:
        field, equals, value = item.partition("=")
        if not equals or not field:
            raise InputError(f"--where {item!r}: write it as field=value, such as lang=en")
        conditions.setdefault(field, []).extend(_readings(value))
    return conditions


def _readings(value: str) -> list[Any]:
    """Return what a value may mean: a number or truth value as JSON writes it, and the text."""
    try:
        read = json.loads(value, parse_constant=str)
    except ValueError:
        return [value]
    return [read, value] if isinstance(read, int | float) else [value]
