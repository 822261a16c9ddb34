"""Arguments and options shared by several verbs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genir.config import Precision
from genir.errors import InputError
from genir.hub import local_folder
from genir.manifest import check_format, require_folder
from genir.outputs import check_output
from genir.progress import waiting

if TYPE_CHECKING:
    from genir.corpus.store import DocumentStore
    from genir.retriever import Retriever


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


def require_model(model: Path) -> None:
    """Raise InputError unless a path is a model folder, before torch is imported."""
    require_folder(model)
    check_format(model)


def require_files(*files: Path | None) -> None:
    """Raise InputError for a file that does not exist, before torch is imported."""
    for file in files:
        if file is not None and not file.exists():
            raise InputError(f"{file}: no such file; check the path")


def require_corpus(corpus: Path) -> None:
    """Raise InputError unless a path holds documents, before torch is imported."""
    from genir.corpus.readers import holds_pages

    holds_pages(corpus)


def load_model(model: Path) -> "Retriever":
    """Load a model folder. Raises InputError for a path that is none before torch is imported."""
    require_model(model)
    with waiting(f"loading {model}"):
        from genir.retriever import Retriever

        return Retriever.load(model)


def load_searcher(model: Path, precision: Precision, rerank: str | None = None) -> "Retriever":
    """Load a model folder, or a model of the hub by name, for queries.

    Args:
        model: A folder or a name.
        precision: Precision of all matrix products of this process.
        rerank: Re-ranker to use instead of the recipe's.
    """
    folder = local_folder(model)
    retriever = load_model(folder)
    from genir.models.precision import override

    override(precision)
    if rerank is not None:
        retriever.set_rerank(rerank)
    return retriever


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
