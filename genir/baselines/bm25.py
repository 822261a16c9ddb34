"""BM25 by bm25s: k1 0.9, b 0.4, with stemmer and stop words for English (Lucene's variant)."""

from collections.abc import Iterator, Sequence
from typing import Any, Self, cast

import Stemmer

from genir.baselines.base import Exhaustive, Scores, corpus_of, passage
from genir.errors import InputError
from genir.memory import hidden
from genir.records import Document

with hidden("jax"):
    import bm25s

ENGLISH = "english"


class Bm25(Exhaustive):
    """The lexical baseline. A document without any word of the query is no hit."""

    floor = 0.0

    def __init__(
        self, corpus: Sequence[Document], keys: Sequence[str], index: Any, language: str
    ) -> None:
        super().__init__(corpus, keys)
        self._index = index
        self._language = language

    @classmethod
    def fit(cls, corpus: Sequence[Document], language: str = ENGLISH) -> Self:
        """Index titles and texts; any language but English is neither stemmed nor stopped.

        Raises InputError when no document has a word to index.
        """
        corpus = corpus_of(corpus)
        documents = [(document.key, passage(document)) for document in corpus]
        tokens = _tokens([text for _, text in documents], language)
        if not any(tokens):
            raise InputError("no document has a word that BM25 could index; give them text")
        index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
        index.index(tokens, show_progress=False)
        return cls(corpus, [key for key, _ in documents], index, language)

    @property
    def bytes_per_document(self) -> float:
        """Return the size of the postings and the vocabulary, divided by the documents."""
        postings = sum(self._index.scores[name].nbytes for name in ("data", "indices", "indptr"))
        words = sum(len(word.encode()) for word in self._index.vocab_dict)
        return float(postings + words) / len(self._keys)

    def scores(self, queries: Sequence[str]) -> Iterator[Scores]:
        """Yield each query's BM25 scores; a word that stands twice in the query counts twice."""
        for tokens in _tokens(queries, self._language):
            yield self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))


def _tokens(texts: Sequence[str], language: str) -> list[list[str]]:
    english = language == ENGLISH
    tokens = bm25s.tokenize(
        list(texts),
        stopwords=ENGLISH if english else [],
        stemmer=Stemmer.Stemmer(ENGLISH) if english else None,
        return_ids=False,
        show_progress=False,
    )
    return cast(list[list[str]], tokens)
