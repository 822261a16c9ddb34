import pytest

from genir.config import IdentifierSection
from genir.identifiers.ngram import windows
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import IdentifierTable
from genir.identifiers.text import whole_text
from genir.types import Document

GUIDE = Document("guide", "the path  of anna\nof the path", title="anna")
TWIN = Document("twin", "the path of anna")
BARE = Document("bare", " \n")


def build(tokenizer, **options):
    section = IdentifierSection.model_validate({"scheme": "ngram", **options})
    return build_scheme(section, tokenizer).fit([GUIDE])


def test_windows_begin_at_every_token_and_the_last_are_ended():
    assert windows([5, 6, 7, 8], 3, 0) == [(5, 6, 7), (6, 7, 8), (7, 8, 0), (8, 0)]
    assert windows([5, 6], 3, 0) == [(5, 6, 0), (6, 0)]
    assert windows([5, 6, 5], 1, 0) == [(5,), (6,)]


def test_title_and_text_are_read_as_one():
    assert whole_text(GUIDE) == "anna. the path of anna of the path"
    assert whole_text(BARE) == "bare"


def test_every_substring_is_a_prefix_of_a_row_of_its_documents(tokenizer):
    scheme = build(tokenizer, n=3)
    documents = [GUIDE, TWIN, BARE]
    table = IdentifierTable.build(scheme.encode(documents), [d.key for d in documents])
    expected = {}
    for document in documents:
        tokens = tokenizer.encode(whole_text(document), add_special_tokens=False)
        for start in range(len(tokens)):
            for size in range(1, min(3, len(tokens) - start) + 1):
                ngram = tuple(tokens[start : start + size])
                expected.setdefault(ngram, set()).add(document.key)
    found = {}
    for row in range(len(table)):
        body = [symbol for symbol in table.identifier(row) if symbol != scheme.end]
        for size in range(1, len(body) + 1):
            found.setdefault(tuple(body[:size]), set()).add(table.key_of(row))
    assert found == expected
    shared = tuple(tokenizer.encode("the path of"))
    low = table.row_of(shared)
    assert [table.key_of(low), table.key_of(low + 1)] == ["guide", "twin"]


def test_rows_are_no_more_than_tokens(tokenizer):
    tokens = tokenizer.encode(whole_text(GUIDE), add_special_tokens=False)
    assert len(build(tokenizer, n=9).encode([GUIDE])[0]) == len(tokens)
    assert len(build(tokenizer, n=9, tokens=4).encode([GUIDE])[0]) == 4


def test_a_window_that_comes_twice_is_one_identifier(tokenizer):
    twice = Document("twice", "the path the path the path")
    (rows,) = build(tokenizer, n=2).encode([twice])
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in rows] == [
        "the path",
        "path the",
        "path",
    ]


@pytest.mark.parametrize(("last", "shown"), [(False, "the path"), (True, "path (end)")])
def test_the_end_of_a_document_is_shown(tokenizer, last, shown):
    scheme = build(tokenizer, n=2)
    (rows,) = scheme.encode([Document("short", "the path")])
    assert scheme.to_text(rows[last]) == shown
