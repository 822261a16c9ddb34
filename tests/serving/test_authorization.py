"""Authorization: rights of tokens, and of requests without a token."""

import errno
import json
import os
import shutil
import stat
from http import HTTPStatus
from pathlib import Path

import pytest
from living import keys, record, serving
from typer.testing import CliRunner

from genir.cli import app as cli
from genir.errors import InputError
from genir.serving.authorization import Authorizer
from genir.serving.settings import Settings
from genir.serving.tokens import Tokens, TokenSpec, new_token, read_tokens


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def secrets(tmp_path):
    """Write a file with three tokens; return name -> secret."""
    file = tmp_path / "tokens.json"
    wishes = [
        TokenSpec("reader"),
        TokenSpec("writer", "write"),
        TokenSpec("tenant", "write", {"verb": "copy"}),
        TokenSpec("narrow", "read", None, ["copy-file", "absent"]),
    ]
    return {wish.name: new_token(file, wish) for wish in wishes}


@pytest.fixture
def client(secrets, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    settings = Settings(tokens=tmp_path / "tokens.json")
    with serving(folder, settings, loopback=False) as client:
        yield client


def test_the_file_holds_no_secret_and_is_its_owner_s_alone(secrets, tmp_path):
    file = tmp_path / "tokens.json"
    assert not any(secret in file.read_text() for secret in secrets.values())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [token.name for token in read_tokens(file)] == [*secrets]
    with pytest.raises(InputError, match="'reader' already"):
        new_token(file, TokenSpec("reader"))


def test_without_a_token_nothing_is_shown(client):
    search = client.post("/v1/search", json={"query": "a"})
    assert search.status_code == 401 and search.headers["www-authenticate"].startswith("Bearer")
    for path in ("/v1/explain?query=a", "/v1/documents/copy-file", "/v1/metrics", "/metrics"):
        assert client.get(path).status_code == 401
    assert client.delete("/v1/documents/copy-file").status_code == 401
    card = client.get("/v1/model").json()
    assert card["documents"] is None and card["fields"] == card["examples"] == []
    assert card["access"] == {
        "tokens": True, "reads": False, "writes": False, "writes_with_token": True,
        "scoped": False, "token": None,
    }  # fmt: skip
    assert client.get("/v1/healthz").status_code == client.get("/v1/readyz").status_code == 200


@pytest.mark.parametrize("header", ["Bearer no", "Basic x", "Bearer", "", "bearer  ", "Bearer é"])
def test_a_wrong_token_is_refused_wherever_one_counts(client, header):
    headers = {"Authorization": header.encode()}
    assert client.post("/v1/search", json={"query": "a"}, headers=headers).status_code == 401
    assert client.get("/v1/model", headers=headers).status_code == 401


def test_a_reader_reads_and_a_writer_writes(client, secrets):
    reader, writer = bearer(secrets["reader"]), bearer(secrets["writer"])
    assert len(keys(client, headers=reader)) == 40
    refused = client.delete("/v1/documents/copy-file", headers=reader)
    assert refused.status_code == 403 and "'reader' may read" in refused.json()["detail"]
    for path in ("rollback", "compact", "model"):
        body = {"version": 0, "folder": "x"}
        assert client.post(f"/v1/{path}", json=body, headers=reader).status_code == 403
    assert client.delete("/v1/documents/copy-file", headers=writer).status_code == 200
    assert len(keys(client, headers=reader)) == 39
    assert client.get("/v1/versions", headers=writer).json()["version"] == 1
    assert client.get("/v1/metrics", headers=reader).status_code == 200


def test_a_scope_bounds_reads_and_writes(client, secrets):
    tenant = bearer(secrets["tenant"])
    mine = {f"copy-{thing}" for thing in ("file", "folder", "disk", "network", "process")}
    assert {*keys(client, headers=tenant)} == mine
    assert keys(client, headers=tenant, where={"verb": "delete"}) == []
    assert keys(client, headers=tenant, where={"verb": {"not": "copy"}}) == []
    assert keys(client, headers=tenant, allow=["delete-file", "copy-file"]) == ["copy-file"]
    card = client.get("/v1/model", headers=tenant).json()
    assert card["documents"] == 5 and card["access"]["scoped"]
    verbs = next(field for field in card["fields"] if field["name"] == "verb")
    assert verbs["values"] == [{"value": "copy", "documents": 5}]
    assert client.delete("/v1/documents/delete-file", headers=tenant).status_code == 404

    def add(status, document, **body):
        answer = client.post("/v1/documents", json={"document": document, **body}, headers=tenant)
        assert answer.status_code == status, answer.text

    add(403, record("x", verb="delete"))
    add(403, record("x"))
    add(201, record("x", verb="copy"))
    add(409, record("x", verb="copy"))
    add(403, record("x", verb="delete"), replace=True)
    add(404, record("delete-file", verb="copy"), replace=True)
    add(200, record("x", "another text", verb="copy"), replace=True)
    assert {*keys(client, headers=tenant)} == {*mine, "x"}
    for path in ("compact", "rollback", "model"):
        body = {"version": 0, "folder": "x"}
        assert client.post(f"/v1/{path}", json=body, headers=tenant).status_code in (403, 422)
    assert client.get("/v1/versions", headers=tenant).status_code == 403
    assert keys(client, headers=bearer(secrets["narrow"])) == ["copy-file"]


def test_a_token_for_one_model_is_refused_by_others(model_folder, tmp_path):
    file = tmp_path / "tokens.json"
    secrets = {name: new_token(file, TokenSpec(name, model=name)) for name in ("docs", "blog")}
    folder = shutil.copytree(model_folder, tmp_path / "docs")
    with serving(folder, Settings(tokens=file), loopback=False) as client:
        assert keys(client, headers=bearer(secrets["docs"]))
        for path in ("/v1/model", "/v1/documents/copy-file"):
            answer = client.get(path, headers=bearer(secrets["blog"]))
            assert answer.status_code == 403
            assert "the token 'blog' is for the model 'blog'" in answer.json()["detail"]
        answer = client.post("/v1/search", json={"query": "copy"}, headers=bearer(secrets["blog"]))
        assert answer.status_code == 403


def test_an_unknown_field_is_not_answered_with_the_fields_of_others(client, secrets):
    for name, hinted in (("reader", True), ("tenant", False)):
        body = {"query": "a", "where": {"vreb": "copy"}}
        answer = client.post("/v1/search", json=body, headers=bearer(secrets[name]))
        assert answer.status_code == 422
        assert ("did you mean 'verb'" in answer.json()["detail"]) is hinted


def test_a_revoked_token_is_refused_at_once_and_a_damaged_file_changes_nothing(
    client, secrets, tmp_path
):
    file, reader = tmp_path / "tokens.json", bearer(secrets["reader"])
    whole = file.read_text()
    file.write_text("{")
    assert len(keys(client, headers=reader)) == 40
    content = json.loads(whole)
    file.write_text(json.dumps({"tokens": content["tokens"][1:]}))
    assert client.post("/v1/search", json={"query": "a"}, headers=reader).status_code == 401
    assert keys(client, headers=bearer(secrets["writer"]))


def search(client, headers):
    return client.post("/v1/search", json={"query": "a"}, headers=headers).status_code


def gone(file):
    file.unlink()


def a_folder(file):
    file.unlink()
    file.mkdir()


def a_pipe(file):
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("fault", [gone, a_folder, a_pipe])
def test_without_a_tokens_file_no_token_is_known(client, secrets, tmp_path, caplog, fault):
    file, reader = tmp_path / "tokens.json", bearer(secrets["reader"])
    whole = file.read_bytes()
    assert search(client, reader) == 200
    fault(file)
    with caplog.at_level("ERROR", "genir.serving"):
        assert [search(client, reader) for _ in range(3)] == [401] * 3
        assert client.get("/v1/model", headers=reader).status_code == 401
        assert client.get("/v1/readyz").status_code == 200
    messages = [
        one.getMessage() for one in caplog.records if "every token is refused" in one.message
    ]
    assert len(messages) == 1 and str(file) in messages[0]
    if file.is_dir():
        file.rmdir()
    (tmp_path / "again").write_bytes(whole)
    (tmp_path / "again").replace(file)
    assert search(client, reader) == 200


def test_a_tokens_file_that_may_not_be_opened_any_more_refuses_everyone(
    client, secrets, tmp_path, monkeypatch
):
    file, reader = tmp_path / "tokens.json", bearer(secrets["reader"])
    assert search(client, reader) == 200
    before, opened = file.stat(), Path.open

    def refuse(path, *arguments, **named):
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:  # root may open every file
        patch.setattr(Path, "open", refuse)
        file.chmod(0o000)  # changes neither content nor modification time
        assert file.stat().st_mtime_ns == before.st_mtime_ns
        assert search(client, reader) == 401
    file.chmod(0o600)
    assert search(client, reader) == 200


def test_half_a_tokens_file_is_never_taken_for_a_whole_one(client, secrets, tmp_path, caplog):
    file, reader = tmp_path / "tokens.json", bearer(secrets["reader"])
    whole = file.read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        file.write_bytes(whole[:length])
        assert search(client, reader) == 200
    assert "the tokens stay as they were" in caplog.text
    left = json.loads(whole)
    left["tokens"] = [one for one in left["tokens"] if one["name"] != "reader"]
    (tmp_path / "next").write_text(json.dumps(left))
    (tmp_path / "next").replace(file)
    assert search(client, reader) == 401 and search(client, bearer(secrets["writer"])) == 200


def test_a_second_authorization_is_refused(client, secrets):
    headers = [("Authorization", f"Bearer {secrets[name]}") for name in ("reader", "writer")]
    answer = client.get("/v1/model", headers=headers)
    assert answer.status_code == 400 and "'authorization' is given twice" in answer.json()["detail"]


def test_public_searches_need_no_token_but_writes_do(secrets, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    settings = Settings(tokens=tmp_path / "tokens.json", public=True)
    with serving(folder, settings, loopback=False) as client:
        assert len(keys(client)) == 40
        assert client.delete("/v1/documents/copy-file").status_code == 401
        assert client.get("/v1/model").json()["access"]["writes_with_token"]


def test_writes_refuse_to_start_unguarded(tmp_path, secrets):
    with pytest.raises(InputError, match="would be unprotected"):
        Authorizer(Settings(writes=True), loopback=False)
    new_token(tmp_path / "readers.json", TokenSpec("r"))
    with pytest.raises(InputError, match="would be unprotected"):
        Authorizer(Settings(writes=True, tokens=tmp_path / "readers.json"), loopback=True)
    assert not Authorizer(Settings(), loopback=False).writes
    assert Authorizer(Settings(), loopback=True).writes
    assert not Authorizer(Settings(writes=False), loopback=True).writes
    assert Authorizer(Settings(tokens=tmp_path / "tokens.json"), loopback=False).writes


def test_a_server_that_takes_no_changes_says_how_it_would(model_folder):
    with serving(model_folder, loopback=False) as client:
        refused = client.delete("/v1/documents/copy-file")
        assert refused.status_code == HTTPStatus.FORBIDDEN
        assert "--tokens" in refused.json()["detail"] and keys(client)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "malformed JSON"),
        ('{"tokens": [{"name": "a", "sha256": "xyz"}]}', r"tokens\.0\.sha256"),
        ('{"tokens": [{"name": "a", "sha256": "%s", "role": "root"}]}' % ("0" * 64), "role"),
        ('{"tokens": [{"name": "a", "sha256": "%s", "where": {"x": {"gtt": 1}}}]}' % ("0" * 64),
         "unknown operator 'gtt'"),
        ('{"tokens": [%s, %s]}' % (('{"name": "a", "sha256": "%s"}' % ("0" * 64),) * 2), "two tok"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, text, message):
    file = tmp_path / "tokens.json"
    file.write_text(text)
    with pytest.raises(InputError, match=f"{file}.*{message}"):
        Tokens(file)


def test_the_verb_makes_a_token_and_prints_the_secret_alone(tmp_path):
    file = tmp_path / "tokens.json"
    words = ["token", "new", "shop", "--file", str(file), "--role", "write", "--where",
             '{"tenant": "a"}', "--allow", "k", "--model", "docs"]  # fmt: skip
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    caller = Tokens(file).caller(done.stdout.strip())
    assert (caller.name, caller.role, caller.model) == ("shop", "write", "docs")
    assert caller.scope.where == ({"tenant": "a"},) and caller.scope.allow == (frozenset("k"),)
    assert Tokens(file).caller(done.stdout.strip() + "x") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.7"},
        {"Origin": "https://front.example.org"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_without_tokens_nothing_that_comes_from_elsewhere_is_written(
    model_folder, tmp_path, headers
):
    """A proxy on this machine has a loopback address too, and so has a browser."""
    folder = shutil.copytree(model_folder, tmp_path / "model")
    with serving(folder, Settings(cors=("https://front.example.org",))) as client:
        body = {"documents": [record("a")]}
        answer = client.post("/v1/documents", json=body, headers=headers)
        assert answer.status_code == 403
        assert client.delete("/v1/documents/copy-file", headers=headers).status_code == 403
        assert "copy-file" in keys(client)
        assert client.post("/v1/documents", json=body).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-For": "1.2.3.4"}, {"Via": "1.1 proxy"}, {"Origin": "https://app.example.org"}],
)
def test_the_card_offers_no_change_that_would_be_refused(model_folder, tmp_path, headers):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    with serving(folder, Settings(cors=("https://app.example.org",))) as client:
        card = client.get("/v1/model").json()
        assert card["additions"] and card["access"]["writes"]
        card = client.get("/v1/model", headers=headers).json()
        assert not card["additions"]  # from which the page decides to offer adding
        assert not card["access"]["writes"] and not card["access"]["writes_with_token"]
        body = {"document": {"_id": "new", "text": "a text"}}
        assert client.post("/v1/documents", json=body, headers=headers).status_code == 403
        assert client.post("/v1/documents", json=body).status_code == 201
