"""Facts for the model card: metadata fields and example queries."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genir.corpus.tokens import split_sentences
from genir.serving.protocols import SearchModel
from genir.serving.schemas import FieldCard, FieldValue
from genir.types import Document

MAX_FIELDS = 24
"""Maximum number of metadata fields on the card."""
MAX_VALUES_PER_FIELD = 12
"""Maximum number of values of a field on the card, most frequent first."""
MAX_COUNTED_VALUES = 200_000
"""Maximum number of values of a field that are counted."""
MAX_VALUE_CHARS = 80
"""Maximum length of a value on the card, in characters."""
MAX_FIELD_NAMES = 1_000
"""Maximum number of metadata fields that are examined to find `MAX_FIELDS` with a value to show."""
CHUNK = 1_000
"""Number of documents read at a time."""
KINDS: tuple[Literal["boolean", "number", "text"], ...] = ("boolean", "number", "text")
TYPES = {str: "text", int: "number", float: "number", bool: "boolean"}


def field_cards(served: SearchModel, numbers: NDArray[np.int64]) -> list[FieldCard]:
    """Return the metadata fields of all live documents with their most frequent values.

    Reads the store's index of fields, up to `MAX_FIELD_NAMES` fields and `MAX_COUNTED_VALUES`
    values of each.

    Args:
        served: The model.
        numbers: Numbers of the live documents, int64 [n].
    """
    documents = served.documents
    among = np.zeros(len(served.table.keys), dtype=bool)
    among[numbers] = True
    names = documents.metadata_fields() if hasattr(documents, "fetch") else []
    cards = (_field_card(documents, name, among) for name in names[:MAX_FIELD_NAMES])
    return list(islice(filter(None, cards), MAX_FIELDS))


def field_cards_within(served: SearchModel, numbers: NDArray[np.int64]) -> list[FieldCard]:
    """Return the metadata fields of the documents in a scope with their most frequent values.

    Reads only these documents, up to `MAX_COUNTED_VALUES` values, so that types, counts and
    omissions do not depend on documents outside the scope.

    Args:
        served: The model.
        numbers: Numbers of the documents, int64 [n].
    """
    counts: dict[str, Counter[tuple[str, Any]]] = {}
    left = MAX_COUNTED_VALUES
    for start in range(0, len(numbers), CHUNK):
        chunk = numbers[start : start + CHUNK].tolist()
        found = served.documents.metadata_of(chunk)
        for name, values in (item for number in chunk for item in _typed(found[number])):
            counts.setdefault(name, Counter()).update(values)
            left -= len(values)
        if left <= 0:
            break
    cards = (_card_of(name, counts[name]) for name in sorted(counts))
    return list(islice(filter(None, cards), MAX_FIELDS))


def _typed(metadata: Mapping[str, Any]) -> Iterator[tuple[str, set[tuple[str, Any]]]]:
    """Yield each field with its distinct filterable values as (type, value) pairs."""
    for name, value in metadata.items():
        listed = value if isinstance(value, list) else [value]
        values = {(TYPES[type(one)], one) for one in listed if type(one) in TYPES}
        if values:
            yield name, values


def _card_of(name: str, counts: Counter[tuple[str, Any]]) -> FieldCard | None:
    short = [(value, n) for (_, value), n in counts.items() if len(str(value)) <= MAX_VALUE_CHARS]
    if not short:
        return None
    return FieldCard(
        name=name,
        values=[FieldValue(value=value, documents=n) for value, n in _most_common(short)],
        types=[kind for kind in KINDS if any(kind == one for one, _ in counts)],
        distinct=len(counts),
    )


def _most_common(counts: Iterable[tuple[Any, int]]) -> list[tuple[Any, int]]:
    return sorted(counts, key=lambda item: (-item[1], str(item[0])))[:MAX_VALUES_PER_FIELD]


def _field_card(documents: Any, name: str, among: NDArray[np.bool_]) -> FieldCard | None:
    """Return the card of a field; None if no document has a value to show."""
    # True == 1 in Python: count booleans separately.
    counts = Counter(
        (isinstance(value, bool), value)
        for value, number in documents.field_values(name, MAX_COUNTED_VALUES)
        if number < len(among) and among[number]
    )
    short = [(value, n) for (_, value), n in counts.items() if len(str(value)) <= MAX_VALUE_CHARS]
    if not short:
        return None
    types = sorted(documents.field_types(name))
    values = [FieldValue(value=value, documents=n) for value, n in _most_common(short)]
    return FieldCard(name=name, values=values, types=types, distinct=len(counts))


def sample_examples(
    documents: Sequence[Document], numbers: Sequence[int], count: int = 4
) -> list[str]:
    """Return the first sentences or titles of evenly spaced documents, as example queries."""
    step = max(1, len(numbers) // (count * 8))  # most first sentences are too long
    openings = [_opening(documents[number]) for number in numbers[step // 2 :: step]]
    fit = list(dict.fromkeys(filter(None, openings)))
    return fit[:: max(1, len(fit) // count)][:count]


def _opening(document: Document, longest: int = 48) -> str:
    """Return the first sentence if it is short, else the title if it is short, else ""."""
    line = document.text.lstrip().partition("\n")[0].partition(". ")[0]
    sentence = next(split_sentences(line)).rstrip(".\u3002")
    for text in (sentence, document.title):
        if 8 <= len(text) <= longest:
            return text
    return ""
