from collections import Counter
from itertools import combinations

import limit
import pytest

from genir.corpus.analyzer import Analyzer
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("limit") / "out"
    limit.main(out, documents=12, answers=5, seed=1)
    return out


def test_each_pair_of_answers_has_one_query(made):
    documents = {document.key: document for document in read_corpus(made)}
    queries = read_queries(made)
    qrels = read_qrels(made / "qrels" / "test.tsv", queries, set(documents))
    pairs = {}
    for qrel in qrels:
        pairs.setdefault(qrel.query, set()).add(qrel.document)
    answers = set().union(*pairs.values())
    assert len(documents) == 12 and len(answers) == 5 and len(pairs) == len(queries) == 10
    expected = {frozenset(pair) for pair in combinations(answers, 2)}
    assert {frozenset(pair) for pair in pairs.values()} == expected


def test_a_query_is_answered_by_the_documents_with_its_word(made):
    texts = {document.key: document.text for document in read_corpus(made)}
    terms = {
        key: set(own) for key, own in zip(texts, Analyzer().terms(texts.values()), strict=True)
    }
    queries = read_queries(made)
    for key, query in queries.items():
        word = query.text.removeprefix("Who likes ").removesuffix("?")
        ((stem,),) = Analyzer().terms([word])
        holders = {document for document, own in terms.items() if stem in own}
        judged = {q.document for q in read_qrels(made / "qrels" / "test.tsv") if q.query == key}
        assert holders == judged and len(judged) == 2


def test_all_documents_have_as_many_attributes(made):
    counts = Counter(document.text.count(",") + 2 for document in read_corpus(made))
    assert counts == {limit.ATTRIBUTES: 12}


def test_the_seed_decides(made, tmp_path):
    limit.main(tmp_path / "same", documents=12, answers=5, seed=1)
    limit.main(tmp_path / "other", documents=12, answers=5, seed=2)
    assert list(read_corpus(tmp_path / "same")) == list(read_corpus(made))
    assert list(read_corpus(tmp_path / "other")) != list(read_corpus(made))


def test_fewer_documents_than_answers_are_refused(tmp_path):
    with pytest.raises(InputError, match="--documents 5: must be at least --answers, 6"):
        limit.main(tmp_path / "out", documents=5, answers=6)
