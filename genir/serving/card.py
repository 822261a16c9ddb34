"""What is served, as far as who asks may know it."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.tokens import split_sentences
from genir.decoding.filters import selected_rows
from genir.records import Document, Selection
from genir.serving.messages import FieldCard, FieldValue
from genir.serving.served import Served

FIELDS = 24
"""Metadata fields that are told of."""
VALUES = 12
"""Values of each, the commonest."""
LOOKED_AT = 200_000
"""Values of one field that are counted, at most."""
LONGEST = 80
"""Characters of a value that is told of."""


def seen(served: Served, scope: Selection | None) -> NDArray[np.int64]:
    """Return the numbers of the documents that may be found, in order."""
    table = served.table
    rows = table.live if scope is None else selected_rows(table, served.documents, scope)
    return np.unique(table.documents[rows]).astype(np.int64)


def field_cards(served: Served, numbers: NDArray[np.int64]) -> list[FieldCard]:
    """Return the metadata fields of some documents, with their commonest values."""
    among = np.zeros(len(served.table.keys), dtype=bool)
    among[numbers] = True
    names = served.documents.metadata_fields() if hasattr(served.documents, "fetch") else []
    cards = (_field_card(served.documents, name, among) for name in names)
    return list(islice(filter(None, cards), FIELDS))


def _field_card(documents: Any, name: str, among: NDArray[np.bool_]) -> FieldCard | None:
    """Return the card of a field, or None where none of the documents has a value to show."""
    # In Python, true equals 1: a boolean is counted apart.
    counts = Counter(
        (isinstance(value, bool), value)
        for value, number in documents.field_values(name, LOOKED_AT)
        if among[number]
    )
    short = [(value, n) for (_, value), n in counts.items() if len(str(value)) <= LONGEST]
    if not short:
        return None
    commonest = sorted(short, key=lambda item: (-item[1], str(item[0])))[:VALUES]
    types = sorted(documents.field_types(name))
    values = [FieldValue(value=value, documents=n) for value, n in commonest]
    return FieldCard(name=name, values=values, types=types, distinct=len(counts))


def sample_examples(
    documents: Sequence[Document], numbers: Sequence[int], count: int = 4
) -> list[str]:
    """Return short openings of documents spread evenly over some, as queries to try."""
    step = max(1, len(numbers) // (count * 8))  # most documents open with something too long
    openings = [_opening(documents[number]) for number in numbers[step // 2 :: step]]
    fit = list(dict.fromkeys(filter(None, openings)))
    return fit[:: max(1, len(fit) // count)][:count]


def _opening(document: Document, longest: int = 48) -> str:
    """Return the first sentence if it is short, else the title if that is, else nothing."""
    line = document.text.lstrip().partition("\n")[0].partition(". ")[0]
    sentence = next(split_sentences(line)).rstrip(".\u3002")
    for text in (sentence, document.title):
        if 8 <= len(text) <= longest:
            return text
    return ""
