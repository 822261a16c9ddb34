"""Hits of ranked documents: titles, URLs and texts from the document store."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from genir.arguments import is_blank
from genir.cancellation import raise_if_cancelled
from genir.config import RerankSection
from genir.corpus.lazy_hits import LazyHits
from genir.corpus.store import PREVIEW_CHARACTERS, Preview
from genir.corpus.tokens import Span
from genir.decoding.aggregate import Ranked
from genir.identifiers.units import section_path
from genir.models.reranker import Reranker
from genir.types import Hit, HitList, Unit
from genir.updates.loaded_model import LoadedModel


def make_answers(
    loaded: LoadedModel,
    queries: Sequence[str],
    ranked: Sequence[Sequence[Ranked]],
    closed: bool = False,
) -> list[LazyHits]:
    """Return the hits of a batch of queries, read in one statement.

    Args:
        loaded: The model that ranked the documents.
        queries: B queries.
        ranked: Documents of each query, best first.
        closed: Leave out identifiers, which depend on other documents.
    """
    table, scheme = loaded.table, loaded.scheme
    numbers = dict.fromkeys(item.document for own in ranked for item in own)
    keys = [table.keys[number] for number in numbers]
    has_units = table.spans is not None
    shown = loaded.index.documents.previews(keys, strict=True, whole=has_units)
    answers = []
    for query, own in zip(queries, ranked, strict=True):
        raise_if_cancelled()
        hits, texts = list[Hit](), list[str]()
        for rank, item in enumerate(own, start=1):
            preview = shown[table.keys[item.document]]
            span = table.unit(item.row)
            text = preview.text if span is None else preview.text[slice(*span)]
            texts.append(text[:PREVIEW_CHARACTERS])
            hit = Hit(
                key=table.keys[item.document],
                score=item.score,
                rank=rank,
                identifier="" if closed else scheme.to_text(table.identifier(item.row)),
                title=preview.title,
            )
            hits.append(_placed(hit, preview, span))
        found = HitList(hits, getattr(own, "proven", None))
        answers.append(LazyHits(query, found, texts))
    return answers


def _placed(hit: Hit, preview: Preview, span: Span | None) -> Hit:
    """Return a hit with its unit, the URL of its section, and the breadcrumb.

    The breadcrumb names the page once: a heading of level 1 with its title is left out.
    """
    path = [] if span is None else section_path(preview.text, span, preview.structure.sections)
    anchor = path[-1].anchor if path else ""
    names = [one.title for one in path if one.level > 1 or one.title != preview.title]
    url = f"{preview.url}#{anchor}" if anchor and preview.url else preview.url
    return replace(
        hit,
        url=url,
        unit=None if span is None else Unit(*span, path[-1].title if path else ""),
        anchor=anchor,
        breadcrumb=tuple(filter(None, (*preview.structure.navigation, preview.title, *names))),
    )


def rerank_answers(
    reranker: Reranker, section: RerankSection, answers: Sequence[LazyHits], ks: Sequence[int]
) -> list[LazyHits]:
    """Return the first k hits of each answer after re-ranking its first `top_n` hits.

    The other hits keep their order and the differences of their scores, below the re-ranked ones.
    Answers to a vector without a text are not re-ranked.
    """
    counts = [
        0 if is_blank(answer.query) else min(section.top_n, len(answer.texts)) for answer in answers
    ]
    pairs = [
        (answer.query, ". ".join(filter(None, (hit.title, text))))
        for answer, count in zip(answers, counts, strict=True)
        for hit, text in zip(
            answer.hits_without_snippets[:count], answer.texts[:count], strict=True
        )
    ]
    scores = iter(reranker.score(pairs, section.batch_size))
    return [
        _reordered(answer, [*islice(scores, count)], k) if count else _cut(answer, k)
        for answer, count, k in zip(answers, counts, ks, strict=True)
    ]


def _cut(answer: LazyHits, k: int) -> LazyHits:
    hits = HitList(answer.hits_without_snippets[:k], answer.proven)
    return LazyHits(answer.query, hits, answer.texts[:k])


def _reordered(answer: LazyHits, scores: list[float], k: int) -> LazyHits:
    """Return k hits of an answer with new scores of its first hits; ties are ordered by key."""
    hits, count = answer.hits_without_snippets, len(scores)
    last, lowest = hits[count - 1].score, min(scores)
    scores = scores + [lowest + (hit.score - last) for hit in hits[count:]]
    first = sorted(range(count), key=lambda n: (-scores[n], hits[n].key))
    order = [*first, *range(count, len(hits))][:k]
    ranked = [replace(hits[n], score=scores[n], rank=rank) for rank, n in enumerate(order, 1)]
    texts = [answer.texts[n] for n in order]
    return LazyHits(answer.query, HitList(ranked, answer.proven), texts)
