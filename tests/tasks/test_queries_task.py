"""Train queries, one document an example or all of them, worked out by hand."""

from web import joined, page, pairs

CORPUS = [page("tar", "archives"), page("sed", "edits"), page("zip", "packs")]
QUERIES = {
    "zip": ["pack files"],
    "sed": ["swap words", " edit a  stream", "pack files"],
    "tar": ["pack  files", " "],
}


def test_every_query_leads_to_each_of_its_documents():
    assert pairs(CORPUS, queries=QUERIES, task="queries") == [
        ("pack files", "tar"),
        ("swap words", "sed"),
        ("edit a stream", "sed"),
        ("pack files", "sed"),
        ("pack files", "zip"),
    ]


def test_joined_a_query_leads_to_all_its_documents_in_corpus_order():
    assert joined(CORPUS, queries=QUERIES, task="queries", join=True) == [
        ("pack files", ("tar", "sed", "zip")),
        ("swap words", ("sed",)),
        ("edit a stream", ("sed",)),
    ]


def test_without_queries_there_is_nothing_to_join():
    assert joined(CORPUS, task="queries", join=True) == []
