"""The figures of a load test include successful searches only."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from genir.errors import InputError
from genir.serving import load as module
from genir.serving.load import Load, LoadStats, Run, few_searches_warning


def tally(*answers, seconds=2.0):
    found = LoadStats(seconds)
    for status, milliseconds in answers:
        found.note("search", status, milliseconds / 1000)
    return found.to_dict()


def test_refused_searches_are_neither_counted_nor_timed():
    figures = tally((200, 10), (200, 30), (503, 1), (422, 1), (422, 1), (0, 0.1))
    assert figures["searches"] == 2 and figures["searches_per_second"] == 1.0
    assert figures["p50_ms"] == 20.0 and figures["wrong_statuses"] == 4
    assert figures["statuses"] == {
        "search 200": 2, "search 422": 2, "search 503": 1, "search broken": 1
    }  # fmt: skip


def test_percentiles_are_within_the_measured_times():
    assert tally((200, 10), (200, 20))["p99_ms"] == 19.9
    assert tally(*((200, time) for time in (10, 11, 12, 30)))["p99_ms"] == 29.5
    one = tally((200, 7))
    assert (one["p50_ms"], one["p99_ms"]) == (7.0, 7.0)


def test_a_run_without_an_answer_says_so():
    with pytest.raises(InputError, match=r"no search was answered \(2 times search 422\); check"):
        tally((422, 1), (422, 1))
    with pytest.raises(InputError, match=r"no search was answered \(none was sent\)"):
        tally()


def test_few_searches_have_no_99th_percentile():
    assert few_searches_warning(99).startswith("p99 is close to the maximum of 99 times")
    assert few_searches_warning(100) == ""


def test_a_broken_connection_is_counted_and_the_client_goes_on(monkeypatch):
    """A server that closes every second connection before the response."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    asked = []

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.append(1)
        if len(asked) % 2:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            run = Run(address, ["copy"], Load(clients=2, seconds=0.3, changes=False))
            return await run.run()

    found = asyncio.run(main())
    assert found.statuses["search 200"] and found.statuses["search broken"]
    assert found.wrong == found.statuses["search broken"]


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
from genir.serving import load
load.START = sys.argv[2]
with load.started(pathlib.Path(sys.argv[1]), load.Load()):
    pass
"""


def wait_for(path: Path, seconds=60):
    until = monotonic() + seconds
    while not path.exists():
        assert monotonic() < until, f"{path.name}: not there"
        sleep(0.05)


def test_a_signal_before_the_server_answers_ends_the_server(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), NEVER_READY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) as parent:
        wait_for(tmp_path / "begun")
        sleep(0.5)  # until it waits for the server's first line
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) == 128 + signal.SIGTERM
    wait_for(tmp_path / "ended")
