"""Queries made from a collection itself: whole sentences cut out of its documents.

For collections without judgements. The queries are in the words of the document's author, not of
a searcher, so any report of figures on them must name their origin.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from genir.corpus.tokens import (
    Span,
    ends_sentence,
    is_alphabetic,
    sentence_spans,
    without_punctuation,
    words,
)
from genir.errors import InputError
from genir.types import Document, Qrel, Query

MIN_SENTENCES = 3
"""Minimum number of sentences of a document before the split `test` takes one."""
MIN_WORDS, MAX_WORDS = 5, 30
"""Minimum and maximum number of words of a query."""
MAX_CHARACTERS = 1000
"""Maximum number of characters of a query; bounds the search for repeated sentences."""
MIN_START_CHARS = 16
"""Number of leading characters that a sentence is searched by, before a full comparison."""
CONTEXT_WORDS = frozenset(
    {"also", "and", "as", "both", "but", "he", "here", "however", "it", "its", "note", "or",
     "otherwise", "see", "she", "so", "such", "that", "their", "then", "there",
     "therefore", "these", "they", "this", "those", "thus"}
)  # fmt: skip
"""First words of sentences that depend on the previous sentence."""

_PARAGRAPH = re.compile(r"(?:^[^\s>*\-#|.:=~+].*(?:\n|\Z))+", re.MULTILINE)
_SENTENCE = re.compile(
    r"""(?:(?<=[.!?]\s)|(?<=[.!?]\s\s)|\A)["'`(]?[A-Z].*?[.!?](?=\s|\Z)""", re.DOTALL
)
_CODE = re.compile(r"->|>>>|::|\w\(\w*,|[{}\[\]=<>|\\]|\b\w+__|e\.g\.$|i\.e\.$|etc\.$")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[.,;:!?)\"'`]*")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class SentenceQueries:
    """A collection with sentences cut out, which are the queries of the splits train and test."""

    documents: list[Document]
    queries: list[Query]
    qrels: dict[str, list[Qrel]]


def sentences(text: str) -> list[Span]:
    """Return the spans [start, end) of the sentences in a text's prose, in order.

    Prose is unindented paragraphs, except bullets, examples and tables.
    """
    return [
        (paragraph.start() + start, paragraph.start() + end)
        for paragraph in _PARAGRAPH.finditer(text)
        for start, end in _sentences(paragraph[0].rstrip())
    ]


def _sentences(paragraph: str) -> list[Span]:
    """Return the spans of sentences; in Latin script they must start with a capital."""
    if _is_latin(paragraph):
        return [sentence.span() for sentence in _SENTENCE.finditer(paragraph)]
    *spans, last = sentence_spans(paragraph)
    return [*spans, last] if ends_sentence(paragraph[slice(*last)]) else spans


def _is_latin(text: str) -> bool:
    letter = _LETTER.search(text)
    return letter is None or letter[0] < "\u0370" or "\u1e00" <= letter[0] < "\u1f00"


def make_sentence_queries(
    documents: Iterable[Document], share: float, seed: int
) -> SentenceQueries:
    """Cut whole sentences out of documents, and make each of them a query for its document.

    Up to half of the sentences of each document become `train` queries. A `share` of the documents
    with at least three sentences each give one sentence to `test`. A query has 5 to 30 words, is
    not the first sentence of a text, does not depend on the previous sentence, and occurs in no
    text after the cut. The same seed gives the same cut. Links of cut documents are dropped,
    because their spans become invalid.

    Raises:
        InputError: `share` is outside (0, 1).
    """
    if not 0 < share < 1:
        raise InputError(f"share = {share}: write a number above 0 and below 1, for example 0.2")
    result = SentenceQueries(list(documents), [], {"train": [], "test": []})
    rng = random.Random(seed)
    found = [sentences(document.text) for document in result.documents]
    chosen = _choose(result.documents, found, rng)
    long = [number for number in chosen if len(found[number]) >= MIN_SENTENCES]
    test = set(rng.sample(long, round(share * len(long))))
    for number, spans in chosen.items():
        splits = ["test" if number in test else "train", *["train"] * (len(spans) - 1)]
        _remove_spans(result, number, sorted(zip(spans, splits, strict=True)))
    return result


def _choose(
    documents: list[Document], found: list[list[Span]], rng: random.Random
) -> dict[int, list[Span]]:
    """Return document number -> spans that may be cut, in random order."""
    everything = "\n".join(
        collapse_whitespace(f"{document.title}\n{document.text}") for document in documents
    )
    asking = [
        {span: collapse_whitespace(document.text[slice(*span)]) for span in spans[1:]
         if is_query_like(document.text[slice(*span)])}
        for document, spans in zip(documents, found, strict=True)
    ]  # fmt: skip
    once = unique_sentences({text for own in asking for text in own.values()}, everything)
    chosen = {}
    for number, (own, spans) in enumerate(zip(asking, found, strict=True)):
        good = [span for span, text in own.items() if text in once]
        rng.shuffle(good)
        if good:
            chosen[number] = good[: len(spans) // 2]
    return chosen


def is_query_like(sentence: str) -> bool:
    """Return whether a sentence is prose that can be understood alone."""
    found = words(sentence)
    if not MIN_WORDS <= len(found) <= MAX_WORDS or len(sentence) > MAX_CHARACTERS:
        return False
    if _CODE.search(sentence) or found[0].strip(",:").lower() in CONTEXT_WORDS:
        return False
    if _is_latin(sentence):
        prose = [word for word in found if _WORD.fullmatch(word)]
    else:
        prose = [word for word in found if is_alphabetic(without_punctuation(word))]
    return len(prose) >= 0.8 * len(found)


def unique_sentences(wanted: set[str], everything: str) -> set[str]:
    """Return the texts that occur exactly once in `everything`.

    Reads it once: at each character, the texts with the same next few characters are compared.
    """
    starts: dict[int, dict[str, set[int]]] = {}
    for text in wanted:
        start = text[:MIN_START_CHARS]
        starts.setdefault(len(start), {}).setdefault(start, set()).add(len(text))
    counts: Counter[str] = Counter()
    for place in range(len(everything)):
        for size, lengths in starts.items():
            for length in lengths.get(everything[place : place + size], ()):
                text = everything[place : place + length]
                if text in wanted:
                    counts[text] += 1
    return {text for text in wanted if counts[text] == 1}


def collapse_whitespace(text: str) -> str:
    """Replace each run of white space by one space."""
    return " ".join(text.split())


def _remove_spans(result: SentenceQueries, number: int, spans: list[tuple[Span, str]]) -> None:
    """Move the spans of a document, in text order, to the split that is paired with each."""
    document = result.documents[number]
    for (start, end), split in spans:
        text = collapse_whitespace(document.text[start:end])
        query = Query(f"s{sha256(text.encode()).hexdigest()[:12]}", text)
        result.queries.append(query)
        result.qrels[split].append(Qrel(query.key, document.key))
    rest = _without(document.text, [span for span, _ in spans])
    result.documents[number] = replace(document, text=rest, links=())


def _without(text: str, spans: list[Span]) -> str:
    kept: list[str] = []  # parts after the gap, last first
    gap, breaks = _joining_space(text[spans[-1][1] :], kept)
    befores = [0, *(end for _, end in spans[:-1])]
    for before, (start, _) in zip(reversed(befores), reversed(spans), strict=True):
        part = text[before:start]
        if breaks or not kept:  # the span ended a paragraph
            part = part.rstrip()
            if not part:
                continue  # keep the gap
            kept.append(gap)
        gap, breaks = _joining_space(part, kept)
    return gap + "".join(reversed(kept))


def _joining_space(part: str, kept: list[str]) -> tuple[str, bool]:
    """Append a part without its leading white space; return the white space, and whether it ends a
    paragraph.
    """
    rest = part.lstrip()
    if rest:
        kept.append(rest)
    gap = part[: len(part) - len(rest)]
    return gap, "\n\n" in gap
