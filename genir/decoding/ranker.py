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
from genir.cancellation import raise_if_cancelled
from genir.config import DecodingSection, StageConfig
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.beam_state import Beams
from genir.decoding.cuda.graphs import make_graph_cache
from genir.decoding.exact import ExactResult, exact_search
from genir.decoding.exact_documents import exact_documents
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.strategies.corpusbrain import search_sequences
from genir.decoding.strategies.minder import rank_by_views
from genir.decoding.strategies.seal import rank_by_ngrams
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.encoder import encode_texts, pad_batch
from genir.models.eval_mode import evaluating
from genir.models.precision import autocast
from genir.types import HitList

NAN_SCORES = "some scores are NaN: the model is damaged; train it again"


AGGREGATING_MODES: Mapping[str, Callable[..., list[list[Ranked]]]] = {
    "ngrams": rank_by_ngrams,
    "views": rank_by_views,
}
"""Rankings that use all prefixes or views found by a search, by the value of `aggregate`."""


class DecoderInput(NamedTuple):
    """An input text of the model, and its log-probability given the query."""

    text: str
    score: float


class Ranker:
    """Ranks the documents of a table with a model."""

    recipe: StageConfig

    def __init__(self, recipe: StageConfig, table: IdentifierTable, model: DocidModel) -> None:
        self.recipe = recipe
        self.table = table
        self.model = model
        self._set_trie(Trie.build(table, model.device))

    def update_table(self, table: IdentifierTable) -> None:
        """Switch to another table, to which the model has been updated already."""
        self._set_trie(Trie.build(table, self.model.device))
        self.table = table

    def to(self, device: torch.device | str) -> Self:
        """Move the model and the trie to a device, in place."""
        self.model.to(device)
        self._set_trie(self.trie.to(device))
        return self

    def _set_trie(self, trie: Trie) -> None:
        self.trie = trie
        self.graph_cache = make_graph_cache(self.model, trie)

    @torch.inference_mode()
    def rank(
        self,
        queries: str | Iterable[str],
        k: int | Sequence[int],
        row_mask: RowMask,
        width: int,
        exact: bool | None = None,
    ) -> list[HitList[Ranked]]:
        """Return at most k documents for each query, best first.

        The beam width is doubled for queries with too few documents while more of them match, since
        several identifiers of one document may have occupied the beams.

        Args:
            queries: Query texts; a string is one query.
            k: Number of documents, for all queries or for each.
            row_mask: Rows that each query may reach.
            width: Beam width.
            exact: Whether to prove the top k; None follows the recipe.

        Raises:
            InputError: The model generates free text, or a score is NaN.
        """
        if self.recipe.decoding.mode == "text":
            raise InputError(
                "[decoding] mode = 'text': this model generates text, not documents; use "
                "genir generate-queries --model"
            )
        exact = self.recipe.decoding.mode == "exact" if exact is None else exact
        queries = as_texts(queries)
        ks = as_counts(k, "k", len(queries))
        answers: list[HitList[Ranked]] = [HitList() for _ in queries]
        with evaluating(self.model):
            row_mask = row_mask.to(self.model.device)
            if exact:
                proven = self._prove(queries, max(ks, default=0), row_mask)
                answers = [HitList(one[:n], one.proven) for one, n in zip(proven, ks, strict=True)]
            self._rank_widening(answers, queries, ks, row_mask, width)
        return answers

    def _rank_widening(
        self,
        answers: list[HitList[Ranked]],
        queries: Sequence[str],
        ks: Sequence[int],
        row_mask: RowMask,
        width: int,
    ) -> None:
        """Run beam search for the queries that have fewer than k documents."""
        places = row_mask.mask_index(len(queries))
        matching = cache(lambda place: self._count_documents(row_mask.masks[place]))

        def lacking(asked: Iterable[int]) -> list[int]:
            short = [q for q in asked if len(answers[q]) < ks[q]]
            return [q for q in short if len(answers[q]) < matching(places[q])]

        short = lacking(range(len(queries)))
        if not short:
            return
        readings = self.encode_inputs([queries[q] for q in short], row_mask.select(short))
        wanted = self._enough_top_k(max(ks), readings)
        read_for = dict(zip(short, readings, strict=True))
        while short:
            raise_if_cancelled()
            found = self._decode(
                [read_for[q] for q in short], row_mask.select(short), width, wanted
            )
            for query, ranked in zip(short, found, strict=True):
                answers[query] = HitList(ranked[: ks[query]], answers[query].proven)
            short = lacking(short)
            if short and width >= self.trie.rows:
                raise InputError(NAN_SCORES)
            width *= 2

    @property
    def _has_unique_identifiers(self) -> bool:
        return len(self.table) == len(self.table.keys)

    def _count_documents(self, mask: Mask) -> int:
        """Return the number of documents with a row in a mask, bool [rows]."""
        if self._has_unique_identifiers:
            return int(np.count_nonzero(mask))
        return int(np.count_nonzero(np.bincount(self.table.documents[mask])))

    def _enough_top_k(
        self, maximum: int, decoder_inputs: Sequence[Sequence[DecoderInput]]
    ) -> int | None:
        """Return the number of identifiers needed for `maximum` documents; None for all of them.

        The top `maximum` identifiers may belong to fewer documents if a document has several
        identifiers, or if the scores of several input texts are summed.
        """
        if not self._has_unique_identifiers or self.recipe.decoding.combines_partial_matches:
            return None
        return (
            None
            if self._sums_probabilities and any(len(own) > 1 for own in decoder_inputs)
            else maximum
        )

    @property
    def _sums_probabilities(self) -> bool:
        return self.recipe.decoding.aggregate == "logsumexp"

    def _search(
        self,
        inputs: tuple[torch.Tensor, torch.Tensor],
        row_mask: RowMask,
        decoding: DecodingSection,
        top_k: int | None,
    ) -> Beams:
        if (
            self.graph_cache is not None
            and decoding.max_identifiers == 1
            and not decoding.lookahead_weight
        ):
            return self.graph_cache.search(inputs, row_mask, decoding)
        search = beam_search if decoding.max_identifiers == 1 else search_sequences
        return search(self.model, self.trie, inputs, row_mask, decoding, top_k)

    def encode_inputs(self, queries: Sequence[str], row_mask: RowMask) -> list[list[DecoderInput]]:
        """Return the input texts of the model for each query: the query itself."""
        return [[DecoderInput(query, 0.0)] for query in queries]

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

    def decoding_for(self, row_mask: RowMask) -> DecodingSection:
        """Return the decoding options for queries with these masks.

        If every document is one symbol, a softmax over the vocabulary depends on all documents. So
        closed selections use the softmax over legal symbols, which gives the same ranking. Other
        vocabularies do not depend on the documents.
        """
        if row_mask.restrict_scores and self.model.has_document_rows:
            return self.recipe.decoding.model_copy(update={"softmax": "trie"})
        return self.recipe.decoding

    def _prove(self, queries: Sequence[str], k: int, row_mask: RowMask) -> list[HitList[Ranked]]:
        decoding = self.decoding_for(row_mask)

        def search(asked: Sequence[int], wanted: int) -> ExactResult:
            inputs = self.encode([queries[q] for q in asked])
            with self.autocast():
                return exact_search(
                    self.model, self.trie, inputs, row_mask.select(asked), wanted, decoding
                )

        masks = [row_mask.masks[place] for place in row_mask.mask_index(len(queries))]
        return exact_documents(search, self.table, masks, k, decoding.aggregate)

    def _decode(
        self,
        decoder_inputs: Sequence[Sequence[DecoderInput]],
        row_mask: RowMask,
        width: int,
        top_k: int | None,
    ) -> list[list[Ranked]]:
        """Return the documents of each query, aggregated over its input texts.

        The score of an identifier is its log-probability plus that of the input text.
        """
        recipe = self.decoding_for(row_mask)
        owners = [query for query, own in enumerate(decoder_inputs) for _ in own]
        inputs = self.encode([reading.text for own in decoder_inputs for reading in own])
        before = np.array([reading.score for own in decoder_inputs for reading in own])
        # Sequences of several identifiers can outnumber the rows.
        beams = min(width, self.trie.rows) if recipe.max_identifiers == 1 else width
        decoding = recipe
        if beams != recipe.beams:
            decoding = recipe.model_copy(update={"beams": beams})
        with self.autocast():
            if recipe.combines_partial_matches:  # one input text for each query
                gather = AGGREGATING_MODES[recipe.aggregate]
                return gather(self.model, self.table, self.trie, inputs, row_mask, decoding)
            found = self._search(inputs, row_mask.select(owners), decoding, top_k)
        masks = [row_mask.masks[place] for place in row_mask.mask_index(len(decoder_inputs))]
        low, high, score = (t.cpu().numpy() for t in (found.low, found.high, found.score))
        if any(before):  # otherwise keep float32 scores unchanged
            score = score + before[:, None]
        ends = accumulate(map(len, decoder_inputs), initial=0)
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
