"""Write access of scoped tokens, and no leaks of other documents in responses."""

import shutil

import pytest
from living import keys, record, serving

from genir.corpus.serialization import document_of
from genir.errors import FolderError
from genir.retriever import Retriever
from genir.serving.settings import Settings
from genir.serving.token_scopes import MAX_SCOPED_VALUES
from genir.serving.tokens import TokenSpec, new_token
from genir.types import Selection

QUERY = "hide the volume"


@pytest.fixture
def tokens(tmp_path):
    """Return token name -> headers, for tenants a and b and for a token without a scope."""
    file = tmp_path / "tokens.json"
    wishes = [
        TokenSpec("owner", "write"),
        TokenSpec("a", "write", {"tenant": "a"}),
        TokenSpec("b", "write", {"tenant": "b"}),
        TokenSpec("notb", "write", {"tenant": {"not": "b"}}),
        TokenSpec("titled", "write", {"title": {"prefix": "a"}}),
    ]
    return {
        one.name: {"headers": {"Authorization": f"Bearer {new_token(file, one)}"}}
        for one in wishes
    }  # fmt: skip


@pytest.fixture
def client(tokens, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    with serving(folder, Settings(tokens=tmp_path / "tokens.json"), loopback=False) as client:
        yield client


def add(client, token, *documents, **body):
    body = {"documents": list(documents)} | body
    return client.post("/v1/documents", json=body, **token)


@pytest.mark.parametrize(
    "tenant",
    [
        ["a", "b"],
        ["b", "a"],
        [["a"], "a"],
        ["a", None],
        ["a", {"x": "a"}],
        [],
        "b",
        "A",
        "a\0b",
        "a\0",
        ["a", "a\0b"],
    ],
)
def test_every_value_of_a_written_document_lies_in_the_scope(client, tokens, tenant):
    refused = add(client, tokens["a"], record("mine", tenant="a"), record("x", tenant=tenant))
    assert refused.status_code == 403 and "'x'" in refused.json()["detail"]
    assert add(client, tokens["a"], record("x", tenant="a")).status_code == 201
    replaced = add(client, tokens["a"], record("x", tenant=tenant), replace=True)
    assert replaced.status_code == 403
    assert keys(client, QUERY, **tokens["b"]) == []
    assert keys(client, QUERY, **tokens["a"]) == ["x"]


def test_values_that_all_lie_in_the_scope_are_taken(client, tokens):
    assert add(client, tokens["a"], record("x", tenant=["a", "a"], tags=["b"])).status_code == 201
    assert add(client, tokens["notb"], record("y", tenant=["c", "d"])).status_code == 201
    assert add(client, tokens["notb"], record("z", tenant=["c", "b"])).status_code == 403
    assert add(client, tokens["notb"], record("w")).status_code == 201
    titled = record("t") | {"title": "a title"}
    assert add(client, tokens["titled"], titled).status_code == 201
    assert add(client, tokens["titled"], titled | {"_id": "u", "title": "b"}).status_code == 403
    many = record("many", tenant=["a"] * (MAX_SCOPED_VALUES + 1))
    assert add(client, tokens["a"], many).status_code == 422


def test_values_are_compared_to_their_end(client, tokens):
    """SQLite's JSON functions truncate text at NUL."""
    add(client, tokens["owner"], record("nul", tenant="a\0b"), record("true", tenant="a"))
    assert keys(client, QUERY, **tokens["a"]) == ["true"]
    assert client.get("/v1/documents/nul", **tokens["a"]).status_code == 404
    assert client.delete("/v1/documents/nul", **tokens["a"]).status_code == 404


def test_a_document_that_others_own_too_can_be_read_but_not_changed(client, tokens):
    assert add(client, tokens["owner"], record("both", tenant=["a", "b"])).status_code == 201
    for name in ("a", "b"):
        assert keys(client, QUERY, **tokens[name]) == ["both"]
        assert client.get("/v1/documents/both", **tokens[name]).status_code == 200
        assert client.delete("/v1/documents/both", **tokens[name]).status_code == 403
        mine = record("both", tenant=name)
        assert add(client, tokens[name], mine, replace=True).status_code == 403
    assert client.delete("/v1/documents/both", **tokens["owner"]).status_code == 200


def test_a_document_outside_is_answered_as_one_that_does_not_exist(client, tokens):
    assert add(client, tokens["b"], record("theirs", tenant="b")).status_code == 201
    for send in (
        lambda key: client.get(f"/v1/documents/{key}", **tokens["a"]),
        lambda key: client.delete(f"/v1/documents/{key}", **tokens["a"]),
        lambda key: add(client, tokens["a"], record(key, tenant="a"), replace=True),
    ):
        outside, nowhere = send("theirs"), send("nothing")
        assert outside.status_code == nowhere.status_code == 404
        assert outside.json()["detail"].replace("theirs", "nothing") == nowhere.json()["detail"]
    add(client, tokens["a"], record("mine", tenant="a"))
    taken = [add(client, tokens["a"], record(key, tenant="a")) for key in ("mine", "theirs")]
    assert [one.status_code for one in taken] == [409, 409]
    assert len({one.json()["detail"].replace("theirs", "mine") for one in taken}) == 1


def test_a_change_that_falls_between_check_and_write_is_seen(client, tokens, tmp_path):
    """Another process has assigned a document to tenant b, which is not applied here yet."""
    add(client, tokens["a"], record("x", tenant="a"))
    other = Retriever.load(tmp_path / "model", "cpu")
    other.replace([document_of(record("x", tenant="b"), "x")])
    other.close()
    assert client.delete("/v1/documents/x", **tokens["a"]).status_code == 404
    assert client.get("/v1/documents/x", **tokens["owner"]).status_code == 200


def test_no_number_of_all_documents_is_shown(client, tokens):
    added = add(client, tokens["a"], record("x", tenant="a"))
    assert added.json() == {"keys": ["x"], "version": None}
    body = {"query": QUERY, "k": 5}
    found = client.post("/v1/search", json=body, **tokens["a"]).json()
    assert found["version"] is None and [hit["identifier"] for hit in found["hits"]] == [""]
    assert found["hits"][0]["score"] == pytest.approx(0, abs=1e-5)  # the only document there is
    tree = client.get("/v1/explain?query=a&beams=900", **tokens["a"]).json()
    assert tree["version"] is None and tree["beams"] == 1
    assert [(node["symbol"], node["key"]) for node in tree["nodes"]] == [("", "x")]
    assert client.get("/v1/model", **tokens["a"]).json()["version"] is None
    for path in ("/metrics", "/v1/metrics", "/v1/versions"):
        refused = client.get(path, **tokens["a"])
        assert refused.status_code == 403 and "limited to some" in refused.json()["detail"]
    assert client.get("/metrics", **tokens["owner"]).status_code == 200
    assert client.post("/v1/search", json=body, **tokens["owner"]).json()["version"] == 1


def test_bm25_counts_the_words_of_the_scope_alone(client, tokens):
    add(client, tokens["a"], record("x", "an ordinary word", tenant="a"),
        record("y", "another ordinary text", tenant="a"))  # fmt: skip
    body = {"query": "ordinary word", "system": "bm25"}

    def ask(name):
        answer = client.post("/v1/search", json=body, **tokens[name]).json()
        return [(hit["key"], hit["score"]) for hit in answer["hits"]]

    before, theirs = ask("a"), ask("b")
    assert [key for key, _ in before] == ["x", "y"] and theirs == []
    add(client, tokens["b"], *(record(f"b{n}", "ordinary word", tenant="b") for n in range(9)))
    assert ask("a") == before
    assert len(ask("b")) == 9 and len(ask("owner")) == 10


def test_fields_and_types_of_other_tenants_are_unknown(client, tokens):
    add(client, tokens["a"], record("x", tenant="a", size="small"))
    add(client, tokens["b"], record("y", tenant="b", size=7, secret=1))
    ask = {"query": QUERY}
    for field in ("secret", "nowhere"):
        reply = client.post("/v1/search", json=ask | {"where": {field: 1}}, **tokens["a"])
        assert reply.status_code == 422
        assert reply.json()["detail"] == f"where: unknown metadata field {field!r}"
        params = {"query": QUERY, "where": f'{{"{field}": 1}}'}
        assert client.get("/v1/explain", params=params, **tokens["a"]).status_code == 422
    assert keys(client, QUERY, where={"size": "small"}, **tokens["a"]) == ["x"]
    fields = {one["name"]: one for one in client.get("/v1/model", **tokens["a"]).json()["fields"]}
    assert [*fields] == ["size", "tenant"] and fields["size"]["types"] == ["text"]
    assert fields["size"]["values"] == [{"value": "small", "documents": 1}]


def test_a_damaged_folder_is_not_described_to_a_scoped_token(client, tokens, monkeypatch):
    def broken(*_):
        raise FolderError("/srv/model: damaged: document 'theirs' cannot be read; restore it")

    monkeypatch.setattr(type(client.app.state.service.served.documents), "fetch", broken)
    add(client, tokens["a"], record("x", tenant="a"))
    details = [client.get("/v1/documents/x", **tokens[name]) for name in ("a", "owner")]
    assert [one.status_code for one in details] == [503, 503]
    assert "theirs" not in details[0].text and "theirs" in details[1].text


def test_a_field_that_holds_only_objects_in_the_scope_is_unknown_there(client, tokens):
    assert add(client, tokens["a"], record("a1", tenant="a", size={"x": 1})).status_code == 201
    assert add(client, tokens["b"], record("b1", tenant="b", size=3)).status_code == 201
    asked = {"query": QUERY, "where": {"size": 3}}
    answers = {name: client.post("/v1/search", json=asked, **tokens[name]) for name in "ab"}
    assert answers["a"].status_code == 422
    assert answers["a"].json()["detail"] == "where: unknown metadata field 'size'"
    assert [hit["key"] for hit in answers["b"].json()["hits"]] == ["b1"]
    assert client.post("/v1/search", json=asked, **tokens["owner"]).status_code == 200


def test_answers_of_closed_and_open_selections_are_kept_apart():
    where = ({"tenant": "a"},)
    names = {Selection(where, excluded=closed).name for closed in (False, True)}
    assert len(names) == 2
    assert (Selection(where, excluded=True) & Selection()).name in names
