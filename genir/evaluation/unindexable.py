"""Detection of baselines that cannot tokenize a corpus or its queries."""

from collections.abc import Sequence

from genir.baselines.base import passage
from genir.corpus.analyzer import Analyzer
from genir.plurals import counted
from genir.types import Document

LEXICAL = ("bm25", "rrf", "convex")
"""Baselines that match words; the fusions include BM25."""


def drop_unindexable(
    names: Sequence[str], corpus: Sequence[Document], queries: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the usable baselines, and notes on unusable or partly unusable ones.

    A lexical baseline is left out if no document or no query has a term, for example only emoji. If
    only some queries have none, a note gives their number.
    """
    lexical = [name for name in names if name in LEXICAL]
    if not lexical:
        return list(names), []
    named = " and ".join(lexical)
    analyzer = Analyzer.of(map(passage, corpus))
    blank = sum(not terms for terms in analyzer.terms(queries))
    if blank == len(queries):
        reason = (
            f"none of the {counted(len(queries), 'query', 'queries')} has a word that BM25 reads"
        )
    elif not any(any(analyzer.terms([passage(document)])) for document in corpus):
        reason = "no document has a word that BM25 reads"
    else:
        asked = counted(len(queries), "query", "queries")
        note = f"BM25 reads no word in {blank:,} of {asked} ({named})."
        return list(names), [note] if blank else []
    return [name for name in names if name not in LEXICAL], [f"Left out: {named}; {reason}."]
