"""Ranking of document numbers for queries, with a model, its trie and a decoding method.

`Retriever` adds document texts and the model folder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from genir.arguments import as_counts, as_texts
from genir.config import DecodingSection, Stage
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.beams import Beams
from genir.decoding.exact import Found, exact_search
from genir.decoding.graphs import record_searches
from genir.decoding.joined import joined_search
from genir.decoding.masks import LiveRows, Mask
from genir.decoding.ngrams import rank_by_ngrams
from genir.decoding.proof import prove_documents
from genir.decoding.trie import Trie
from genir.decoding.views import rank_by_views
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.encoder import encode_texts, pad_batch
from genir.models.modes import evaluating
from genir.models.precision import autocast
from genir.records import Answer
from genir.stopping import checkpoint

NO_NUMBERS = "some scores are NaN: the model is damaged; train it again"


GATHERED: Mapping[str, Callable[..., list[list[Ranked]]]] = {
    "ngrams": rank_by_ngrams,
    "views": rank_by_views,
}
"""Rankings that use all prefixes or views found by a search, by the value of `aggregate`."""


class Reading(NamedTuple):
    """An input text of the model, and its log-probability given the query."""

    text: str
    score: float


class Ranker:
    """Ranks the documents of a table with a model."""

    recipe: Stage

    def __init__(self, recipe: Stage, table: IdentifierTable, model: DocidModel) -> None:
        self.recipe = recipe
        self.table = table
        self.model = model
        self._search_in(Trie.build(table, model.device))

    def follow(self, table: IdentifierTable) -> None:
        """Switch to another table, to which the model has been updated already."""
        self._search_in(Trie.build(table, self.model.device))
        self.table = table

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device, in place."""
        self.model.to(device)
        self._search_in(self.trie.to(device))
        return self

    def _search_in(self, trie: Trie) -> None:
        self.trie = trie
        self.recorded = record_searches(self.model, trie)

    @torch.inference_mode()
    def rank(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int],
        live: LiveRows,
        width: int,
        exact: bool | None = None,
    ) -> list[Answer[Ranked]]:
        """Return at most k documents for each query, best first.

        The beam width is doubled for queries with too few documents while more of them match, since
        several identifiers of one document may have occupied the beams.

        Args:
            queries: Query texts; a string is one query.
            k: Number of documents, for all queries or for each.
            live: Rows that each query may reach.
            width: Beam width.
            exact: Whether to prove the top k; None follows the recipe.

        Raises:
            InputError: The model generates free text, or a score is NaN.
        """
        if self.recipe.decoding.mode == "free":
            raise InputError(
                "[decoding] mode = 'free': this model generates text, not documents; use "
                "genir generate-queries --model"
            )
        exact = self.recipe.decoding.mode == "exact" if exact is None else exact
        queries = as_texts(queries)
        ks = as_counts(k, "k", len(queries))
        answers: list[Answer[Ranked]] = [Answer() for _ in queries]
        with evaluating(self.model):
            live = live.to(self.model.device)
            if exact:
                proven = self._prove(queries, max(ks, default=0), live)
                answers = [Answer(one[:n], one.proven) for one, n in zip(proven, ks, strict=True)]
            self._fill(answers, queries, ks, live, width)
        return answers

    def _fill(
        self,
        answers: list[Answer[Ranked]],
        queries: Sequence[str],
        ks: Sequence[int],
        live: LiveRows,
        width: int,
    ) -> None:
        """Run beam search for the queries that have fewer than k documents."""
        places = live.places(len(queries))
        matching = cache(lambda place: self._documents_in(live.masks[place]))

        def lacking(asked: Iterable[int]) -> list[int]:
            short = [q for q in asked if len(answers[q]) < ks[q]]
            return [q for q in short if len(answers[q]) < matching(places[q])]

        short = lacking(range(len(queries)))
        if not short:
            return
        readings = self.read([queries[q] for q in short], live.select(short))
        wanted = self._useful(max(ks), readings)
        read_for = dict(zip(short, readings, strict=True))
        while short:
            checkpoint()
            found = self._decode([read_for[q] for q in short], live.select(short), width, wanted)
            for query, ranked in zip(short, found, strict=True):
                answers[query] = Answer(ranked[: ks[query]], answers[query].proven)
            short = lacking(short)
            if short and width >= self.trie.rows:
                raise InputError(NO_NUMBERS)
            width *= 2

    @property
    def _has_one_row_each(self) -> bool:
        return len(self.table) == len(self.table.keys)

    def _documents_in(self, mask: Mask) -> int:
        """Return the number of documents with a row in a mask, bool [rows]."""
        if self._has_one_row_each:
            return int(np.count_nonzero(mask))
        return int(np.count_nonzero(np.bincount(self.table.documents[mask])))

    def _useful(self, most: int, readings: Sequence[Sequence[Reading]]) -> int | None:
        """Return the number of identifiers needed for `most` documents; None for all of them.

        The top `most` identifiers may belong to fewer documents if a document has several
        identifiers, or if the scores of several input texts are summed.
        """
        if not self._has_one_row_each or self.recipe.decoding.gathers:
            return None
        return None if self._adds_up and any(len(own) > 1 for own in readings) else most

    @property
    def _adds_up(self) -> bool:
        return self.recipe.decoding.aggregate == "logsumexp"

    def _search(
        self,
        inputs: tuple[torch.Tensor, torch.Tensor],
        live: LiveRows,
        decoding: DecodingSection,
        wanted: int | None,
    ) -> Beams:
        if self.recorded is not None and decoding.several == 1 and not decoding.look_ahead:
            return self.recorded.search(inputs, live, decoding)
        search = beam_search if decoding.several == 1 else joined_search
        return search(self.model, self.trie, inputs, live, decoding, wanted)

    def read(self, queries: Sequence[str], live: LiveRows) -> list[list[Reading]]:
        """Return the input texts of the model for each query: the query itself."""
        return [[Reading(query, 0.0)] for query in queries]

    def encode(self, queries: str | Iterable[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokenise queries.

        Args:
            queries: Query texts; a string is one query.

        Returns:
            Token ids and attention mask, int64 [B, S] each, on the model's device.

        Raises:
            InputError: Not texts, or no query.
        """
        texts = as_texts(queries)
        if not texts:
            raise InputError("queries: the list is empty; give at least one query")
        ids = encode_texts(self.model.tokenizer, texts, self.recipe.training.source_length)
        inputs, mask = pad_batch(ids, self.model.tokenizer.pad_token_id)
        return inputs.to(self.model.device), mask.to(self.model.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context for inference."""
        return autocast(self.model.device, "answering", self.recipe.training.precision)

    def decoding_for(self, live: LiveRows) -> DecodingSection:
        """Return the decoding options for queries with these masks.

        If every document is one symbol, a softmax over the vocabulary depends on all documents. So
        closed selections use the softmax over legal symbols, which gives the same ranking. Other
        vocabularies do not depend on the documents.
        """
        if live.closed and self.model.makes_rows:
            return self.recipe.decoding.model_copy(update={"normalise": "legal"})
        return self.recipe.decoding

    def _prove(self, queries: Sequence[str], k: int, live: LiveRows) -> list[Answer[Ranked]]:
        decoding = self.decoding_for(live)

        def search(asked: Sequence[int], wanted: int) -> Found:
            inputs = self.encode([queries[q] for q in asked])
            with self.autocast():
                return exact_search(
                    self.model, self.trie, inputs, live.select(asked), wanted, decoding
                )

        masks = [live.masks[place] for place in live.places(len(queries))]
        return prove_documents(search, self.table, masks, k, decoding.aggregate)

    def _decode(
        self,
        readings: Sequence[Sequence[Reading]],
        live: LiveRows,
        width: int,
        wanted: int | None,
    ) -> list[list[Ranked]]:
        """Return the documents of each query, aggregated over its input texts.

        The score of an identifier is its log-probability plus that of the input text.
        """
        recipe = self.decoding_for(live)
        owners = [query for query, own in enumerate(readings) for _ in own]
        inputs = self.encode([reading.text for own in readings for reading in own])
        before = np.array([reading.score for own in readings for reading in own])
        # Sequences of several identifiers can outnumber the rows.
        beams = min(width, self.trie.rows) if recipe.several == 1 else width
        decoding = recipe
        if beams != recipe.beams:
            decoding = recipe.model_copy(update={"beams": beams})
        with self.autocast():
            if recipe.gathers:  # one input text for each query
                gather = GATHERED[recipe.aggregate]
                return gather(self.model, self.table, self.trie, inputs, live, decoding)
            found = self._search(inputs, live.select(owners), decoding, wanted)
        masks = [live.masks[place] for place in live.places(len(readings))]
        low, high, score = (t.cpu().numpy() for t in (found.low, found.high, found.score))
        if any(before):  # otherwise keep float32 scores unchanged
            score = score + before[:, None]
        ends = accumulate(map(len, readings), initial=0)
        return [
            rank_documents(
                self.table,
                low[start:end].ravel(),
                high[start:end].ravel(),
                score[start:end].ravel(),
                mask,
                recipe.aggregate,
            )
            for (start, end), mask in zip(pairwise(ends), masks, strict=True)
        ]
