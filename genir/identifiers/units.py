"""Units of long documents: windows of words, or sections by Markdown heading.

An encoder reads the first few hundred tokens of a text. A document of several units has an
identifier, a vector and a word set for each, and its best unit ranks it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import ceil
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from genir.config import StrictModel
from genir.corpus.tokens import Span, word_spans
from genir.types import Document

MIN_SECTION_SHARE = 0.25
"""A section with fewer words than this share of `unit_words` is joined with the next one."""
GROWTH = 1.25
"""Factor by which windows grow until a document has at most `max_units`."""
MAX_LOOK_BACK = 1 << 18
"""Maximum number of characters before a unit in which its heading is searched."""

_MARK = re.compile(
    r"^ {0,3}(?:(`{3,}(?=[^`\n]*$)|~{3,})|(#{1,6})(?=[ \t\n]|\Z))(.*)$", re.MULTILINE
)


class UnitOptions(StrictModel):
    """Division of long documents into units with a row each."""

    units: Literal["none", "windows", "sections"] = Field(
        default="none",
        description="units of a long document: windows of words, or sections by Markdown heading",
    )
    unit_words: int = Field(default=150, ge=16, description="maximum number of words of a unit")
    unit_overlap: int = Field(
        default=0, ge=0, description="words that consecutive windows have in common"
    )
    max_units: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="units of a document; in a longer one they have more than `unit_words` words",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unit_overlap > self.unit_words // 2:
            raise ValueError(
                f"unit_overlap = {self.unit_overlap} is more than half of unit_words = "
                f"{self.unit_words}; lower it"
            )
        return self


class Heading(NamedTuple):
    """A heading of a Markdown text, and the offset of its line."""

    start: int
    title: str


def has_units(options: Any) -> bool:
    """Return whether the options of a scheme divide documents into units."""
    return isinstance(options, UnitOptions) and options.units != "none"


def unit_options(options: Any) -> dict[str, Any]:
    """Return the keys of units in the options of a scheme that differ from `units = "none"`."""
    return options.model_dump() if has_units(options) else {"units": "none"}


def units_text(options: Any) -> str:
    """Describe the units of a scheme's options: `none`, or `windows, at most 8 of 150 words`."""
    if not has_units(options):
        return "none"
    overlap = f", {options.unit_overlap} in common" if options.unit_overlap else ""
    return f"{options.units}, at most {options.max_units} of {options.unit_words} words{overlap}"


def unit_documents(documents: Sequence[Document], options: Any) -> Sequence[Document]:
    """Return the units of documents as documents with their title and key, in order.

    options: options of a scheme. Without units, the documents themselves.
    """
    if not has_units(options):
        return documents
    return [
        Document(document.key, document.text[start:end], document.title, vector=document.vector)
        for document in documents
        for start, end in unit_spans(document.text, options)
    ]


def unit_spans(text: str, options: UnitOptions) -> list[Span]:
    """Return the spans of characters of a text's units, in order; at least one."""
    words = word_spans(text)
    if not words:
        return [(0, 0)]
    counts = [len(words)]
    if options.units == "sections":
        begins = [start for start, _ in words]
        starts = [bisect_left(begins, heading.start) for heading in headings(text)]
        bounds = sorted({0, *starts, len(words)})
        counts = _joined([end - start for start, end in pairwise(bounds)], options)
    return [
        (words[start][0], words[end - 1][1])
        for start, end in _windows(counts, options)
        if start < end
    ]


def _joined(counts: Sequence[int], options: UnitOptions) -> list[int]:
    """Join short sections with the next ones, until there are at most `max_units`.

    counts: number of words of each section.
    """
    least = max(1, round(MIN_SECTION_SHARE * options.unit_words))
    while True:
        joined = [0]
        for count in counts:
            if joined[-1] >= least:
                joined.append(0)
            joined[-1] += count
        if len(joined) <= options.max_units:
            return joined
        least *= 2


def _windows(counts: Sequence[int], options: UnitOptions) -> Iterator[Span]:
    """Yield the first and last word (exclusive) of the windows of each section."""
    size, overlap = float(options.unit_words), options.unit_overlap

    def windows(count: int) -> int:
        return max(1, ceil((count - overlap) / (size - overlap)))

    while sum(map(windows, counts)) > options.max_units:
        size *= GROWTH
    for start, count in zip(accumulate(counts, initial=0), counts, strict=False):
        number = windows(count)
        length = ceil((count + (number - 1) * overlap) / number)
        for place in range(number):
            first = place * (count - length) // max(number - 1, 1)
            yield start + first, start + first + length


def headings(text: str, start: int = 0, end: int | None = None) -> Iterator[Heading]:
    """Yield the ATX headings (`## Title`) of a Markdown text that are not in fenced code."""
    fence = ""
    for mark in _MARK.finditer(text, start, len(text) if end is None else end):
        ticks, hashes, rest = mark.groups()
        if hashes and not fence:
            title = rest.strip()
            closed = title.rstrip("#")
            if not closed or closed[-1] in " \t":
                title = closed.rstrip()
            yield Heading(mark.start(), title)
        elif ticks and not fence:
            fence = ticks
        elif ticks and ticks.startswith(fence) and not rest.strip():
            fence = ""


def heading_of(text: str, unit: Span) -> str:
    """Return the heading of the section in which a unit starts, else the first one in it, or ""."""
    start, end = unit
    title = ""
    for heading in headings(text, max(0, start - MAX_LOOK_BACK), end):
        if heading.start > start and title:
            break
        title = heading.title
        if heading.start >= start:
            break
    return title


def spans_of(documents: Iterable[Document], options: Any) -> list[list[Span]] | None:
    """Return the spans of the units of each document; None without units."""
    if not has_units(options):
        return None
    return [unit_spans(document.text, options) for document in documents]
