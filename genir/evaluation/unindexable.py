"""Detection of baselines that cannot tokenize a corpus or its queries."""

from collections.abc import Iterable, Sequence

from genir.baselines.base import passage
from genir.baselines.bm25 import Bm25
from genir.types import Document

LEXICAL = ("bm25", "rrf")
"""Baselines that match words; `rrf` includes BM25."""


def drop_unindexable(
    names: Sequence[str], corpus: Iterable[Document], queries: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the usable baselines, and notes on unusable or partly unusable ones.

    A lexical baseline is left out if no document or no query has a term, for example only emoji. If
    only some queries have none, a note gives their number.
    """
    lexical = [name for name in names if name in LEXICAL]
    if not lexical:
        return list(names), []
    named = " and ".join(lexical)
    blank = sum(not Bm25.supports(query) for query in queries)
    if blank == len(queries):
        reason = f"none of the {len(queries):,} queries has a word that BM25 reads"
    elif not any(Bm25.supports(passage(document)) for document in corpus):
        reason = "no document has a word that BM25 reads"
    else:
        note = f"BM25 reads no word in {blank:,} of {len(queries):,} queries ({named})."
        return list(names), [note] if blank else []
    return [name for name in names if name not in LEXICAL], [f"Left out: {named}; {reason}."]
