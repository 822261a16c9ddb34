"""Changes of documents over HTTP, which every later query sees."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import httpx2
import pytest
from asgi import ask
from living import keys, record, serving
from starlette.exceptions import HTTPException

from genir.integrations.http import RemoteSearcher
from genir.serving.routes.documents import _below


@pytest.fixture
def client(model_folder, tmp_path):
    with serving(shutil.copytree(model_folder, tmp_path / "model")) as client:
        yield client


def added(client, *records, **body):
    return client.post("/v1/documents", json={"documents": list(records), **body})


def test_an_added_document_is_found_by_the_next_query(client):
    before = keys(client)
    response = client.post("/v1/documents", json={"document": record("a")})
    assert (response.status_code, response.json()) == (201, {"keys": ["a"], "version": 1})
    assert set(keys(client)) == {*before, "a"}
    answer = client.post("/v1/search", json={"query": "hide", "k": 41}).json()
    assert answer["version"] == 1 and "a" in [hit["key"] for hit in answer["hits"]]
    assert client.get("/v1/documents/a").json() == record("a")
    assert client.get("/v1/model").json()["documents"] == 41


def test_a_deleted_document_is_never_found_again(client):
    assert "copy-file" in keys(client)
    response = client.delete("/v1/documents/copy-file")
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert "copy-file" not in keys(client) and len(keys(client)) == 39
    assert client.get("/v1/documents/copy-file").status_code == 404
    assert client.delete("/v1/documents/copy-file").status_code == 404


def test_a_replaced_document_has_its_new_text(client):
    response = added(client, record("copy-file", "erase every wire", verb="fly"), replace=True)
    assert response.status_code == 200
    assert keys(client, where={"verb": "fly"}) == ["copy-file"]
    assert client.get("/v1/documents/copy-file").json()["text"] == "erase every wire"


def test_versions_rollback_and_compaction(client):
    added(client, record("a"))
    client.delete("/v1/documents/copy-file")
    table = client.get("/v1/versions").json()
    assert [line["kind"] for line in table["versions"]] == ["trained", "add", "delete"]
    assert client.post("/v1/rollback", json={"version": 1}).json()["version"] == 3
    assert {"a", "copy-file"} <= set(keys(client))
    client.delete("/v1/documents/copy-disk")
    assert client.post("/v1/compact").json()["version"] == 4
    assert {"a", "copy-file"} <= set(keys(client)) and "copy-disk" not in keys(client)
    assert client.post("/v1/rollback", json={"version": 1}).status_code == 422
    assert added(client, record("b")).json()["version"] == 5
    assert "b" in keys(client)


def test_the_tree_of_beams_leads_to_the_hits(client):
    hits = client.post("/v1/search", json={"query": "pack a drive", "k": 3}).json()["hits"]
    tree = client.get("/v1/explain", params={"query": "pack a drive", "k": 3}).json()
    assert [hit["key"] for hit in tree["hits"]] == [hit["key"] for hit in hits]
    for rank, hit in enumerate(tree["hits"], start=1):
        path = [node for node in tree["nodes"] if rank in node["hits"]]
        assert path[-1]["key"] == hit["key"] and path[-1]["kept"]


def test_a_record_is_taken_or_refused_as_in_training(client):
    response = client.post("/v1/documents", json={"document": record("a", metadata="a string")})
    assert response.status_code == 201
    assert client.get("/v1/documents/a").json()["metadata"] == "a string"
    addresses = record("b", links=["https://x.org/1"])
    assert client.post("/v1/documents", json={"document": addresses}).status_code == 201
    assert client.get("/v1/documents/b").json() == addresses


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"document": {"_id": "a", "text": "x", "text": "y"}}', "'text' is given twice"),
        (b'{"document": {"_id": "a", "text": "x", "n": 1e999}}', "inf cannot be stored"),
        (b'{"document": {"_id": "a", "text": "x", "n": "\\ud800"}}', "unpaired surrogate"),
        (b'{"document": {"_id": "a", "text": "x", "\\ud800": 1}}', "unpaired surrogate"),
        (b'{"document": {"_id": "a", "text": "x", "url": "\\ud800"}}', "unpaired surrogate"),
        (b'{"document": {"_id": 7, "text": "x"}}', "_id 7 is not a string"),
        (b'{"document": {"_id": "a", "text": "x", "metadata": {"text": "y"}}}', "keep one"),
    ],
)
def test_records_that_no_file_may_hold_are_refused(client, body, message):
    response = client.post(
        "/v1/documents", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert message in response.json()["detail"]


ODD_KEYS = ["a/b", "/a", "a//b", "a/../b", "a/..", "./a", "...", "%2F", "a%2e", "%", "?q=1", "#x",
            "a b", " a ", "é", "+", "a\\b", ";", "&", "x" * 1_024, "\U0001f600" * 1_024,
            "a/" * 512, "é ?#&" * 200, "v1/documents/a", "\U0001f600",
            "<b>", "'\""]  # fmt: skip


def test_documents_of_odd_keys_are_read_and_deleted_by_their_address(client):
    records = [record(key) for key in ODD_KEYS]
    assert added(client, *records).status_code == 201

    def answer(request):  # with the raw path, which Starlette's client decodes twice
        status, _, reply = ask(client.app, "GET", request.url.raw_path)
        return httpx2.Response(status, json=reply)

    http = httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://x")
    found = RemoteSearcher("", http=http).fetch(ODD_KEYS)
    assert [document.key for document in found.values()] == ODD_KEYS
    for key, one in zip(ODD_KEYS, records, strict=True):
        address = f"/v1/documents/{quote(key, safe='')}".encode()
        assert ask(client.app, "GET", address)[2] == one
        assert ask(client.app, "DELETE", address)[2]["keys"] == [key]
        assert ask(client.app, "GET", address)[0] == 404


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (".", "_id '.' cannot be a part of an address"),
        ("..", "_id '..' cannot be a part of an address"),
        ("x" * 1_025, "_id: got 1025 characters; at most 1024"),
        ("", "is empty"), (" ", "is empty"), ("a\nb", "holds a NUL, tab or line end"),
    ],
)  # fmt: skip
def test_keys_without_an_address_are_refused(client, key, message):
    answer = added(client, record("fine"), record(key))
    assert answer.status_code == 422 and message in answer.json()["detail"]
    assert client.get("/v1/documents/fine").status_code == 404


def test_the_folder_of_models_is_named(tmp_path, monkeypatch):
    """Also where the server was started in it: `genir serve model`."""
    monkeypatch.chdir(tmp_path)
    service = SimpleNamespace(
        settings=SimpleNamespace(models=None), served=SimpleNamespace(folder=Path("model"))
    )
    with pytest.raises(HTTPException) as error:
        _below("/etc", service)
    assert error.value.detail == f"folder: no model folder '/etc' below {tmp_path.name!r}"
