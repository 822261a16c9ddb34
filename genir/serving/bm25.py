"""BM25 search over the live documents, for side-by-side comparison with the model.

The index is built on demand in a separate thread, and again after a change. Filter masks are
computed in the model's thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from genir.corpus.lazy_hits import LazyHits
from genir.errors import FolderError, InputError
from genir.serving.backlog import QueueFull, ShuttingDown
from genir.serving.fair_thread import FairThread, ThreadStopped
from genir.serving.jobs import ModelState, current_caller
from genir.serving.protocols import SearchModel
from genir.serving.rendered_hits import RenderedHits
from genir.serving.token_scopes import visible
from genir.types import Document, Hit, HitList, Selection

if TYPE_CHECKING:
    from genir.baselines.bm25 import Bm25

MAX_WAITING = 16
"""Maximum number of requests that wait for the index."""
CHUNK = 1_000
"""Number of documents read at a time."""
T = TypeVar("T")
Passing = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """Snapshot of the documents in a scope.

    Attributes:
        state: State of the model and its documents.
        name: Name of the scope; None for all documents.
        documents: The document store.
        live: Numbers of the live documents in the scope, int64 [n].
        passing: For each query, the documents of `live` that pass its filter, bool [n]; None for
        all.
    """

    state: ModelState
    name: Hashable
    documents: Any
    live: NDArray[np.int64]
    passing: list[Passing | None]


@dataclass(frozen=True)
class BM25Result:
    """BM25's hits of each query, version of the documents, and milliseconds to build the index."""

    hits: list[RenderedHits]
    version: int
    index_ms: float


class LiveDocuments(Sequence[Document]):
    """The live documents of a store as a sequence, ordered by number."""

    def __init__(self, documents: Any, live: NDArray[np.int64]) -> None:
        self._documents, self._live = documents, live.tolist()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._live)

    def __getitem__(self, place: Any) -> Any:
        """Return the document at a position."""
        return self._documents[self._live[place]]

    def __iter__(self) -> Iterator[Document]:
        """Yield all documents, read in chunks."""
        for start in range(0, len(self._live), CHUNK):
            numbers = self._live[start : start + CHUNK]
            found = self._documents.numbered(numbers)
            yield from (found[number] for number in numbers)


class BM25Comparison:
    """The BM25 indexes of one state, one for each scope, and their thread.

    Each scope needs a separate index, since BM25's statistics (document frequencies, mean length)
    are computed over all documents of an index.
    """

    def __init__(self, most: int) -> None:
        """Create the cache. `most` limits the documents of one index and of all together."""
        self._most = most
        self._thread = FairThread("genir-bm25")
        self._waiting = 0
        self._built = 0  # number of indexes so far
        self._state: ModelState | None = None
        self._kept: OrderedDict[Hashable, tuple[Bm25 | None, int]] = OrderedDict()

    def snapshot(
        self,
        served: SearchModel,
        state: ModelState,
        selections: Sequence[Selection | None],
        scope: Selection | None = None,
    ) -> View:
        """Return a snapshot of the scope's documents and of the filter masks of the queries.

        Raises InputError if the scope has more documents than `--max-compared`.
        """
        live = np.flatnonzero(visible(served, scope))
        if len(live) > self._most:
            raise InputError(
                f"bm25: not available for more than {self._most:,} documents; search with the model"
            )
        masks: dict[Any, Passing | None] = {None: None}
        names = [None if one is None else one.name for one in selections]
        for name, selection in zip(names, selections, strict=True):
            if selection is not None and name not in masks:
                masks[name] = visible(served, selection)[live]
        own = None if scope is None else scope.name
        return View(state, own, served.documents, live, [masks[name] for name in names])

    async def prepare(self, view: View) -> float:
        """Build the index of a view unless it exists; return the milliseconds that it took.

        They include the wait for indexes of other requests, and are 0 if none was built meanwhile.
        Raises QueueFull and ShuttingDown.
        """
        begun, built = monotonic(), self._built
        await self._run(self._following, view)
        return 0.0 if self._built == built else (monotonic() - begun) * 1000

    async def search(self, view: View, asks: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        """Return the hits of (query, k) pairs over a view. Raises QueueFull and ShuttingDown."""
        return await self._run(self._search, view, asks)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= MAX_WAITING:
            raise QueueFull
        self._waiting += 1
        try:
            future = self._thread.submit(partial(work, *arguments), current_caller.get())
            return await asyncio.wrap_future(future)
        except ThreadStopped:
            raise ShuttingDown from None
        finally:
            self._waiting -= 1

    def close(self, timeout: float) -> bool:
        """Drop waiting requests; return whether the thread has ended."""
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
        """Return the index of the view's documents; None if they contain no words."""
        if self._state != view.state:
            self._kept.clear()
            self._state = view.state
        if view.name not in self._kept:
            self._kept[view.name] = _fitted(view), len(view.live)
            self._built += 1
        self._kept.move_to_end(view.name)
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._most:
            self._kept.popitem(last=False)
        return self._kept[view.name][0]


def _fitted(view: View) -> "Bm25 | None":
    from genir.baselines.bm25 import Bm25

    try:
        return Bm25.fit(LiveDocuments(view.documents, view.live))
    except FolderError:  # the document store cannot be read
        raise
    except InputError:  # no documents, or none with a word
        return None


def look_up_hits(
    served: SearchModel,
    asks: Sequence[tuple[str, Selection | None]],
    answers: Sequence[Sequence[Hit]],
) -> list[LazyHits]:
    """Add titles, URLs and texts to BM25's hits. Runs in the model's thread, where nothing changes.

    Drops documents that were deleted since, or no longer pass the filter.
    """
    passing: dict[Any, Passing] = {}
    found = []
    for (query, selection), hits in zip(asks, answers, strict=True):
        name = None if selection is None else selection.name
        if name not in passing:
            passing[name] = visible(served, selection)
        found.append(_look_up(served, query, passing[name], hits))
    return found


def _look_up(served: SearchModel, query: str, passing: Passing, hits: Sequence[Hit]) -> LazyHits:
    table = served.table
    kept = [hit for hit in hits if hit.key in table and passing[table.number(hit.key)]]
    found = served.documents.previews([hit.key for hit in kept], strict=True)
    previews = [found[hit.key] for hit in kept]
    bare = HitList(
        replace(hit, rank=rank, title=preview.title, url=served.shown_url(preview.url))
        for rank, (hit, preview) in enumerate(zip(kept, previews, strict=True), start=1)
    )
    return LazyHits(query, bare, [preview.text for preview in previews])
