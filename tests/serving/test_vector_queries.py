"""Searches by vector and additions with vectors over HTTP."""

import numpy as np
import pytest
from living import serving

from genir import train, write_vectors
from genir.integrations.http import RemoteSearcher
from genir.serving.jobs import SearchJob
from genir.vector_query import VectorQuery

KEYS = ["north", "east", "south"]
VECTORS = [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_vectors(folder / "d.safetensors", KEYS, VECTORS)
    documents = [{"_id": key, "text": f"The way to the {key}."} for key in KEYS]
    train(documents, out=folder / "m", settings=["training.precision=fp32"],
          vectors=folder / "d.safetensors")  # fmt: skip
    with serving(folder / "m") as client:
        yield client


def first(client, **body):
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()["hits"][0]["key"]


def test_each_vector_has_its_own_answer(client):
    for _ in range(2):  # the second time from the cache
        for key, vector in zip(KEYS, VECTORS, strict=True):
            assert first(client, vector=vector) == key
            assert first(client, vector=vector, query="way") == key
        assert first(client, query="south") == "south"


def test_a_vector_is_part_of_the_name_of_a_search():
    texts = ["way", VectorQuery("way", np.float32([1, 0])), VectorQuery("way", np.float32([0, 1]))]
    assert len({SearchJob(text).name for text in texts}) == 3


def test_shares_and_confidence_of_a_vector(client):
    body = client.post("/v1/search", json={"vector": [1, 0.2], "shares": True}).json()
    assert sum(body["shares"]) == pytest.approx(1, abs=1e-3) and body["confidence"] is not None
    body = client.post("/v1/search", json={"query": "way", "shares": True}).json()
    assert body["confidence"] is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"vector": [0, 0]}, "the vector of 'query 0' is zero"),
        ({"vector": []}, "at least 1 item"),
        ({"vector": [1] * 9_000}, "got 9000 numbers"),
        ({"vector": ["1", 0]}, "valid number"),
        ({"vector": [1e300, 0]}, "not finite"),
        ({"vector": [1, 0, 0]}, "a query's has 3 numbers, the model's 2"),
        ({"vector": [1, 0], "queries": ["way"]}, "give either"),
        ({"vector": [1, 0], "system": "bm25"}, "bm25 reads words only"),
        ({}, "give either"),
    ],
)
def test_wrong_vectors_are_refused(client, body, message):
    response = client.post("/v1/search", json=body)
    assert response.status_code == 422 and message in response.text


def test_documents_are_added_with_vectors(client):
    document = {"_id": "west", "text": "The way to the west."}
    response = client.post("/v1/documents", json={"document": document})
    assert response.status_code == 422 and "no vector" in response.text
    body = {"document": document, "vectors": {"west": [-1, 0]}}
    assert client.post("/v1/documents", json=body).status_code == 201
    assert first(client, vector=[-1, 0.1]) == "west"
    body = {"document": document, "vectors": {"other": [-1, 0]}, "replace": True}
    assert "'other' is not the key" in client.post("/v1/documents", json=body).text


def test_the_client_sends_vectors(client):
    sent = RemoteSearcher.__new__(RemoteSearcher)
    bodies = []
    sent._json = lambda method, path, json: bodies.append(json) or {"hits": []}
    sent.search(None, vectors=[[3, 4], [1, 0]], k=2)
    sent.search("way", vectors=[1, 0])
    assert bodies[0] == {"vector": pytest.approx([0.6, 0.8]), "k": 2}
    assert bodies[2] == {"query": "way", "vector": [1.0, 0.0], "k": 10}
