import json
import math
from dataclasses import asdict
from io import StringIO

import pytest
from rich.console import Console
from tiny import QUERIES, SCHEMES, set_index, tiny_retriever

from genir.errors import InputError
from genir.evaluation.explain import explain, percent, to_table
from genir.identifiers.table import IdentifierTable


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param)


@pytest.fixture
def residual(tiny_encoder, tiny_corpus, tmp_path):
    return tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "documents.sqlite", "residual")


def test_with_a_beam_for_all_everything_is_found_where_search_ranks_it(retriever):
    rows = len(retriever.table)
    (hits,) = retriever.search(QUERIES[:1], 40, beams=rows)
    for hit in hits:
        found = explain(retriever, QUERIES[0], hit.key, rows)
        assert (found.verdict, found.rank) == ("found", hit.rank)
        assert found.identifier == hit.identifier
        assert found.levels[-1].score == pytest.approx(hit.score, abs=1e-4)
        assert sum(level.log_p for level in found.levels) == pytest.approx(hit.score, abs=1e-4)
        assert found.levels[-1].place == hit.rank or retriever.recipe.identifiers.scheme != "atomic"
        for level in found.levels:
            assert level.kept and level.threshold is None
            assert 1 <= level.rank <= level.choices
            assert 1 <= level.place <= level.candidates


@pytest.mark.parametrize("query", QUERIES)
def test_a_narrow_beam_keeps_as_many_as_it_has_room_for(retriever, query):
    explained = [explain(retriever, query, key) for key in retriever.table.keys]
    found = [one for one in explained if one.verdict == "found"]
    assert sorted(one.rank for one in found) == [1, 2, 3, 4]
    (best,) = retriever.search([query], 1)[0]
    assert next(one for one in found if one.rank == 1).key == best.key
    for one in explained:
        if one.verdict == "found":
            assert all(level.kept and level.place <= 4 for level in one.levels)
            continue
        *before, last = one.levels[: one.pruned_at]
        assert all(level.kept for level in before) and not last.kept
        assert last.score <= last.threshold
        assert last.place > 4 or last.score == last.threshold  # a tie at the edge
        assert not any(level.kept for level in one.levels[one.pruned_at :])
        assert f"pruned at level {one.pruned_at}" in one.text


def test_legal_symbols_of_a_level_have_ranks_of_their_own(residual):
    """At the first level, documents with one code agree, and every rank is taken."""
    explained = [explain(residual, "erase", key) for key in residual.table.keys]
    firsts = {one.levels[0].symbol: one.levels[0] for one in explained}
    assert sorted(level.rank for level in firsts.values()) == list(range(1, len(firsts) + 1))
    assert {level.choices for level in firsts.values()} == {len(firsts)}
    by_rank = sorted(firsts.values(), key=lambda level: level.rank)
    scores = [level.log_p for level in by_rank]
    assert scores == sorted(scores, reverse=True)
    assert all(one.levels[0] == firsts[one.levels[0].symbol] for one in explained)


def test_an_unreachable_document_has_a_reason(residual):
    key = "copy-file"
    assert explain(residual, "clone", key, where={"verb": "move"}).verdict == "filtered"
    live = residual.table.live.copy()
    residual.table.live[residual.table.rows_of(residual.table.number(key))] = False
    deleted = explain(residual, "clone", key)
    residual.table.live[:] = live
    assert (deleted.verdict, deleted.levels) == ("deleted", ())
    with pytest.raises(InputError, match="the query is empty; give some text"):
        explain(residual, " \u200b", "copy-file")
    with pytest.raises(InputError, match="no document with key 'nothing'"):
        explain(residual, "clone", "nothing")


def test_of_several_identifiers_the_one_that_came_furthest_is_shown(residual):
    """The last document takes over the others' identifiers, beside its own."""
    table = residual.table
    codes = [table.identifiers_of(number)[0] for number in range(len(table.keys))]
    key = table.keys[-1]
    shared = IdentifierTable.build([[own] for own in codes[:-1]] + [codes], table.keys)
    residual = residual.with_recipe(residual.recipe)
    set_index(residual, table=shared)
    (best,) = residual.search(["clone a text"], 1, beams=len(residual.table))[0]
    found = explain(residual, "clone a text", key, 1)
    assert found.verdict == "found" and all(level.kept for level in found.levels)
    assert explain(residual, "clone a text", key, 99).identifier == best.identifier


def test_an_explanation_can_be_shown_and_written(retriever):
    console = Console(file=StringIO(), width=120)
    for key in retriever.table.keys:
        one = explain(retriever, QUERIES[1], key)
        assert json.loads(json.dumps(asdict(one), allow_nan=False))["key"] == key
        console.print(to_table(one))
        assert all(math.isfinite(level.log_p) for level in one.levels)
    text = console.file.getvalue()
    assert "threshold" in text and "kept" in text and "pruned" in text


def test_shares_are_over_reachable_documents(residual):
    everything, keys = len(residual.table), residual.table.keys
    shares = residual.shares("erase", keys)
    for key, share in zip(keys, shares, strict=True):
        found = explain(residual, "erase", key, everything)
        assert found.share == pytest.approx(share, rel=1e-3)
        assert found.share == pytest.approx(math.prod(one.share for one in found.levels))
        assert f"; {percent(share)} of the probability" in found.text
    alone = explain(residual, "erase", "copy-file", everything, {"url": "absent"})
    assert alone.share is None and "probability" not in alone.text
    url = residual.documents.find("copy-file").url
    alone = explain(residual, "erase", "copy-file", everything, {"url": url})
    assert [level.share for level in alone.levels] == [1.0] * len(alone.levels)
    assert alone.text.endswith("; 100% of the probability of all reachable documents")
    assert alone.levels[0].log_p < -1  # the level's softmax has other symbols


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((1, "100%"), (0.126, "13%"), (0.0994, "9.9%"), (0.001, "0.1%"), (0.0004, "< 0.1%")),
        *((0.9999999, "100%"), (0.9999, "> 99.9%"), (0.9995, "> 99.9%"), (0.9994, "99.9%")),
        *((0.9951, "99.5%"), (0.951, "95.1%"), (0.944, "94%")),
    ],
)
def test_percentages_have_two_digits_that_count(share, text):
    assert percent(share) == text
