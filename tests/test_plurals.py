import pytest

from genir.plurals import counted


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((0, "document"), "0 documents"),
        ((1, "document"), "1 document"),
        ((2_000, "document"), "2,000 documents"),
        ((1, "query", "queries"), "1 query"),
        ((2, "query is", "queries are"), "2 queries are"),
    ],
)
def test_a_count_has_its_noun_in_singular_or_plural(given, text):
    assert counted(*given) == text
