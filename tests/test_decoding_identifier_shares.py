import shutil

import pytest
from tiny import GATHERED, QUERIES, SCHEMES, set_index, tiny_retriever

from genir.errors import InputError
from genir.evaluation.beam_tree import beam_tree
from genir.identifiers.table import IdentifierTable
from genir.retriever import Retriever
from genir.types import Selection


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("shares") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param)


WHERE = (None, {"verb": "copy"}, Selection(deny="copy-file"), Selection(allow=("copy-disk",)))


@pytest.mark.parametrize("where", WHERE)
def test_shares_of_all_that_may_be_found_add_up_to_one(retriever, where):
    keys = retriever.table.keys
    shares = retriever.shares(QUERIES[0], keys, where)
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    hits = {hit.key for hit in retriever.search(QUERIES[0], 40, where)[0]}
    assert {key for key, share in zip(keys, shares, strict=True) if share} == hits


def test_the_only_document_left_has_all(retriever):
    only = Selection(allow="watch-disk")
    assert retriever.shares(QUERIES[1], "watch-disk", only) == pytest.approx([1])
    tree = beam_tree(retriever, QUERIES[1], 5, where=only)
    assert [node.share for node in tree.nodes if node.hits] == pytest.approx(
        [1.0] * len(tree.nodes)
    )


def test_the_tree_has_the_same_shares(retriever):
    tree = beam_tree(retriever, QUERIES[0], 5)
    shares = retriever.shares(QUERIES[0], [hit.key for hit in tree.hits])
    for rank, share in enumerate(shares, start=1):
        product = 1.0
        for node in tree.nodes:
            product *= node.share if rank in node.hits else 1.0
        assert product == pytest.approx(share, rel=1e-3)


def test_deleted_documents_leave_their_shares_to_the_others(tiny_folder, tmp_path):
    model = Retriever.load(shutil.copytree(tiny_folder("residual"), tmp_path / "model"))
    keys = list(model.table.keys)
    model.delete(keys[:-1])
    (hit,) = model.search(QUERIES[0], 5)[0]
    assert hit.key == keys[-1]
    assert model.shares(QUERIES[0], keys) == pytest.approx([0] * 39 + [1])


def test_an_identifier_of_several_documents_is_divided(tiny_encoder, tiny_corpus, tmp_path):
    model = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "d.sqlite", "residual")
    table = model.table
    codes = [table.identifiers_of(number) for number in range(len(table.keys))]
    codes[table.number("copy-disk")] = codes[table.number("copy-file")]
    table = IdentifierTable.build(codes, table.keys)
    set_index(model, table=table)
    one, other = model.shares("clone", ["copy-file", "copy-disk"])
    assert one == other > 0
    assert sum(model.shares("clone", table.keys)) == pytest.approx(1, abs=1e-3)


def test_scores_that_are_no_probabilities_have_no_shares(tiny_encoder, tiny_corpus, tmp_path):
    model = tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "n.sqlite", "ngram", strategy=GATHERED["ngram"]
    )
    assert model.shares("clone", ["copy-file"]) is None


def test_missing_documents_are_refused(retriever):
    assert retriever.shares("clone", []) == []
    with pytest.raises(InputError, match="absent"):
        retriever.shares("clone", ["absent"])
    with pytest.raises(InputError, match="query: got"):
        retriever.shares(["clone"], ["copy-file"])
