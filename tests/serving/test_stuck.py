"""Hanging parties: stopped writers, clients with incomplete bodies, blocked threads."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from living import record, serving

from benchmarks.load.server import START, started
from genir.serving.settings import Settings
from genir.serving.update_worker import DeadlineExceeded

HOLD = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(300)
"""
HANG = "import time; from genir.retriever import Retriever; "
HANG += "Retriever.match = lambda *a, **k: time.sleep(300); "
OLD_WAIT = 60
"""Seconds that a change formerly waited for a stopped writer, regardless of its deadline."""


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


@contextmanager
def stopped_writer(folder):
    """Start a process that holds the writer's lock and is stopped by SIGSTOP."""
    (database,) = folder.glob("journal-*.sqlite")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def add(client, key):
    return client.post("/v1/documents", json={"document": record(key)})


def test_a_change_waits_for_a_stopped_writer_until_its_deadline(folder):
    with serving(folder, Settings(deadline_ms=1_000)) as client:
        assert add(client, "a").status_code == 201
        with stopped_writer(folder):
            begun = time.monotonic()
            refused = add(client, "b")
            assert time.monotonic() - begun < OLD_WAIT / 2
            assert refused.status_code == 503 and "Nothing has changed" in refused.json()["detail"]
            assert client.post("/v1/search", json={"query": "erase"}).status_code == 200
        assert add(client, "b").json()["version"] == 2


def test_a_change_that_waits_behind_another_is_refused_at_its_own_deadline(folder):
    with serving(folder) as client:
        assert add(client, "a").status_code == 201
        service = client.app.state.service

        async def queue():
            slow = asyncio.ensure_future(
                service.change("add", lambda _: gate.wait(30), time.monotonic() + 60)
            )
            await asyncio.sleep(0)
            with pytest.raises(DeadlineExceeded):
                await service.change("add", lambda _: made.append(1), time.monotonic() + 0.1)
            assert not slow.done()
            gate.set()
            await slow

        made, gate = [], threading.Event()
        client.portal.call(queue)
        assert made == []


def send_half_a_body(address):
    place = urlsplit(address)
    client = socket.create_connection((place.hostname, place.port))
    client.sendall(
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"query'
    )
    return client


def test_stopped_writers_and_half_bodies_do_not_delay_leaving(folder):
    """Formerly 60 seconds for the writer's lock, then the whole drain time for the bodies."""
    flags = ("--deadline-ms", "1500", "--drain-s", "600")
    with started(folder, *flags) as (process, address):

        async def run():
            async with httpx.AsyncClient(base_url=address, timeout=OLD_WAIT) as client:
                assert (await add(client, "a")).status_code == 201
                with stopped_writer(folder):
                    change = asyncio.create_task(add(client, "b"))
                    await asyncio.sleep(0.3)
                    process.send_signal(signal.SIGTERM)
                    answer = await change
                    assert answer.status_code == 503 == answer.json()["status"]
                    return await asyncio.to_thread(process.wait, OLD_WAIT)

        clients = [send_half_a_body(address) for _ in range(4)]
        assert asyncio.run(run()) == 0
        for client in clients:
            client.settimeout(10)
            answer = client.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 503") and b"problem+json" in answer
            client.close()


@contextmanager
def hanging(folder, *flags):
    """Run a server whose model never answers; yield the process and its address."""
    code = f"{HANG}{START}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(folder), "--port", "0", *flags],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        assert " answers at " in line, line
        yield process, line.split(" answers at ")[1].split()[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_every_client_gets_an_answer_if_the_server_ends_with_a_hanging_model(folder):
    flags = ("--drain-s", "1", "--deadline-ms", "60000")
    with hanging(folder, *flags) as (process, address):

        async def run():
            async with httpx.AsyncClient(base_url=address, timeout=OLD_WAIT) as client:
                bodies = [{"query": f"erase {number}"} for number in range(32)]
                asking = [asyncio.create_task(client.post("/v1/search", json=b)) for b in bodies]
                await asyncio.sleep(1.0)
                process.send_signal(signal.SIGTERM)
                return await asyncio.gather(*asking)

        answers = asyncio.run(run())
        assert process.wait(30) == 0
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["title"] for answer in answers} == {"Service Unavailable"}


def test_a_process_that_cannot_leave_is_ended(tmp_path):
    """The last resort: the event loop itself is blocked."""
    code = """
import threading, time
from genir.serving import server
server.FORCED_EXIT_S = 0.2
from genir.serving.service import Service
from genir.serving.settings import Settings
leaving = server.GracefulServer(Service(), Settings(drain_s=0.1))
leaving._guard.start()
time.sleep(60)
"""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, timeout=50, capture_output=True, text=True
    )
    assert done.returncode == 1 and time.monotonic() - begun < 50
    assert "the shutdown took too long" in done.stderr, done.stderr
