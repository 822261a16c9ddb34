"""Load tests: only successful searches count, and signals end the server."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from benchmarks.load import run as module
from benchmarks.load.__main__ import main
from benchmarks.load.hostile_bodies import LIMITS, Request, hostile_requests, send
from benchmarks.load.run import Load, LoadStats, LoadTest, few_searches_warning
from genir.errors import InputError

TOP = Path(__file__).parents[2]


def figures(*answers):
    stats = LoadStats()
    for status, milliseconds in answers:
        stats.add("search", status, milliseconds / 1000)
    return stats.to_dict(seconds=2.0)


def test_refused_searches_are_neither_counted_nor_timed():
    found = figures((200, 10), (200, 30), (503, 1), (422, 1), (422, 1), (0, 0.1))
    assert found["searches"] == 2 and found["searches_per_second"] == 1.0
    assert (found["p50_ms"], found["p99_ms"]) == (20.0, 29.8)
    assert found["wrong_statuses"] == 4
    assert found["statuses"] == {
        "search 200": 2, "search 422": 2, "search 503": 1, "search broken": 1
    }  # fmt: skip


def test_a_run_without_an_answer_is_an_error():
    with pytest.raises(InputError, match=r"no search was answered \(2 times search 422\); check"):
        figures((422, 1), (422, 1))
    with pytest.raises(InputError, match=r"no search was answered \(none was sent\)"):
        figures()


def test_few_searches_have_no_99th_percentile():
    assert few_searches_warning(99).startswith("p99 is close to the maximum of 99 times")
    assert few_searches_warning(100) == ""


def served(answer, run):
    """Return the result of `run(address)` beside a server that calls `answer(reader, writer)`."""

    async def both():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            return await run(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    return asyncio.run(both())


def test_a_broken_connection_is_counted_and_the_client_continues(monkeypatch):
    """A server that closes every second connection before the response."""
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    asked = []

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.append(1)
        if len(asked) % 2:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    load = Load(clients=2, seconds=0.3, changes=False)
    found = served(answer, lambda url: LoadTest(url, ["copy"], load, os.getpid()).run())
    assert found["statuses"]["search 200"] and found["statuses"]["search broken"]
    assert found["wrong_statuses"] == found["statuses"]["search broken"]
    assert found["memory_mb"][0] > 10


def test_a_load_test_of_a_model_with_changes(tiny_folder, tmp_path, capsys):
    model = tiny_folder("atomic")
    main(model, clients=2, minutes=0.02, json_file=tmp_path / "load.json")
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["clients"] == 2 and found["searches"] > 0 and found["changes"] >= 3
    assert found["wrong_statuses"] == 0, found["statuses"]
    assert f"searches: {found['searches']}\n" in capsys.readouterr().out
    with pytest.raises(InputError, match="inside the model folder"):
        main(model, json_file=model / "load.json")


def test_hostile_requests_fit_the_limits():
    requests = list(hostile_requests())
    assert len(requests) == len({str(request) for request in requests}) == 211
    allowed = max(LIMITS.max_body, LIMITS.max_search_body)
    over = [len(one.body) - allowed for one in requests if len(one.body) > allowed]
    assert over == [1, 2**22 - 2]  # one byte too long, and 8 MiB


@pytest.mark.parametrize(("chunk_size", "header"), [(0, b"length: 5000"), (1000, b"chunked")])
def test_hostile_bodies_are_sent_whole_or_in_chunks(chunk_size, header):
    """The answer arrives before the body is read."""
    heads = []

    async def answer(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    request = Request("/", b"x" * 5000, chunk_size=chunk_size)
    assert served(answer, lambda url: send(url, request)) == "413"
    assert header in heads[0].lower()


NEVER_READY = """
import pathlib, signal, sys, time
place = pathlib.Path(sys.argv[2])
def leave(*_):
    (place / "ended").touch()
    sys.exit()
signal.signal(signal.SIGTERM, leave)
(place / "begun").touch()
time.sleep(100)
"""
PARENT = """
import pathlib, sys
from genir.signals import listen
listen()
from benchmarks.load import server
server.START = sys.argv[2]
with server.started(pathlib.Path(sys.argv[1])):
    pass
"""


def wait_for(path: Path, seconds=60):
    until = monotonic() + seconds
    while not path.exists():
        assert monotonic() < until, f"{path.name}: not there"
        sleep(0.05)


def test_a_signal_before_the_server_answers_ends_the_server(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), NEVER_READY]
    with subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE) as parent:
        wait_for(tmp_path / "begun")
        sleep(0.5)  # until it waits for the server's first line
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) == 128 + signal.SIGTERM
    wait_for(tmp_path / "ended")
