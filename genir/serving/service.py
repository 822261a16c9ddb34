"""One retriever behind one worker thread. Knows no HTTP beyond "not ready yet" (503)."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, TypeVar

from starlette.exceptions import HTTPException

from genir.config import Recipe
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Searcher
from genir.serving.messages import ModelCard

T = TypeVar("T")


class Served(Searcher, Protocol):
    """What the server asks of a retriever."""

    @property
    def documents(self) -> Sequence[Document]:
        """The document store, consulted for titles and snippets only."""
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


class Service:
    """Ask one retriever, one question at a time, off the event loop.

    Every call of the model runs in the one worker thread, so that no two overlap; whoever wants
    batches, additions or deletions queues them here too.
    """

    def __init__(self, retriever: Served | None = None) -> None:
        self._retriever = retriever
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="genir-model")

    @property
    def ready(self) -> bool:
        """Tell whether a retriever is there."""
        return self._retriever is not None

    def load(self, loader: Callable[[], Served]) -> Future[None]:
        """Load the retriever in the worker; the future carries the error if that fails."""
        return self._worker.submit(lambda: self._install(loader()))

    def _install(self, retriever: Served) -> None:
        self._retriever = retriever

    async def ask(self, question: Callable[[Served], T]) -> T:
        """Return the retriever's answer to a question. Raises HTTPException 503 before `load`."""
        if self._retriever is None:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the model is still loading; ask again in a moment",
                {"Retry-After": "1"},
            )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, question, self._retriever)

    def close(self) -> None:
        """Take no more questions; what waits is dropped."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def describe(retriever: Served, examples: Sequence[str] = ()) -> ModelCard:
    """Return what is served; without examples, sample some from the documents."""
    recipe = retriever.recipe
    return ModelCard(
        name=retriever.folder.name if retriever.folder else recipe.name,
        recipe=recipe.name,
        description=recipe.description,
        scheme=recipe.identifiers.scheme,
        kind=recipe.model.kind,
        documents=len(retriever.documents),
        identifiers=int(retriever.table.live.sum()),
        examples=list(examples) or sample_examples(retriever.documents),
    )


def sample_examples(documents: Sequence[Document], count: int = 4) -> list[str]:
    """Return short openings of documents spread evenly over the corpus, as queries to try."""
    step = max(1, len(documents) // (count * 8))  # most documents open with something too long
    openings = [_opening(documents[place]) for place in range(step // 2, len(documents), step)]
    fit = list(dict.fromkeys(filter(None, openings)))
    return fit[:: max(1, len(fit) // count)][:count]


def _opening(document: Document, longest: int = 48) -> str:
    """Return the first sentence if it is short, else the title if that is, else nothing."""
    sentence = document.text.strip().split("\n")[0].split(". ")[0].rstrip(".")
    for text in (sentence, document.title):
        if 8 <= len(text) <= longest:
            return text
    return ""
