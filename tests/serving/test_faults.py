"""Full disks, read-only folders, other writers, and deadlines."""

import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from fastapi.testclient import TestClient
from living import keys, record, serving

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings
from genir.updates import journal

QUICK = Settings(poll_ms=10)


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


def add(client, key):
    return client.post("/v1/documents", json={"document": record(key)})


def eventually(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_full_disk_is_reported_and_nothing_changes(folder, monkeypatch):
    with serving(folder) as client:
        assert add(client, "a").status_code == 201

        def full(*arguments):
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(journal.Journal, "append", full)
            refused = add(client, "b")
        assert refused.status_code == 503 and "disk is full" in refused.json()["detail"]
        assert refused.headers["retry-after"]
        assert "b" not in keys(client) and client.get("/v1/model").json()["version"] == 1
        assert add(client, "b").json()["version"] == 2


def test_a_folder_that_cannot_be_written_still_answers(folder, monkeypatch):
    def refuse(*arguments, **named):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(journal.Journal, "append", refuse)
    with serving(folder) as client:
        refused = add(client, "a")
        assert refused.status_code == 503 and "read-only" in refused.json()["detail"]
        assert len(keys(client)) == 40


def test_a_journal_cut_beside_a_running_server_stops_changes_and_not_answers(folder):
    with serving(folder, QUICK) as client:
        assert add(client, "a").status_code == 201
        with closing(sqlite3.connect(folder / "journal-0.sqlite")) as connection, connection:
            connection.execute("UPDATE head SET version = 7")
        refused = add(client, "b")
        assert refused.status_code == 503 and "damaged" in refused.json()["detail"]
        assert "a" in keys(client) and len(keys(client)) == 41


def test_two_servers_over_one_folder_see_each_other_s_changes(folder):
    with serving(folder, QUICK) as one, serving(folder, QUICK) as other:
        assert add(one, "a").json()["version"] == 1
        eventually(lambda: "a" in keys(other))
        assert (
            add(other, "b").json()["version"] == 2
        )  # a writer applies other changes before it writes
        assert add(other, "a").status_code == 409
        eventually(lambda: "b" in keys(one))
        one.delete("/v1/documents/a")
        eventually(lambda: "a" not in keys(other))
        assert one.post("/v1/rollback", json={"version": 1}).json()["version"] == 4
        eventually(lambda: "a" in keys(other) and "b" not in keys(other))
        assert other.post("/v1/compact").status_code == 200
        eventually(lambda: one.get("/v1/versions").json()["versions"][-1]["kept"])
        assert add(one, "c").json()["version"] == 5
        eventually(lambda: "c" in keys(other))


def test_a_change_of_the_command_line_is_followed(folder):
    with serving(folder, QUICK) as client:
        Retriever.load(folder, "cpu").delete(["copy-file"])
        eventually(lambda: "copy-file" not in keys(client))


def test_another_model_beside_is_swapped_in(folder, model_folder):
    shutil.copytree(model_folder, folder.parent / "other")
    Retriever.load(folder.parent / "other", "cpu").delete(["copy-file"])
    with serving(folder) as client:
        add(client, "a")
        answer = client.post("/v1/model", json={"folder": "other"})
        assert answer.json() == {"status": "serving other"}
        card = client.get("/v1/model").json()
        assert (card["name"], card["documents"]) == ("other", 39)
        assert not {"a", "copy-file"} & {*keys(client)}
        assert add(client, "b").json()["version"] == 2  # goes to the other folder
        client.post("/v1/model", json={"folder": "model"})
        assert "a" in keys(client) and "b" not in keys(client)


DAMAGED = b"\xa5" * 4096


def overwritten(path, content):
    with path.open("r+b") as file:
        file.write(content)


def test_a_store_damaged_in_place_is_a_503_until_it_is_restored_in_place(folder):
    store = folder / "documents.sqlite"
    whole = store.read_bytes()
    with serving(folder) as client:
        assert client.get("/v1/documents/copy-file").status_code == 200 and keys(client)
        overwritten(store, b"".join([whole[:4096], DAMAGED * (len(whole) // 4096 - 1)]))
        asked = {"query": "hide", "k": 5, "fresh": True}
        for answer in (
            client.get("/v1/documents/copy-file"),
            client.post("/v1/search", json=asked),
            client.post("/v1/search", json=asked | {"where": {"verb": "copy"}}),
            client.post("/v1/search", json=asked | {"system": "bm25"}),
        ):
            assert answer.status_code == 503, answer.text
            assert "restore" in answer.json()["detail"] and answer.headers["retry-after"]
        overwritten(store, whole)
        assert client.get("/v1/documents/copy-file").status_code == 200
        for more in ({}, {"where": {"verb": "copy"}}, {"system": "bm25"}):
            assert client.post("/v1/search", json=asked | more).status_code == 200, more


def test_a_store_that_was_replaced_is_loaded_anew(folder):
    store = folder / "documents.sqlite"
    whole = store.read_bytes()
    with serving(folder, QUICK) as client:
        assert add(client, "a").status_code == 201
        overwritten(store, b"".join([whole[:4096], DAMAGED * (len(whole) // 4096 - 1)]))
        assert client.get("/v1/documents/copy-file").status_code == 503
        (folder / "restored").write_bytes(whole)
        (folder / "restored").replace(store)
        eventually(lambda: client.get("/v1/documents/copy-file").status_code == 200)
        assert {"a", "copy-file"} <= {*keys(client)}
        assert add(client, "b").status_code == 201


def test_a_folder_that_cannot_be_loaded_is_tried_again_after_a_rest(folder, caplog):
    loads, store = [], folder / "documents.sqlite"

    def load(path):
        loads.append(path)
        return Retriever.load(path, "cpu")

    app = create_app(
        load(folder), settings=Settings(poll_ms=600_000), loopback=True, load_folder=load
    )
    with TestClient(app) as client:
        writer, whole = client.app.state.service._writer, store.read_bytes()

        def replace(content):
            (folder / "new").write_bytes(content)
            (folder / "new").replace(store)

        replace(DAMAGED)
        for _ in range(5):
            writer.schedule_sync()
            writer.submit(list).result()
        assert loads == [folder] * 2
        assert sum("cannot be reloaded" in text for text in caplog.messages) == 1
        replace(whole)
        writer._resting = 0.0
        writer.schedule_sync()
        writer.submit(list).result()
        assert loads == [folder] * 3 and keys(client)


def test_a_document_that_is_missing_from_the_store_is_a_503(folder, monkeypatch):
    with serving(folder) as client:
        store = type(client.app.state.service.served.documents)
        monkeypatch.setattr(store, "_previews", lambda self, keys, whole: {})
        monkeypatch.setattr(store, "find", lambda self, key: None)
        for answer in (
            client.post("/v1/search", json={"query": "hide"}),
            client.get("/v1/documents/copy-file"),
        ):
            assert answer.status_code == 503 and "restore" in answer.json()["detail"]


def test_a_clock_that_jumps_changes_no_deadline(folder, monkeypatch):
    with serving(folder, QUICK) as client:
        for jump in (1e9, -1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
            assert len(keys(client, query=f"hide {jump}")) >= 40
            assert add(client, f"a{jump > 0}").status_code == 201


@pytest.fixture
def slow(searcher):
    """A searcher that blocks until it is released."""
    inner, searcher.begun, searcher.gate = searcher.match, threading.Event(), threading.Event()

    def match(*arguments, **named):
        searcher.begun.set()
        assert searcher.gate.wait(120)
        return inner(*arguments, **named)

    searcher.match = match
    yield searcher
    searcher.gate.set()


def test_a_slow_request_gets_504_and_the_next_is_answered(slow):
    with TestClient(create_app(slow)) as client:
        late = client.post("/v1/search", json={"query": "copy", "deadline_ms": 30})
        assert late.status_code == 504 and "deadline" in late.json()["detail"]
        slow.gate.set()
        assert client.post("/v1/search", json={"query": "copy"}).status_code == 200


def test_a_full_queue_is_answered_503_at_once(slow):
    with TestClient(
        create_app(slow, settings=Settings(queue=2, cache=0, deadline_ms=120_000))
    ) as client:
        answers = []

        def ask(number):
            body = {"query": f"copy {number}"}
            answers.append(client.post("/v1/search", json=body))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        threads[0].start()
        assert slow.begun.wait(20)  # alone: two queries at once would be one batch
        for thread in threads[1:]:
            thread.start()
        eventually(lambda: len(answers) >= 5)  # two wait
        assert {one.status_code for one in answers} == {503}
        assert all(one.headers["retry-after"] == "1" for one in answers)
        assert client.get("/v1/healthz").status_code == 200
        slow.gate.set()
        for thread in threads:
            thread.join()
        assert [one.status_code for one in answers].count(200) == 3


def test_bm25_answers_beside_and_follows_changes(folder):
    with serving(folder) as client:

        def ask(query, **more):
            body = {"query": query, "system": "bm25", **more}
            return client.post("/v1/search", json=body).json()["hits"]

        first = ask("duplicate document")[0]
        assert first["key"] == "copy-file" and first["title"] == "copy file" and first["snippet"]
        assert ask("zebra crossing") == []
        client.post("/v1/documents", json={"document": record("z", "zebra crossing")})
        assert [hit["key"] for hit in ask("zebra crossing")] == ["z"]
        client.delete("/v1/documents/z")
        assert ask("zebra crossing") == []
        kept = ask("duplicate document", where={"section": 0}, deny=["copy-file"])
        assert kept and all(hit["key"].endswith("-file") for hit in kept)
        assert [hit["rank"] for hit in kept] == [*range(1, len(kept) + 1)]
    with serving(folder, Settings(compare=False)) as client:
        body = {"query": "a", "system": "bm25"}
        assert client.post("/v1/search", json=body).status_code == 422
        assert client.get("/v1/model").json()["systems"] == ["genir"]
    with serving(folder, Settings(max_compared=10)) as client:
        refused = client.post("/v1/search", json={"query": "a", "system": "bm25"})
        assert refused.status_code == 422 and "more than 10" in refused.json()["detail"]
