"""A tiny real model behind the server, for tests that change documents."""

from contextlib import contextmanager

from fastapi.testclient import TestClient

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings

SECRETS = {"reader": "read-me", "writer": "write-me"}


@contextmanager
def serving(folder, settings=None, loopback=True):
    """Serve a model folder in this process; yield a client."""
    retriever = Retriever.load(folder, "cpu")
    app = create_app(retriever, settings=settings or Settings(), loopback=loopback)
    with TestClient(app) as client:
        yield client


def record(key, text="hide the volume of a host", **fields):
    """Return a document's record."""
    url = f"https://docs.example.org/new/{key}"
    return {"_id": key, "title": f"{key} title", "text": text, "url": url} | fields


def keys(client, query="hide the volume", k=100, headers=None, **body):
    """Return the keys that a search finds."""
    response = client.post("/v1/search", json={"query": query, "k": k, **body}, headers=headers)
    assert response.status_code == 200, response.text
    return [hit["key"] for hit in response.json()["hits"]]
