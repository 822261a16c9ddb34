"""`POST /v1/facets`: totals under filters, and the values of fields among the best hits."""

import shutil

import pytest
from living import serving

from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

QUERY = "clone a text"


@pytest.fixture
def client(model_folder):
    with serving(model_folder) as client:
        yield client


def facets(client, headers=None, **body):
    response = client.post("/v1/facets", json={"query": QUERY} | body, headers=headers)
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["total"], {
        field["name"]: {one["value"]: one["documents"] for one in field["values"]}
        for field in answer["fields"]
    }


def hits(client, k, **body):
    body = {"query": QUERY, "k": k} | body
    found = client.post("/v1/search", json=body).json()["hits"]
    return [client.get(f"/v1/documents/{hit['key']}").json() for hit in found]


def counted(documents, field):
    return {one[field]: sum(d[field] == one[field] for d in documents) for one in documents}


def test_values_are_counted_among_the_best_hits(client):
    total, fields = facets(client, hits=7)
    best = hits(client, 7)
    assert total == 40
    assert fields["verb"] == counted(best, "verb")
    assert fields["section"] == counted(best, "section")
    assert sum(fields["verb"].values()) == 7


def test_a_filtered_field_is_counted_without_its_own_condition(client):
    where = {"verb": ["watch", "copy"]}
    total, fields = facets(client, hits=8, where=where)
    assert total == 10
    assert fields["verb"] == counted(hits(client, 8), "verb")
    assert fields["section"] == counted(hits(client, 8, where=where), "section")


def test_other_conditions_hold_for_a_filtered_field(client):
    where = {"verb": "watch", "section": {"lte": 1}}
    total, fields = facets(client, where=where)
    assert total == 2
    assert fields["verb"] == counted(hits(client, 100, where={"section": {"lte": 1}}), "verb")
    assert fields["section"] == counted(hits(client, 100, where={"verb": "watch"}), "section")


def test_a_scoped_token_counts_its_documents_only(model_folder, tmp_path):
    folder, file = shutil.copytree(model_folder, tmp_path / "model"), tmp_path / "tokens.json"
    secret = new_token(file, TokenSpec("tenant", "read", {"verb": "copy"}))
    with serving(folder, Settings(tokens=file), loopback=False) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        total, fields = facets(client, headers)
        assert total == 5 and fields["verb"] == {"copy": 5}
        assert client.post("/v1/facets", json={"query": QUERY}).status_code == 401


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"where": {"verbs": "copy"}}, "verb"),
        ({"hits": 0}, "hits"),
        ({"hits": 100_000}, "at most 1000"),
        ({"queries": ["a"]}, "unknown field 'queries'"),
        ({"where": {"verb": {"gtt": 1}}}, "gtt"),
    ],
)
def test_invalid_requests_are_refused(client, body, detail):
    response = client.post("/v1/facets", json={"query": QUERY} | body)
    assert response.status_code == 422 and detail in response.json()["detail"]


def test_counts_follow_the_documents(model_folder, tmp_path):
    with serving(shutil.copytree(model_folder, tmp_path / "model")) as client:
        before, fields = facets(client)
        assert client.delete("/v1/documents/watch-disk").status_code == 200
        after, later = facets(client)
        assert after == before - 1 and later["verb"]["watch"] == fields["verb"]["watch"] - 1
