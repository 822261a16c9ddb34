"""From queries to ranked documents, by number: a model, its trie and the way of decoding.

Knows no texts of documents; `Retriever` adds them, and the model folder.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import torch

from genir.config import Recipe
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.exact import Found, exact_search
from genir.decoding.masks import LiveRows
from genir.decoding.proof import prove_documents
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.encoder import autocast, encode_texts, pad_batch
from genir.records import Answer


class Ranker:
    """A model that answers with the numbers of documents in its table."""

    def __init__(self, recipe: Recipe, table: IdentifierTable, model: DocidModel) -> None:
        self.recipe = recipe
        self.table = table
        self.model = model
        self.trie = Trie.build(table, model.device)

    def follow(self, table: IdentifierTable) -> None:
        """Answer from another table from now on; the model has followed it already."""
        self.trie = Trie.build(table, self.model.device)
        self.table = table

    @torch.inference_mode()
    def rank(
        self,
        queries: Sequence[str],
        k: int,
        live: LiveRows,
        width: int,
        exact: bool | None = None,
    ) -> list[Answer[Ranked]]:
        """Return at most k documents a query, under its mask.

        The beam is doubled for the queries that fall short while more documents match: several
        identifiers of one document may have taken the places of others.
        """
        exact = self.recipe.decoding.mode == "exact" if exact is None else exact
        training = self.model.training
        self.model.eval()
        live, places = live.to(self.model.device), live.places(len(queries))

        @cache
        def matching(place: int) -> int:
            return int(np.count_nonzero(np.bincount(self.table.documents[live.masks[place]])))

        def lacking(asked: Iterable[int]) -> list[int]:
            short = [q for q in asked if len(answers[q]) < k]
            return [q for q in short if len(answers[q]) < matching(places[q])]

        # Where a document has several identifiers, the best k of these may be of fewer documents.
        wanted = k if len(self.table) == len(self.table.keys) else None
        answers: list[Answer[Ranked]] = [Answer() for _ in queries]
        if exact:
            answers = self._prove(queries, k, live)
        short = lacking(range(len(queries)))
        while short:
            found = self._decode([queries[q] for q in short], live.select(short), width, wanted)
            for query, ranked in zip(short, found, strict=True):
                answers[query] = Answer(ranked[:k], answers[query].proven)
            short = lacking(short)
            if short and width >= self.trie.rows:
                raise InputError("some scores are no numbers: the model is damaged; train it again")
            width *= 2
        self.model.train(training)
        return answers

    def encode(self, queries: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids and attention mask, int64 [B, S] each, on the model's device."""
        ids = encode_texts(self.model.tokenizer, queries, self.recipe.training.source_length)
        inputs, mask = pad_batch(ids, self.model.tokenizer.pad_token_id)
        return inputs.to(self.model.device), mask.to(self.model.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that the model answers in."""
        return autocast(self.model.device, self.recipe.training.precision)

    def _prove(self, queries: Sequence[str], k: int, live: LiveRows) -> list[Answer[Ranked]]:
        decoding = self.recipe.decoding

        def search(asked: Sequence[int], wanted: int) -> Found:
            inputs = self.encode([queries[q] for q in asked])
            with self.autocast():
                return exact_search(
                    self.model, self.trie, inputs, live.select(asked), wanted, decoding
                )

        masks = [live.masks[place] for place in live.places(len(queries))]
        return prove_documents(search, self.table, masks, k, decoding.aggregate)

    def _decode(
        self, queries: Sequence[str], live: LiveRows, width: int, wanted: int | None
    ) -> list[list[Ranked]]:
        inputs, recipe = self.encode(queries), self.recipe.decoding
        decoding = recipe.model_copy(update={"beams": min(width, self.trie.rows)})
        with self.autocast():
            found = beam_search(self.model, self.trie, inputs, live, decoding, wanted)
        masks = [live.masks[place] for place in live.places(len(queries))]
        low, high, score = (t.cpu().numpy() for t in (found.low, found.high, found.score))
        return [
            rank_documents(self.table, *row, recipe.aggregate)
            for row in zip(low, high, score, masks, strict=True)
        ]
