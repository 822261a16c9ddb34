"""BM25 over the documents that are live, for the answers side by side: an index made when asked.

It runs in a thread of its own, and is made anew after a change. Masks come from the model's thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from genir.corpus.matches import Matches
from genir.errors import FolderError, InputError
from genir.records import Answer, Document, Hit, Selection
from genir.serving.asks import ModelState, asking
from genir.serving.backlog import Busy, Closed
from genir.serving.scopes import visible
from genir.serving.served import Served
from genir.serving.shown import Shown
from genir.serving.threads import FairThread, Stopped

if TYPE_CHECKING:
    from genir.baselines.bm25 import Bm25

MOST_WAITING = 16
"""Requests that may wait for the index."""
CHUNK = 1_000
T = TypeVar("T")
Passing = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """The documents of a scope at one moment.

    name: of the scope, None for all documents. live: their numbers; passing: bool [documents], of
    these, a query.
    """

    state: ModelState
    name: Hashable
    documents: Any
    live: NDArray[np.int64]
    passing: list[Passing | None]


@dataclass(frozen=True)
class Compared:
    """BM25's hits of each query, the version of the documents, and the time its index took."""

    hits: list[Shown]
    version: int
    index_ms: float


class LiveDocuments(Sequence[Document]):
    """The live documents of a store, in the order of their numbers."""

    def __init__(self, documents: Any, live: NDArray[np.int64]) -> None:
        self._documents, self._live = documents, live.tolist()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._live)

    def __getitem__(self, place: Any) -> Any:
        """Return the document at a place."""
        return self._documents[self._live[place]]

    def __iter__(self) -> Iterator[Document]:
        """Yield all documents, read in chunks."""
        for start in range(0, len(self._live), CHUNK):
            numbers = self._live[start : start + CHUNK]
            found = self._documents.numbered(numbers)
            yield from (found[number] for number in numbers)


class Comparison:
    """The indexes of one state, one for each scope, and the thread that makes and asks them.

    A scope has an index of its own, since BM25's statistics (document frequencies, the mean length)
    are those of all documents in an index.
    """

    def __init__(self, most: int) -> None:
        """Keep indexes of at most so many documents, together too: the last asked of a state."""
        self._most = most
        self._thread = FairThread("genir-bm25")
        self._waiting = 0
        self._state: ModelState | None = None
        self._kept: OrderedDict[Hashable, tuple[Bm25 | None, int]] = OrderedDict()

    def look(
        self,
        served: Served,
        state: ModelState,
        selections: Sequence[Selection | None],
        scope: Selection | None = None,
    ) -> View:
        """Note which documents are in the scope, and which of them each query may find.

        Raises InputError for more documents than may be indexed.
        """
        live = np.flatnonzero(visible(served, scope))
        if len(live) > self._most:
            raise InputError(
                f"BM25 is not offered for more than {self._most:,} documents; ask the model"
            )
        masks: dict[Any, Passing | None] = {None: None}
        names = [None if one is None else one.name for one in selections]
        for name, selection in zip(names, selections, strict=True):
            if selection is not None and name not in masks:
                masks[name] = visible(served, selection)[live]
        own = None if scope is None else scope.name
        return View(state, own, served.documents, live, [masks[name] for name in names])

    async def prepare(self, view: View) -> None:
        """Make the index of a view, unless it is there. Raises Busy."""
        await self._run(self._following, view)

    async def search(self, view: View, asks: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        """Return the hits of (query, k) pairs over the documents of a view. Raises Busy."""
        return await self._run(self._search, view, asks)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            future = self._thread.submit(partial(work, *arguments), asking.get())
            return await asyncio.wrap_future(future)
        except Stopped:
            raise Closed from None
        finally:
            self._waiting -= 1

    def close(self, timeout: float) -> bool:
        """Drop what waits; return whether the thread has ended."""
        return self._thread.close(timeout)

    def _search(self, view: View, asks: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        index = self._following(view)
        if index is None:
            return [[] for _ in asks]
        return [
            index.search([query], k, among=among)[0]
            for (query, k), among in zip(asks, view.passing, strict=True)
        ]

    def _following(self, view: View) -> "Bm25 | None":
        """Return the index of the view's documents; none where they have no word."""
        if self._state != view.state:
            self._kept.clear()
            self._state = view.state
        if view.name not in self._kept:
            self._kept[view.name] = _fitted(view), len(view.live)
        self._kept.move_to_end(view.name)
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
        return self._kept[view.name][0]


def _fitted(view: View) -> "Bm25 | None":
    from genir.baselines.bm25 import Bm25

    try:
        return Bm25.fit(LiveDocuments(view.documents, view.live))
    except FolderError:  # unreadable: nothing is known of the documents
        raise
    except InputError:  # no document, or none with a word
        return None


def look_up_hits(
    served: Served, asks: Sequence[tuple[str, Selection | None]], answers: Sequence[Sequence[Hit]]
) -> list[Matches]:
    """Return what hits show; in the model's thread, where nothing changes meanwhile.

    A document that has gone since, or passes the selection no more, is left out. Queries that share
    a selection share its mask.
    """
    passing: dict[Any, Passing] = {}
    found = []
    for (query, selection), hits in zip(asks, answers, strict=True):
        name = None if selection is None else selection.name
        if name not in passing:
            passing[name] = visible(served, selection)
        found.append(_look_up(served, query, passing[name], hits))
    return found


def _look_up(served: Served, query: str, passing: Passing, hits: Sequence[Hit]) -> Matches:
    table = served.table
    kept = [hit for hit in hits if hit.key in table and passing[table.number(hit.key)]]
    found = served.documents.previews([hit.key for hit in kept], strict=True)
    previews = [found[hit.key] for hit in kept]
    bare = Answer(
        replace(hit, rank=rank, title=preview.title, url=preview.url)
        for rank, (hit, preview) in enumerate(zip(kept, previews, strict=True), start=1)
    )
    return Matches(query, bare, [preview.text for preview in previews])
