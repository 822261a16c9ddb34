"""Queries from a collection itself: whole sentences cut out of its documents.

A measure for collections without judgements, and an honest one only if it says where its queries
come from: from the author of the document, not from a person who searches.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from genir.errors import InputError
from genir.records import Document, Qrel, Query

Span = tuple[int, int]

SENTENCES = 3
"""Sentences that a document of the split `test` has at least before one is cut."""
SHORTEST, LONGEST = 5, 30
"""Words of a query."""
LEANING = frozenset(
    {"also", "and", "as", "both", "but", "he", "here", "however", "it", "its", "note", "or",
     "otherwise", "see", "she", "so", "such", "that", "their", "then", "there",
     "therefore", "these", "they", "this", "those", "thus"}
)  # fmt: skip
"""First words of sentences that say little without the sentence before."""

_PARAGRAPH = re.compile(r"(?:^[^\s>*\-#|.:=~+].*(?:\n|\Z))+", re.MULTILINE)
_SENTENCE = re.compile(
    r"""(?:(?<=[.!?]\s)|(?<=[.!?]\s\s)|\A)["'`(]?[A-Z].*?[.!?](?=\s|\Z)""", re.DOTALL
)
_CODE = re.compile(r"->|>>>|::|\w\(\w*,|[{}\[\]=<>|\\]|\b\w+__|e\.g\.$|i\.e\.$|etc\.$")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[.,;:!?)\"'`]*")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A collection with sentences cut out, and these as queries of the splits train and test."""

    documents: list[Document]
    queries: list[Query]
    qrels: dict[str, list[Qrel]]


def sentences(text: str) -> list[Span]:
    """Return the spans [start, end) of the sentences in a text's prose, in order.

    Prose: paragraphs at the margin, without bullets, examples and tables.
    """
    return [
        (paragraph.start() + sentence.start(), paragraph.start() + sentence.end())
        for paragraph in _PARAGRAPH.finditer(text)
        for sentence in _SENTENCE.finditer(paragraph[0].rstrip())
    ]


def held_out(documents: Iterable[Document], share: float, seed: int) -> HeldOut:
    """Cut whole sentences out of documents, and make each a query for its document.

    Each document loses up to half of its sentences, to `train`; but a `share` of those with at
    least three give one of theirs to `test`. A query has 5 to 30 words, is never a text's first
    sentence, does not lean on the one before, and stands in no text any more. The same seed makes
    the same cut. Cut documents lose their links, whose spans no longer hold.
    Raises InputError for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise InputError(f"share = {share}: write a number above 0 and below 1, such as 0.2")
    result = HeldOut(list(documents), [], {"train": [], "test": []})
    rng = random.Random(seed)
    found = [sentences(document.text) for document in result.documents]
    chosen = _choose(result.documents, found, rng)
    long = [number for number in chosen if len(found[number]) >= SENTENCES]
    test = set(rng.sample(long, round(share * len(long))))
    for number, spans in chosen.items():
        splits = ["test" if number in test else "train", *["train"] * (len(spans) - 1)]
        _cut(result, number, sorted(zip(spans, splits, strict=True)))
    return result


def _choose(
    documents: list[Document], found: list[list[Span]], rng: random.Random
) -> dict[int, list[Span]]:
    """Return the spans that may be cut, in random order, by the number of their document."""
    everything = "\n".join(_flat(f"{document.title}\n{document.text}") for document in documents)
    chosen = {}
    for number, (document, spans) in enumerate(zip(documents, found, strict=True)):
        good = [span for span in spans[1:] if _asks(document.text[slice(*span)], everything)]
        rng.shuffle(good)
        if good:
            chosen[number] = good[: len(spans) // 2]
    return chosen


def _asks(sentence: str, everything: str) -> bool:
    """Tell whether a sentence is prose, understood alone, and stands once in the collection."""
    words = sentence.split()
    if not SHORTEST <= len(words) <= LONGEST or _CODE.search(sentence):
        return False
    if words[0].strip(",:").lower() in LEANING:
        return False
    if sum(_WORD.fullmatch(word) is not None for word in words) < 0.8 * len(words):
        return False
    flat = _flat(sentence)
    return everything.find(flat, everything.find(flat) + 1) < 0


def _flat(text: str) -> str:
    return " ".join(text.split())


def _cut(result: HeldOut, number: int, spans: list[tuple[Span, str]]) -> None:
    """Move spans, in their order in the text, from a document to the split named beside each."""
    document = result.documents[number]
    for (start, end), split in spans:
        text = _flat(document.text[start:end])
        query = Query(f"s{sha256(text.encode()).hexdigest()[:12]}", text)
        result.queries.append(query)
        result.qrels[split].append(Qrel(query.key, document.key))
    rest = _without(document.text, [span for span, _ in spans])
    result.documents[number] = replace(document, text=rest, links=())


def _without(text: str, spans: list[Span]) -> str:
    """Return a text without the spans, and without the white space that they leave behind."""
    for start, end in reversed(spans):
        before, after = text[:start], text[end:]
        rest = after.lstrip()
        ends_paragraph = not rest or "\n\n" in after[: len(after) - len(rest)]
        text = before.rstrip() + after if ends_paragraph else before + rest
    return text
