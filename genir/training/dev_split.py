"""Dev split of the train queries. Test queries are never used."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from genir.corpus.query_digests import normalise_query
from genir.corpus.tokens import join_words, words
from genir.tasks.base import TrainQueries
from genir.types import Document
from genir.vector_query import VectorQuery

MIN_DEV_QUERIES = 10
"""Minimum number of train queries to hold one out."""


class DevSplit(NamedTuple):
    """Train queries and dev queries.

    Attributes:
        train: Queries by document key.
        questions: Keys of the answering documents by dev query.
        is_synthetic: Whether the dev queries are spans of documents, for lack of train queries.
    """

    train: TrainQueries
    questions: Mapping[str, frozenset[str]]
    is_synthetic: bool


def make_dev_split(
    corpus: Sequence[Document], queries: TrainQueries, count: int, seed: int
) -> DevSplit:
    """Hold out `count` random train queries, at most a tenth of them.

    Queries that are equal up to case and white space are held out together: the first in code point
    order is the dev query, and the answers of all are merged.

    With fewer than ten train queries, spans of documents serve as dev queries: these show whether
    training works, not the quality on real queries.
    """
    answers: dict[str, set[str]] = {}
    spellings: dict[str, str] = {}
    for key, texts in queries.items():
        for text in texts:
            form = _form(text)
            answers.setdefault(form, set()).add(key)
            spellings[form] = min(text, spellings.get(form, text))
    rng = Random(f"dev {seed}")
    if len(answers) < MIN_DEV_QUERIES:
        return DevSplit(queries, _spans(corpus, count, rng), is_synthetic=True)
    drawn = rng.sample(sorted(spellings.values()), min(count, len(answers) // 10))
    questions = {text: frozenset(answers[_form(text)]) for text in drawn}
    held_out = frozenset(map(_form, drawn))
    train = {key: [t for t in texts if _form(t) not in held_out] for key, texts in queries.items()}
    kept = {key: texts for key, texts in train.items() if texts}
    return DevSplit(kept, questions, is_synthetic=False)


def given_vectors_note(split: DevSplit) -> str:
    """Describe the training of a model whose vectors are given, and queries without one."""
    queries = [text for texts in split.train.values() for text in texts]
    rows = "A row is the mean of the vectors of its document and of its train queries"
    if not queries:
        rows = "A row is the vector of its document"
    elif not any(isinstance(text, VectorQuery) for text in queries):
        rows = (
            "The train queries have no vectors and are not used: a row is the vector of its "
            "document (--query-vectors FILE)"
        )
    dev = [isinstance(text, VectorQuery) for text in split.questions]
    words = "" if all(dev) else ". Dev queries have no vectors: dev figures are by words alone"
    return f"the vectors are given and no network makes them: no training steps. {rows}{words}"


def _form(text: str) -> str:
    """Return the normal form of a query; queries with different vectors differ."""
    form = normalise_query(text)
    return text.with_text(form) if isinstance(text, VectorQuery) else form


def _spans(corpus: Sequence[Document], count: int, rng: Random) -> dict[str, frozenset[str]]:
    places = rng.sample(range(len(corpus)), min(count, len(corpus)))
    spans: dict[str, frozenset[str]] = {}
    for place in sorted(places):
        document = corpus[place]
        found = words(f"{document.title} {document.text}")
        start = rng.randrange(max(1, len(found) - 7))
        span = join_words(found[start : start + 8])
        spans[span] = spans.get(span, frozenset()) | {document.key}
    return spans
