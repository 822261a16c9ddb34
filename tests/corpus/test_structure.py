"""Structure of documents as records."""

import pytest

from genir.corpus.serialization import document_of, record_of
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.types import Document, Section, Structure

STRUCTURE = Structure(("Guide",), (Section(0, 1, "A"), Section(4, 2, "B", "b")), ((2, 3), (3, 7)))
DOCUMENT = Document("a", "one two", "A", structure=STRUCTURE)


def test_a_structure_survives_records_and_the_store(tmp_path):
    assert document_of(record_of(DOCUMENT), "x") == DOCUMENT
    with_none = Document("b", "text")
    assert "structure" not in record_of(with_none)
    store = DocumentStore.create(tmp_path / "store.sqlite", [DOCUMENT, with_none])
    assert list(store) == [DOCUMENT, with_none]
    assert store.previews(["a"])["a"].structure == STRUCTURE
    store.close()


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ([], "it: 0"),
        ({"parts": []}, "parts: "),
        ({"sections": [{"start": 7, "level": 1, "title": "x"}]}, "the character 7 is not in"),
        ({"sections": [{"start": 0, "level": 0, "title": "x"}]}, "sections.0.level: 0"),
        ({"sections": [{"start": n, "level": 1, "title": "x"} for n in (1, 0)]},
         "the character 0 is not in the text behind 1"),
        ({"code": [[3, 3]]}, r"\[3, 3\] is no code block"),
        ({"code": [[0, 8]]}, "the character 8 is not in"),
        ({"navigation": ["\ud800"]}, ""),
    ],
)  # fmt: skip
def test_malformed_structures_are_refused(structure, message):
    shape = f"(?s)x: document 'a': structure: {message}.*; write {{navigation"
    with pytest.raises(InputError, match=shape):
        document_of({"_id": "a", "text": "one two", "structure": structure}, "x")
