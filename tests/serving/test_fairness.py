"""No caller can monopolize the model: fair queuing, cancelled work, bounded memory."""

import asyncio
import gc
import json
import threading
from contextlib import contextmanager
from time import monotonic

import pytest
import torch
from fastapi.testclient import TestClient
from living import record, serving

from genir.cancellation import Cancelled, cancel_when, raise_if_cancelled
from genir.decoding import beam
from genir.retriever import Retriever
from genir.serving import backlog
from genir.serving.app import create_app
from genir.serving.batching import BatchScheduler
from genir.serving.jobs import SearchJob, current_caller
from genir.serving.metrics import Metrics
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token


@pytest.fixture
def folder(model_folder):
    return model_folder


@pytest.fixture
def held(folder, monkeypatch):
    """A real model whose searches block until a gate opens; `batches` has their queries."""
    retriever = Retriever.load(folder, "cpu")
    retriever.gate, retriever.batches = threading.Event(), []
    inner = retriever.match

    def match(queries, *arguments, **named):
        retriever.batches.append([*queries])
        assert retriever.gate.wait(30)
        return inner(queries, *arguments, **named)

    retriever.match = match
    yield retriever
    retriever.gate.set()


@contextmanager
def working(retriever, **settings):
    worker = BatchScheduler(Settings(max_wait_ms=0, **settings), Metrics())
    worker.install(retriever)
    try:
        yield worker
    finally:
        retriever.gate.set()
        worker.close()


def ask(worker, caller, *texts, k=10, seconds=60.0):
    current_caller.set(caller)
    return worker.submit_searches([SearchJob(text, k) for text in texts], monotonic() + seconds)


async def begun(retriever, count=1):
    while len(retriever.batches) < count:
        await asyncio.sleep(0.001)


def test_a_light_caller_is_served_before_greedy_ones(held):
    async def run():
        with working(held, queue=2_000) as worker:
            first = ask(worker, "greedy 0", *(f"hide {n}" for n in range(80)), k=40)
            await begun(held)
            waiting = [
                ask(worker, f"greedy {caller}", *(f"erase {n}" for n in range(80)), k=40)
                for caller in range(1, 4)
            ]
            (honest,) = ask(worker, "honest", "clone a text")
            done = len(held.batches)
            held.gate.set()
            await honest
            # The running batch, one more, and its own; formerly all 320 queries.
            assert len(held.batches) <= done + 3
            assert sum(map(len, held.batches)) < 160
            await asyncio.gather(*first, *(one for own in waiting for one in own))

    asyncio.run(run())


def test_a_large_request_is_cut_where_others_ask_and_alone_it_is_not(held, monkeypatch):
    monkeypatch.setattr(backlog, "CROWDED_WAIT_S", 600.0)

    async def run():
        with working(held) as worker:
            alone = ask(worker, "one", *(f"hide {n}" for n in range(64)))
            held.gate.set()
            await asyncio.gather(*alone)
            assert [len(batch) for batch in held.batches] == [32, 32]
            held.gate.clear()
            worker._backlog._pace = 1.0  # a slow model: one query uses its whole share
            monkeypatch.setattr(worker._backlog, "record_rate", lambda *batch: None)
            large = ask(worker, "one", *(f"hide {n}" for n in range(64)))
            await begun(held, 3)
            small = ask(worker, "other", *(f"erase {n}" for n in range(3)))
            held.gate.set()
            await asyncio.gather(*large, *small)
            assert len(held.batches[2]) == 32
            assert {"erase 0", "erase 1", "erase 2"} <= {*held.batches[3]}
            for batch in held.batches[3:]:  # one query of the large request per batch
                assert sum("hide" in query for query in batch) <= 1
            assert {*map(len, held.batches[4:])} == {1}

    asyncio.run(run())


def test_a_full_queue_lets_in_who_has_little_in_it(held):
    async def run():
        with working(held, queue=64) as worker:
            ask(worker, "greedy", *(f"hide {n}" for n in range(64)))
            await begun(held)  # a batch has left the queue
            ask(worker, "greedy", *(f"show {n}" for n in range(64 - worker.waiting)))
            with pytest.raises(backlog.QueueFull):
                ask(worker, "greedy", "show one more")
            (honest,) = ask(worker, "honest", "erase")
            held.gate.set()
            assert (await honest).rendered.keys

    asyncio.run(run())


def test_cancelled_queries_leave_the_full_queue(held):
    async def run():
        with working(held, queue=8) as worker:
            ask(worker, "one", "hide")
            await begun(held)
            gone = ask(worker, "one", *(f"hide {n}" for n in range(7)))
            with pytest.raises(backlog.QueueFull):
                ask(worker, "one", "erase 1", "erase 2")
            for future in gone:
                future.cancel()
            assert len(ask(worker, "one", "erase 1", "erase 2")) == 2

    asyncio.run(run())


@pytest.mark.parametrize("late", [False, True])
def test_a_search_without_waiting_clients_stops_between_two_steps(tiny_folder, monkeypatch, late):
    """Formerly, cancelled and late searches ran to their end in the model's thread."""
    # URLs: an identifier of the atomic model has one symbol, so its search has one step.
    retriever, steps = Retriever.load(tiny_folder("url"), "cpu"), []
    go, inner = threading.Event(), beam.prune

    def advance(*arguments):
        steps.append(1)
        assert go.wait(30)
        return inner(*arguments)

    monkeypatch.setattr(beam, "prune", advance)
    retriever.gate = go

    async def run():
        with working(retriever) as worker:
            (future,) = ask(worker, "one", "hide", k=5, seconds=0.2 if late else 60.0)
            while not steps:
                await asyncio.sleep(0.001)
            if late:
                await asyncio.sleep(0.25)
            else:
                future.cancel()
            go.set()
            assert await asyncio.to_thread(worker.close) is True
            assert len(steps) <= 2

    asyncio.run(run())


def test_checkpoints_stop_only_what_runs_inside():
    raise_if_cancelled()
    with cancel_when(lambda: False):
        raise_if_cancelled()
    with cancel_when(lambda: True), pytest.raises(Cancelled):
        raise_if_cancelled()
    raise_if_cancelled()


def test_a_client_that_leaves_stops_its_search(held, tmp_path):
    app = create_app(held, settings=Settings(cache=0))

    async def run():
        app.state.service.watch()
        body = json.dumps({"queries": ["hide 1", "hide 2"], "k": 5}).encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/v1/search", "raw_path": b"/v1/search", "query_string": b"",
            "root_path": "", "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        leave, sent = asyncio.Event(), []
        messages = [{"type": "http.request", "body": body}]

        async def receive():
            if messages:
                return messages.pop()
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        answering = asyncio.create_task(app(scope, receive, send))
        await begun(held)
        assert not answering.done()
        leave.set()
        await asyncio.wait_for(answering, 20)  # the model is still at its gate
        assert sent == [] and app.state.service.in_flight == 0
        held.gate.set()

    asyncio.run(run())
    app.state.service.close()


def test_two_tokens_and_two_addresses_are_different_callers(folder, tmp_path, monkeypatch):
    tokens, callers = tmp_path / "tokens.json", []
    secrets = [new_token(tokens, TokenSpec(name)) for name in ("a", "b")]
    inner = BatchScheduler.submit_searches

    def noting(self, *arguments, **named):
        callers.append(current_caller.get())
        return inner(self, *arguments, **named)

    monkeypatch.setattr(BatchScheduler, "submit_searches", noting)
    settings = Settings(tokens=tokens, public=True, trusted_proxies=("*",))
    with serving(folder, settings) as client:
        headers = [{"Authorization": f"Bearer {secret}"} for secret in secrets]
        addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
        addresses += ("::ffff:192.0.2.1", "::ffff:192.0.2.9", "64:ff9b::192.0.2.8")
        headers += [{"X-Forwarded-For": address} for address in addresses]
        for number, own in enumerate(headers):
            body = {"query": f"hide {number}"}
            assert client.post("/v1/search", json=body, headers=own).status_code == 200
    assert callers[:4] == ["token a", "token b", "192.0.2.1", "192.0.2.2"]
    assert callers[4] == callers[5] == "2001:db8::/64" and callers[6] != callers[5]
    assert callers[7:] == ["192.0.2.1", "192.0.2.9", "192.0.2.8"], "IPv4 clients in IPv6 form"


# --- memory --------------------------------------------------------------------------------------


def resident():
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def test_distinct_large_requests_leave_nothing_behind(folder):
    """Formerly, whole queries were cache keys: 4 GB after 100 queries of 8 MB."""
    keys = [f"{'k' * 990}{n:08}" for n in range(900)]  # nearly 1 MB
    with serving(folder) as client:

        def search(number):
            body = {"query": "hide", "allow": ["copy-file", *keys, f"{number:08}"]}
            return client.post("/v1/search", json=body)

        for number in range(5):
            assert search(number).status_code == 200
        before = resident()
        for number in range(60):
            assert search(100 + number).status_code == 200
        assert resident() - before < 30 * 2**20  # half the size of the lists


def test_kept_answers_are_bounded_by_bytes(folder):
    with serving(folder, Settings(cache=1)) as client:
        service = client.app.state.service
        for number in range(200):
            body = {"query": f"hide {number}", "k": 40}
            assert client.post("/v1/search", json=body).status_code == 200
        assert 0.5 * 2**20 < service._cache.size <= 2**20
        assert 10 < len(service._cache) < 200
        hits = service.metrics.cache.labels("hit")._value.get()
        client.post("/v1/search", json={"query": "hide 199", "k": 40})
        assert service.metrics.cache.labels("hit")._value.get() == hits + 1


def test_a_request_of_many_queries_displaces_no_kept_answer(folder):
    with serving(folder, Settings(max_batch=4)) as client:
        kept = client.app.state.service._cache
        for count, expected in ((4, 4), (5, 4), (1, 5)):
            queries = [f"hide {count} {number}" for number in range(count)]
            assert client.post("/v1/search", json={"queries": queries}).status_code == 200
            assert len(kept) == expected


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
    ids=["python", "torch", "cuda"],
)
def test_too_little_memory_is_a_503_and_the_next_query_is_answered(folder, monkeypatch, error):
    retriever = Retriever.load(folder, "cpu")
    inner = retriever.match

    def match(queries, *arguments, **named):
        if "too much" in queries:
            raise error
        return inner(queries, *arguments, **named)

    retriever.match = match
    with TestClient(create_app(retriever)) as client:
        refused = client.post("/v1/search", json={"query": "too much"})
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert "memory" in refused.json()["detail"]
        assert client.post("/v1/search", json={"query": "hide"}).status_code == 200


def test_too_little_memory_for_a_body_or_a_change_is_a_503(folder, monkeypatch):
    def fail(*arguments, **named):
        raise MemoryError

    with serving(folder, loopback=True) as client:
        with monkeypatch.context() as patch:
            patch.setattr("genir.serving.request_bodies.JsonRequest.json", fail)
            refused = client.post("/v1/search", json={"query": "hide"})
            assert refused.status_code == 503 and "memory" in refused.json()["detail"]
        with monkeypatch.context() as patch:
            patch.setattr("genir.serving.update_worker.UpdateWorker._own_copy", fail)
            refused = client.post("/v1/documents", json={"document": record("a")})
            assert refused.status_code == 503 and "memory" in refused.json()["detail"]
        assert client.post("/v1/search", json={"query": "hide"}).status_code == 200
