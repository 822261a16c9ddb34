"""Replicas under Ray Serve; the dev extra installs Ray."""

import shutil
import socket
import time

import httpx2
import pytest

pytest.importorskip("ray.serve", reason="no Ray; pip install 'genir[ray]'")

import ray
from ray import serve

from genir.errors import InputError
from genir.integrations.ray import app
from genir.serving.tokens import TokenSpec, new_token

pytestmark = [
    pytest.mark.timeout(580),  # a cluster takes minutes to start on a busy machine
    # Ray leaves sockets and files open and warns about its settings.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
QUERY = {"query": "clone a text", "k": 5}


@pytest.fixture(scope="module")
def model(tiny_folder, tmp_path_factory):
    return shutil.copytree(tiny_folder("residual"), tmp_path_factory.mktemp("ray") / "model")


@pytest.fixture(scope="module")
def secret(model):
    return new_token(model.parent / "tokens.json", TokenSpec("me", "write"))


@pytest.fixture(scope="module")
def address():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def server(model, secret, address):
    # Tests use no network: this disables Ray's usage reports.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": int(address.rpartition(":")[2])})
    tokens = str(model.parent / "tokens.json")
    serve.run(app({"model": str(model), "tokens": tokens, "replicas": "2", "cpus": "0.1"}))
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.Client(base_url=address, headers=headers, timeout=60) as client:
        yield client
    serve.shutdown()
    ray.shutdown()


def test_replicas_answer_alike_and_see_each_other_s_changes(server):
    first = server.post("/v1/search", json=QUERY).json()["hits"]
    assert all(server.post("/v1/search", json=QUERY).json()["hits"] == first for _ in range(8))
    gone = first[0]["key"]
    assert server.delete(f"/v1/documents/{gone}").status_code == 200
    time.sleep(1.0)  # replicas poll for changes four times a second
    for _ in range(8):
        hits = server.post("/v1/search", json=QUERY).json()["hits"]
        assert gone not in [hit["key"] for hit in hits] and len(hits) == 5


def test_the_same_routes_are_there_and_guarded(server, address):
    assert server.get("/readyz").json() == {"status": "ready"}
    assert "<title>genir" in server.get("/").text
    without = httpx2.post(f"{address}/v1/search", json=QUERY)
    assert without.status_code == 401


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "model: is missing; give it"),
        ({"model": "absent"}, "absent is not a folder"),
        ({"model": ".", "replicas": "0"}, "replicas: "),
        ({"model": ".", "absent": "1"}, "--absent"),
    ],
)
def test_bad_arguments_are_reported(arguments, expected):
    with pytest.raises(InputError, match=expected):
        app(arguments)
