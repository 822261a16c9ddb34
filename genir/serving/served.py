"""What the server asks of a model: a protocol, so that it knows none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from genir.config import Recipe
from genir.decoding.filters import Wanted
from genir.identifiers.table import IdentifierTable
from genir.living.versions import Version
from genir.records import Document, Hit

Check = Callable[[Sequence[str]], None]
"""Refuses keys by an exception."""


class Matched(Protocol):
    """The answer to one query. It holds all that it shows, whatever changes meanwhile."""

    @property
    def proven(self) -> bool | None:
        """Whether exact search has shown that nothing better exists; None if it was not asked."""
        ...

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits, each with its snippet; from any thread."""
        ...


class Served(Protocol):
    """A retriever that answers, and follows what others change."""

    @property
    def documents(self) -> Any:
        """The document store, consulted for filters, titles and snippets only."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The recipe it was trained by."""
        ...

    @property
    def table(self) -> IdentifierTable:
        """The table of valid identifiers."""
        ...

    @property
    def folder(self) -> Path | None:
        """The model folder; None before the first save."""
        ...

    @property
    def version(self) -> int:
        """How many changes of the documents were acknowledged."""
        ...

    @property
    def closed(self) -> str:
        """Why no document can be added; empty where it can."""
        ...

    def match(
        self,
        queries: list[str],
        k: int | Sequence[int],
        where: Wanted | Sequence[Wanted] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> Sequence[Matched]:
        """Return the best hits of each query; k and where may be lists, one for each."""
        ...

    def shares(self, query: str, keys: Sequence[str], where: Wanted = None) -> list[float] | None:
        """Return how probable documents are among all that the query may find; None if unknown."""
        ...

    def prepare(self, where: Wanted) -> object:
        """Compile a filter ahead of the search that uses it; from any thread.

        The search finds it for as long as the result is held.
        """
        ...

    def prepared(self, where: Wanted) -> object | None:
        """Return a filter that was compiled already; from any thread, at once."""
        ...

    def width(self, k: int, beams: int | None = None) -> int:
        """Return the beam width of a search."""
        ...

    def catch_up(self, reload: bool = True) -> bool:
        """Apply what other processes have changed. Raises Moved where only a load can, unless
        reload.
        """
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Changed(Served, Protocol):
    """A retriever that documents come to and go from."""

    def add(
        self,
        documents: Sequence[Document],
        queries: Mapping[str, list[str]] | None = None,
        check: Check | None = None,
    ) -> list[str]:
        """Add documents; check: refuses keys, while other writers are kept out."""
        ...

    def replace(
        self,
        documents: Sequence[Document],
        queries: Mapping[str, list[str]] | None = None,
        check: Check | None = None,
    ) -> list[str]:
        """Put documents in the place of others."""
        ...

    def delete(self, keys: Sequence[str], check: Check | None = None) -> list[str]:
        """Delete documents."""
        ...

    def rollback(self, version: int) -> None:
        """Go back to a former version."""
        ...

    def compact(self) -> None:
        """Write the folder anew."""
        ...

    def versions(self) -> list[Version]:
        """Return the table of versions."""
        ...


Opener = Callable[[Path], Any]
"""Loads a model folder."""
