"""Protocols of the models that the server can serve, so that it imports no model code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genir.config import Recipe
from genir.types import Capabilities, Document, FilterSpec, Hit
from genir.updates.difference import Difference
from genir.updates.versions import Version

if TYPE_CHECKING:  # they import torch, which would delay the server's start
    from genir.identifiers.table import IdentifierTable

Check = Callable[[Sequence[str]], None]
"""Validates document keys; raises an exception for keys that it rejects."""


class Matched(Protocol):
    """The hits of one query, independent of later changes to the documents."""

    @property
    def proven(self) -> bool | None:
        """Whether exact search has proven the hits optimal; None without exact search."""
        ...

    def __iter__(self) -> Iterator[Hit]:
        """Yield the hits with their snippets. Thread-safe."""
        ...


class SearchModel(Protocol):
    """A retriever that answers queries and applies the changes of other processes."""

    shown_base_url: str | None
    """Base URL of the hits instead of the model's; None for the model's."""

    def shown_url(self, url: str) -> str:
        """Return the URL of a document under `shown_base_url`."""
        ...

    @property
    def documents(self) -> Any:
        """The document store; used for filters, titles and snippets only."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The recipe that the model was trained with."""
        ...

    @property
    def table(self) -> "IdentifierTable":
        """The table of valid identifiers."""
        ...

    @property
    def folder(self) -> Path | None:
        """The model folder; None before the first save."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Features of the search strategy."""
        ...

    @property
    def version(self) -> int:
        """Version of the documents: the number of committed changes."""
        ...

    @property
    def insert_unsupported_reason(self) -> str:
        """Why documents cannot be added; "" if they can."""
        ...

    def match(
        self,
        queries: list[str],
        k: int | Sequence[int],
        where: FilterSpec | Sequence[FilterSpec] = None,
        beams: int | None = None,
        exact: bool | None = None,
    ) -> Sequence[Matched]:
        """Return the best hits of each query.

        Args:
            queries: B query texts.
            k: Number of hits, for all queries or one for each.
            where: Filter, for all queries or one for each.
            beams: Beam width; None for the recipe's.
            exact: Whether to use exact search; None as the recipe's strategy.
        """
        ...

    def shares(
        self, query: str, keys: Sequence[str], where: FilterSpec = None
    ) -> list[float] | None:
        """Return the probability of each document, normalised over the documents that pass `where`.

        None if the model's scores are not log-probabilities.
        """
        ...

    def confidence(self, query: str, key: str) -> float | None:
        """Return the probability that a document answers a query; None if the model cannot tell."""
        ...

    def prepare(self, where: FilterSpec) -> object:
        """Compile a filter and cache it while the result is referenced. Thread-safe."""
        ...

    def prepared(self, where: FilterSpec) -> object | None:
        """Return a cached filter or None, without blocking. Thread-safe."""
        ...

    def beam_width(self, k: int, beams: int | None = None) -> int:
        """Return the beam width of a search for `k` hits."""
        ...

    def sync(self, reload: bool = True) -> bool:
        """Apply the changes of other processes; return whether there were any.

        Raises:
            FolderReplaced: The folder must be loaded again, and `reload` is false.
        """
        ...

    def close(self) -> None:
        """Close the model's files."""
        ...


class UpdatableModel(SearchModel, Protocol):
    """A retriever whose documents can be changed."""

    def add(
        self,
        documents: Sequence[Document],
        queries: Mapping[str, list[str]] | None = None,
        check: Check | None = None,
    ) -> list[str]:
        """Add documents; return their keys. `check` runs while other writers are locked out."""
        ...

    def replace(
        self,
        documents: Sequence[Document],
        queries: Mapping[str, list[str]] | None = None,
        check: Check | None = None,
    ) -> list[str]:
        """Replace the documents with the same keys; return the keys."""
        ...

    def delete(self, keys: Sequence[str], check: Check | None = None) -> list[str]:
        """Delete documents; return their keys."""
        ...

    def mirror(
        self, documents: Path, max_deleted: float = 0.5, dry_run: bool = False
    ) -> Difference:
        """Make the documents equal to those of a folder, as one change; return the difference."""
        ...

    def rollback(self, version: int) -> None:
        """Restore the documents of an earlier version."""
        ...

    def compact(self) -> None:
        """Rewrite the model folder without deleted documents."""
        ...

    def versions(self) -> list[Version]:
        """Return the table of versions."""
        ...


Opener = Callable[[Path], Any]
"""Loads a model folder."""
