"""Arguments and options shared by several verbs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genir.config import Precision
from genir.errors import InputError
from genir.outputs import check_output

if TYPE_CHECKING:
    from genir.corpus.store import DocumentStore


def refuse_place(path: Path | None) -> Path | None:
    """Refuse a path that cannot be written, before the work starts."""
    if path is not None:
        check_output(path)
    return path


Model = Annotated[Path, typer.Argument(help="a model folder", metavar="MODEL", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="change a recipe key: training.epochs=1")
]
Conditions = Annotated[
    list[str] | None, typer.Option("--where", help="required metadata of a hit: lang=en")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="write JSON here", callback=refuse_place)
]
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="of matrix products; auto: the faster one, measured"),
]
Rerank = Annotated[
    str | None,
    typer.Option(help="cross-encoder or monoT5 that re-ranks the hits; default: the recipe's"),
]
Overwrite = Annotated[bool, typer.Option(help="replace an existing output")]


def read_conditions(where: list[str] | None, documents: "DocumentStore") -> dict[str, Any]:
    """Parse `--where field=value` options to a filter: field -> alternative values.

    A value is converted to the type of the field in the documents.

    Raises:
        InputError: a value has another type, or a field is unknown.
    """
    from genir.corpus.metadata_filters import read_value

    conditions: dict[str, Any] = {}
    for item in where or []:
        field, equals, value = item.partition("=")
        if not equals or not field:
            raise InputError(f"--where {item!r}: write it as field=value, e.g. lang=en")
        values = read_value(field, value, documents.field_types(field))
        conditions.setdefault(field, []).extend(values)
    return conditions
