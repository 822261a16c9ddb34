"""What the clients ask of a source: a loaded model, or a server at the other end of HTTP."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from genir.records import Document, Searcher


class Documents(Protocol):
    """Whole documents by their keys."""

    def fetch(self, keys: str | Sequence[str]) -> Mapping[str, Document]:
        """Return the documents of these keys."""
        ...


@runtime_checkable
class Source(Searcher, Protocol):
    """A searcher whose documents can be read: `Retriever`, `RemoteSearcher`."""

    @property
    def documents(self) -> Documents:
        """What the hits' keys stand for."""
        ...
