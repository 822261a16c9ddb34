"""Shares of hits, and comparable times of both systems."""

import shutil
from time import sleep

import pytest
from living import keys, serving

from genir.baselines.bm25 import Bm25
from genir.decoding import filters
from genir.serving.app import create_app

QUERY = "hide the volume of a host"


@pytest.fixture
def client(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("residual"), tmp_path / "model")
    with serving(folder) as client:
        yield client


def asked(client, **body):
    answer = client.post("/v1/search", json={"query": QUERY} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_requested_shares_follow_filters_and_deletions(client):
    assert asked(client)["shares"] is None
    reply = asked(client, k=100, shares=True)
    assert len(reply["shares"]) == len(reply["hits"]) == 40
    assert sum(reply["shares"]) == pytest.approx(1, abs=1e-3)
    few = asked(client, k=100, shares=True, where={"verb": "copy"})
    assert len(few["shares"]) == 5 and sum(few["shares"]) == pytest.approx(1, abs=1e-3)
    left = few["hits"][0]["key"]
    for hit in few["hits"][1:]:
        assert client.delete(f"/v1/documents/{hit['key']}").status_code == 200
    alone = asked(client, shares=True, where={"verb": "copy"})
    assert [hit["key"] for hit in alone["hits"]] == [left]
    assert alone["shares"] == pytest.approx([1])
    assert alone["hits"][0]["score"] < -1  # not the logarithm of a share


def test_confidence_comes_with_shares(client):
    assert asked(client)["confidence"] is None
    text = client.get("/v1/documents/copy-file").json()["text"]
    sure = asked(client, query=text, shares=True, allow=["copy-file"])["confidence"]
    unsure = asked(client, query="weather of Paris", shares=True, allow=["copy-file"])["confidence"]
    assert 0 < unsure < sure < 1
    assert asked(client, system="bm25")["confidence"] is None
    nothing = asked(client, shares=True, allow=[])
    assert nothing["hits"] == [] and nothing["confidence"] is None


def test_shares_of_several_queries_stand_with_their_hits(client):
    body = {"queries": [QUERY, "copy a disk"], "k": 3, "shares": True}
    results = client.post("/v1/search", json=body).json()["results"]
    for query, result in zip(body["queries"], results, strict=True):
        assert result["shares"] == asked(client, query=query, k=3, shares=True)["shares"]
        assert len(result["shares"]) == 3


def test_a_kept_answer_has_its_shares_too(client):
    first = asked(client, shares=True)
    assert asked(client, shares=True)["shares"] == first["shares"]
    assert asked(client, shares=True, k=2)["shares"] == pytest.approx(first["shares"][:2])


def test_a_fresh_answer_is_not_one_that_was_kept(searcher):
    from fastapi.testclient import TestClient

    calls, match = [], searcher.match
    searcher.match = lambda *given: calls.append(given) or match(*given)
    client = TestClient(create_app(searcher))
    for fresh in (False, False, True, True, False):
        asked(client, fresh=fresh)
    assert len(calls) == 3


def test_queries_that_share_a_selection_share_its_mask(client, monkeypatch):
    """Masks are computed in the model's thread, which answers no other query meanwhile."""
    calls, real = [], filters.selected_rows

    def counted(*given):
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(filters, "selected_rows", counted)
    for where in ({"allow": ["copy-file", "move-disk"]}, {"where": {"verb": "copy"}}, {}):
        calls.clear()
        body = {"queries": [f"{QUERY} {n}" for n in range(40)], "system": "bm25", **where}
        results = client.post("/v1/search", json=body | {"fresh": True}).json()["results"]
        assert (len(results) == 40 and all(one["hits"] for one in results)) or "allow" in where
        assert len(calls) <= 2


def test_making_bm25_s_index_is_no_part_of_its_time(client, monkeypatch):
    fit = Bm25.fit

    def slow(*given, **named):
        sleep(0.5)
        return fit(*given, **named)

    monkeypatch.setattr(Bm25, "fit", slow)
    first, second = asked(client, system="bm25"), asked(client, system="bm25")
    assert first["index_ms"] >= 500 and second["index_ms"] == 0
    assert 0 < first["took_ms"] < 400 and 0 < second["took_ms"] < 400
    assert first["hits"] == second["hits"] and first["shares"] is None
    assert asked(client)["index_ms"] is None
    assert client.delete(f"/v1/documents/{keys(client)[0]}").status_code == 200
    assert asked(client, system="bm25")["index_ms"] >= 500  # of other documents


@pytest.mark.parametrize("name", ["shares", "fresh"])
def test_a_value_that_is_not_boolean_is_refused(client, name):
    assert client.post("/v1/search", json={"query": "a", name: "yes"}).status_code == 422
