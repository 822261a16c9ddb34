"""Protocols of a document source: a loaded model or a remote server."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from genir.types import Document, Searcher


class Documents(Protocol):
    """Access to whole documents by key."""

    def fetch(self, keys: str | Sequence[str]) -> Mapping[str, Document]:
        """Return the documents with these keys."""
        ...


@runtime_checkable
class Source(Searcher, Protocol):
    """A searcher with access to its documents: `Retriever` or `RemoteSearcher`."""

    @property
    def documents(self) -> Documents:
        """The documents that the keys of the hits refer to."""
        ...
