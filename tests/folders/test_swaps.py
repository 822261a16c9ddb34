"""One real server is asked to swap in folders from strangers: it refuses them, and still answers.

GENIR_SWAPS folders for each scheme (1 by default; 69: each kind of change three times).
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

import httpx2 as httpx
import pytest
from crafted import CRAFTS, craft, flip_keys

COUNT = int(os.environ.get("GENIR_SWAPS", "1"))
SCHEMES = ("residual", "atomic", "url") if COUNT > 1 else ("residual",)
FIRST = 0 if COUNT > 1 else CRAFTS.index(flip_keys)
SECONDS = 240
"""For one swap, on a machine that does much else; a trial has half of it."""
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        if event == "socket.connect" and isinstance(arguments[1], (str, bytes)):
            return
        with open(os.environ["GENIR_LOOKUPS"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
sys.addaudithook(watch)
"""
"""Notes every look-up and connection of the server and its children, as `sitecustomize`."""


@pytest.fixture
def start(tmp_path, tiny_folder):
    """Return a function that starts a server, with a folder of models, until the test ends."""
    begun = []
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    path = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", os.getcwd())]
    lookups = tmp_path / "lookups"
    lookups.touch()

    def start(scheme, models):
        log = stack.enter_context((tmp_path / f"log-{scheme}").open("w+"))
        code = "from genir.cli import main; main()"
        given = ["serve", str(tiny_folder(scheme)), "--port", "0", "--models", str(models),
                 "--trial-s", str(SECONDS / 2), "--deadline-ms", "60000"]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        environment |= {"GENIR_LOOKUPS": str(lookups), "OMP_NUM_THREADS": "1"}
        environment.pop("HF_HUB_OFFLINE", None)  # look-ups are to be found, not prevented
        server = subprocess.Popen(
            [sys.executable, "-c", code, *given], env=environment, stdout=log, stderr=log
        )
        begun.append(server)
        return server, log, _address(server, log)

    with ExitStack() as stack:
        yield start, lookups
        for server in begun:
            server.kill()
            server.wait()


def _address(server, log):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        log.seek(0)
        words = log.read().split()
        if "answers" in words:
            return words[words.index("answers") + 2]
        time.sleep(0.05)
    raise AssertionError("the server does not start")


def _ask(client):
    """Return the statuses of questions to the model that answers now."""
    asked = client.post("/v1/search", json={"queries": ["clone a text", "erase"], "k": 5})
    hits = asked.json()["results"][0]["hits"] if asked.status_code == 200 else []
    named = [client.get(f"/v1/documents/{hit['key']}").status_code for hit in hits[:1]]
    return [asked.status_code, *named, client.get("/v1/versions").status_code]


@pytest.mark.timeout(SECONDS * (1 + COUNT) * len(SCHEMES))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_survives_crafted_folders_as_swap_targets(start, tiny_folder, scheme, tmp_path):
    start, lookups = start
    models = tmp_path / "models"
    models.mkdir()
    server, log, address = start(scheme, models)
    tally, bad, slowest = Counter(), [], 0.0
    with httpx.Client(base_url=address, timeout=SECONDS) as client:
        for number in range(FIRST, FIRST + COUNT):
            name = craft(tiny_folder(scheme), models / str(number), number)
            began = time.monotonic()
            answer = client.post("/v1/model", json={"folder": str(number)})
            slowest = max(slowest, time.monotonic() - began)
            tally[answer.status_code] += 1
            refused = answer.status_code == 422 and f"{models / str(number)}" in answer.text
            statuses = _ask(client)
            if not (refused or answer.status_code == 200) or {*statuses} != {200}:
                bad.append((number, name, answer.status_code, answer.text[:300], statuses))
            assert server.poll() is None, (number, name)
    log.seek(0)
    text = log.read()
    logging.info("%s: %s, slowest %.0f s", scheme, json.dumps(tally), slowest)
    assert not bad
    assert "Traceback" not in text
    assert [line for line in lookups.read_text().splitlines() if "127.0.0.1" not in line] == []
    assert not os.path.exists("/tmp/genir-evil")
    assert tally[422] > COUNT / 3
