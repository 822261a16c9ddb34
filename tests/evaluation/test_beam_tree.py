import pytest
import torch
from tiny import tiny_retriever

from genir.decoding.row_mask import RowMask
from genir.errors import InputError
from genir.evaluation.beam_tree import beam_tree
from genir.types import Selection


@pytest.fixture(scope="module")
def residual(tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("tree") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, "residual")


@pytest.mark.parametrize(("k", "beams"), [(3, None), (3, 2), (10, 4), (40, 40)])
def test_the_tree_holds_the_beams_and_the_paths_of_the_hits(residual, k, beams):
    tree = beam_tree(residual, "pack a drive", k, beams)
    assert tree.hits == residual.search(["pack a drive"], k, beams=beams)[0]
    nodes = {node.id: node for node in tree.nodes}
    for rank in range(1, len(tree.hits) + 1):
        path = [node for node in tree.nodes if rank in node.hits]
        assert [node.level for node in path] == [*range(1, len(path) + 1)]
        assert [node.parent for node in path] == [None, *(node.id for node in path[:-1])]
        assert path[-1].key == tree.hits[rank - 1].key and path[-1].ended
        total = sum(node.log_p for node in path)
        assert total == pytest.approx(tree.hits[rank - 1].score, abs=1e-3)
        assert path[-1].score == pytest.approx(total, abs=1e-3)
    assert all(node.parent is None or nodes[node.parent].kept for node in tree.nodes)


def test_reported_levels_equal_the_search(residual):
    tree = beam_tree(residual, "pack a drive", 3, 4)
    live = RowMask.build([residual.table.live])
    decoder = residual.decoder
    with decoder.stage.autocast():
        steps = list(decoder.strategy.trace(decoder.stage, ["pack a drive"], live, 4))
    for level, step in zip(tree.levels, steps, strict=False):
        assert level.candidates == int((step.totals > -torch.inf).sum())
        own = [node for node in tree.nodes if node.level == level.level]
        going = {node.rows for node in own if node.kept and not node.ended}
        kept = zip(*(t[0].tolist() for t in vars(step.beams).values()), strict=True)
        assert going == {(low, high) for low, high, score in kept if score > -torch.inf}
        if level.threshold is not None:
            assert level.threshold == min(node.score for node in own if node.kept)


def test_nothing_of_filtered_documents_is_shown(residual):
    seen = {f"copy-{thing}" for thing in ("file", "folder", "disk", "network", "process")}
    tree = beam_tree(residual, "erase", 50, where=Selection(({"verb": "copy"},)))
    assert {hit.key for hit in tree.hits} == seen
    assert {node.key for node in tree.nodes} - {None} == seen
    assert max(node.documents for node in tree.nodes) <= 5


def test_bad_arguments_are_refused(residual):
    with pytest.raises(InputError, match="k = 0"):
        beam_tree(residual, "a", 0)
    with pytest.raises(InputError, match="unknown metadata field"):
        beam_tree(residual, "a", where={"vreb": 1})
    assert beam_tree(residual, "a", where=Selection(({"vreb": 1},))).hits == []
