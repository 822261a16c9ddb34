"""Checks of model folders before they are loaded: signatures and trials."""

import shutil
import threading

import pytest
from fastapi.testclient import TestClient
from living import keys, record
from test_faults import eventually

from genir.errors import InputError
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.model_checks import ModelChecks
from genir.serving.server import serve
from genir.serving.settings import Settings
from genir.signatures import make_keys, read_private_key
from genir.updates.signing import sign


class Examined:
    """A checker that records folders and rejects the given ones."""

    signed_only = False

    def __init__(self):
        self.seen, self.refused, self.closed = [], set(), False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, folder):
        self.seen.append(folder.name)
        assert self.gate.wait(120)
        if folder.name in self.refused:
            raise InputError(f"{folder}: refused")

    def close(self):
        self.closed = True
        self.gate.set()


@pytest.fixture
def folder(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "other")
    return shutil.copytree(model_folder, tmp_path / "model")


@pytest.fixture
def key(tmp_path):
    make_keys(tmp_path / "key")
    return tmp_path / "key"


def client_of(folder, checker, **settings):
    retriever = Retriever.load(folder, "cpu")
    given = Settings(poll_ms=10, **settings)
    return TestClient(create_app(retriever, settings=given, loopback=True, checker=checker))


def swap(client, name):
    return client.post("/v1/model", json={"folder": name})


def test_only_folders_of_others_are_examined(folder):
    checker = Examined()
    with client_of(folder, checker) as client:
        assert client.post("/v1/documents", json={"document": record("a")}).status_code == 201
        assert client.post("/v1/compact").status_code == 200
        assert client.post("/v1/rollback", json={"version": 1}).status_code == 200
        Retriever.load(folder, "cpu").delete(["copy-file"])
        eventually(lambda: "copy-file" not in keys(client))
        assert checker.seen == []
        assert swap(client, "other").status_code == 200
        assert checker.seen == ["other"]
    assert checker.closed


def test_a_refused_folder_is_not_swapped_in(folder):
    checker = Examined()
    checker.refused = {"other"}
    with client_of(folder, checker) as client:
        answer = swap(client, "other")
        assert (answer.status_code, answer.json()["detail"]) == (
            422, f"{folder.parent / 'other'}: refused")  # fmt: skip
        assert client.get("/v1/model").json()["name"] == "model" and keys(client)
        checker.refused = set()
        assert swap(client, "other").status_code == 200


def test_a_folder_that_replaces_the_served_one_is_examined_once(folder, caplog):
    checker = Examined()
    checker.refused = {"model"}
    with client_of(folder, checker) as client:
        assert "copy-disk" in keys(client, query="copy")
        retriever = Retriever.load(folder, "cpu")
        retriever.delete(["copy-file"])
        retriever.compact()
        eventually(lambda: any("is refused" in text for text in caplog.messages))
        refused = client.post("/v1/documents", json={"document": record("a")})
        assert refused.status_code == 422 and "was refused" in refused.json()["detail"]
        assert "copy-disk" in keys(client, query="copy")
        assert checker.seen == ["model"]
        assert sum("is refused" in text for text in caplog.messages) == 1
        checker.refused = set()
        retriever.delete(["copy-disk"])
        retriever.compact()
        eventually(lambda: "copy-disk" not in keys(client, query="copy"))
        assert checker.seen == ["model", "model"]
        assert client.post("/v1/documents", json={"document": record("a")}).status_code == 201


def test_searches_and_changes_go_on_during_an_examination(folder):
    checker = Examined()
    checker.gate.clear()
    with client_of(folder, checker, deadline_ms=20_000) as client:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(swap(client, "other")))
        thread.start()
        eventually(lambda: checker.seen == ["other"])
        assert keys(client)
        assert client.post("/v1/documents", json={"document": record("a")}).status_code == 201
        assert swap(client, "other").status_code == 503  # one at a time
        checker.gate.set()
        thread.join(60)
        assert [answer.status_code for answer in answers] == [200]


# --- signatures ----------------------------------------------------------------------------------


def trusting(key):
    return Settings(trusted_keys=key.with_name("key.pub"), trial_s=0)


def test_only_signed_folders_without_changes_pass(folder, key):
    examine = ModelChecks(trusting(key))
    with pytest.raises(InputError, match="not signed"):
        examine(folder)
    sign(folder, read_private_key(key))
    examine(folder)
    Retriever.load(folder, "cpu").delete(["copy-file"])
    with pytest.raises(InputError, match="has 1 change that a signature does not cover"):
        examine(folder)
    assert examine.refuse_unsigned(folder) == 1  # at the start of a server: its own changes
    ModelChecks(Settings(trial_s=0))(folder.parent / "other")


def test_a_server_of_signed_folders(folder, key, caplog):
    sign(folder, read_private_key(key))
    with client_of(folder, ModelChecks(trusting(key))) as client:
        answer = swap(client, "other")
        assert answer.status_code == 422 and "not signed" in answer.json()["detail"]
        sign(folder.parent / "other", read_private_key(key))
        assert client.post("/v1/documents", json={"document": record("a")}).status_code == 201
        answer = client.post("/v1/compact")
        assert answer.status_code == 422 and "genir sign" in answer.json()["detail"]
        retriever = Retriever.load(folder, "cpu")
        retriever.compact()  # replaces the signed folder by an unsigned one
        eventually(lambda: any("is refused" in text for text in caplog.messages))
        refused = client.post("/v1/documents", json={"document": record("b")})
        assert refused.status_code == 422 and "a" in keys(client)
        sign(folder, read_private_key(key))
        eventually(lambda: client.get("/v1/versions").json()["versions"][-1]["kept"])
        assert client.post("/v1/documents", json={"document": record("b")}).status_code == 201
        assert swap(client, "other").status_code == 200


def test_an_unsigned_folder_is_not_served(folder, key):
    with pytest.raises(InputError, match=rf"^{folder}: not signed"):
        serve(folder, port=0, settings=trusting(key))


@pytest.mark.parametrize("content", [None, "no key"])
def test_a_bad_file_of_trusted_keys_stops_the_server(folder, tmp_path, content):
    if content is not None:
        (tmp_path / "trusted").write_text(content)
    with pytest.raises(InputError, match=rf"^{tmp_path}/trusted: "):
        serve(folder, port=0, settings=Settings(trusted_keys=tmp_path / "trusted"))
