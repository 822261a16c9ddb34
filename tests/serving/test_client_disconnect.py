"""Model swaps and server shutdown under load: no request fails.

GENIR_SWAP_SECONDS=60 pytest tests/serving/test_client_disconnect.py
"""

import asyncio
import os
import shutil
import signal
import sys
from time import monotonic

import httpx2 as httpx
import pytest

from benchmarks.load.server import started

SECONDS = float(os.environ.get("GENIR_SWAP_SECONDS", "3"))
QUERIES = ["clone a text", "hide the volume", "erase", "pack one program", "look for a host"]


class Clients:
    """Clients that send requests until the server is down and record the responses."""

    def __init__(self, address):
        self.address, self.statuses, self.after = address, [], []
        self.leaving, self.broken = False, []

    def connect(self):
        return httpx.AsyncClient(base_url=self.address, timeout=120, verify=False)

    async def ask(self, number):
        count = 0
        async with self.connect() as client:
            while True:
                body = {"query": f"{QUERIES[count % 5]} {number} {count}", "k": 5}
                count += 1
                try:
                    answer = await client.post("/v1/search", json=body)
                except httpx.ConnectError:
                    assert self.leaving
                    return
                except httpx.TransportError as error:
                    self.broken.append(repr(error))
                    return
                (self.after if self.leaving else self.statuses).append(answer.status_code)
                if answer.status_code == 503 and self.leaving:
                    assert "shutting down" in answer.text
                    return  # as a client that retries on another server

    async def swap(self, folders, until):
        swaps = 0
        async with self.connect() as client:
            while monotonic() < until or swaps < 2:
                folder = {"folder": folders[swaps % 2]}
                assert (await client.post("/v1/model", json=folder)).status_code == 200
                swaps += 1
                await asyncio.sleep(0.2)
        return swaps


@pytest.mark.timeout(300)
def test_models_are_swapped_and_the_server_leaves_without_a_failed_request(model_folder, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(model_folder, tmp_path / name)
    with started(tmp_path / "one") as (process, address):

        async def run():
            clients = Clients(address)
            asking = [asyncio.create_task(clients.ask(number)) for number in range(12)]
            swaps = await clients.swap(["two", "one"], monotonic() + SECONDS)
            clients.leaving = True
            process.send_signal(signal.SIGTERM)
            await asyncio.gather(*asking)
            return clients, swaps

        clients, swaps = asyncio.run(run())
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    sys.stdout.write(f"{len(clients.statuses)} answers, {swaps} swaps, then {len(clients.after)}\n")
    assert swaps >= 2 and len(clients.statuses) > 20
    assert {*clients.statuses} == {200} and {*clients.after} <= {200, 503}
    assert clients.broken == []
