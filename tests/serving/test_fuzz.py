"""Random requests from the OpenAPI schema, valid and invalid: no 5xx but 503 and 504, no hang.

GENIR_FUZZ=10000 pytest tests/serving/test_fuzz.py
"""

import json
import os
import shutil
import sys
from contextlib import suppress
from time import monotonic

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from living import keys, serving
from schemathesis import GenerationMode

COUNT = int(os.environ.get("GENIR_FUZZ", "200"))
EACH = 10 if COUNT <= 1000 else 50
"""Number of random requests per route."""
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(model_folder, tmp_path_factory):
    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("fuzz") / "model")
    with serving(folder) as client:
        yield client


def answered(client, **request):
    """Send a request and check that its response has an allowed status and a detail."""
    start = monotonic()
    response = client.request(**request)
    assert monotonic() - start < 30, request
    assert response.status_code < 500 or response.status_code in (503, 504), (
        request,
        response.text,
    )
    if response.status_code >= 400 and request["method"] != "HEAD":
        assert response.headers["content-type"] == "application/problem+json", request
        assert response.json()["detail"]
    return response.status_code


def operations(client):
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if one.path.startswith("/v1/")]


def asked(case):
    """Convert a generated request to arguments of the client."""
    made = case.as_transport_kwargs(base_url="http://testserver")
    body = made.get("json")
    if isinstance(body, dict) and {"query", "queries"} <= body.keys():
        del body[
            "queries"
        ]  # the schema cannot express "either"; otherwise few requests would be valid
    made = {name: value for name, value in made.items() if value is not None}
    made.pop("cookies", None)
    if "data" in made:
        data = made.pop("data")
        made["content"] = data if isinstance(data, bytes | str) else str(data)
    made["headers"] = {str(k): str(v) for k, v in dict(made.get("headers", {})).items()}
    return made


def ask_some(client, operation, mode, round_, statuses):
    @seed(round_)
    @settings(max_examples=EACH, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def check(case):
        try:
            request = asked(case)
        except (ValueError, TypeError):  # no client can send it
            return
        if len(statuses) < COUNT:
            statuses.append(answered(client, **request))

    check()


@pytest.mark.timeout(3600 if COUNT > 1000 else 300)
def test_made_up_requests_are_answered_or_refused(client):
    statuses, round_ = [], 0
    jobs = [(one, mode) for one in operations(client) for mode in GenerationMode]
    while len(statuses) < COUNT and round_ < 50:
        round_ += 1
        for operation, mode in jobs:
            with suppress(Unsatisfiable):  # a route without parameters has no invalid requests
                ask_some(client, operation, mode, round_, statuses)
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    sys.stdout.write(f"{len(statuses)} requests: {counts}\n")
    assert len(statuses) >= COUNT
    assert {200, 422} <= set(statuses)
    assert client.get("/v1/readyz").status_code == 200 and keys(client)


MEGABYTE = "a " * 2**19
HOSTILE = {
    "cut off": b'{"query": "a"',
    "no JSON": b"\x80\xff",
    "a deep nest": b"[" * 200_000,
    "a deep filter": b'{"query": "a", "where": ' + b'{"not": ' * 900 + b"1" + b"}" * 900 + b"}",
    "a very deep filter": b'{"query": "a", "where": ' + b'{"a": ' * 90_000 + b"1" + b"}" * 90_001,
    "a NUL": b'{"query": "a\\u0000b"}',
    "half a pair": b'{"query": "a\\ud800b"}',
    "half a pair in a field": b'{"query": "a", "where": {"\\udfff": 1}}',
    "half a pair in a key": b'{"query": "a", "allow": ["\\udfff"]}',
    "a megabyte": b'{"query": "' + MEGABYTE.encode() + b'"}',
    "no number": b'{"query": "a", "where": {"section": NaN}}',
    "no end": b'{"query": "a", "where": {"section": {"gt": -Infinity}}}',
    "endless digits": b'{"query": "a", "where": {"section": ' + b"9" * 10_000 + b"}}",
    "many digits": b'{"query": "a", "where": {"section": ' + b"9" * 309 + b"}}",
    "a range of booleans": b'{"query": "a", "where": {"section": {"gt": true}}}',
    "a huge float": b'{"query": "a", "where": {"section": {"gt": 1e400}}}',
    "k = 0": b'{"query": "a", "k": 0}',
    "k < 0": b'{"query": "a", "k": -5}',
    "a huge k": b'{"query": "a", "k": 10000000000000000000000000000}',
    "an unknown field": b'{"query": "a", "where": {"absent": 1}}',
    "a field twice": b'{"query": "a", "query": "b", "k": 0}',
    "an empty filter": b'{"query": "a", "where": {"section": {}}}',
    "no query": b"{}",
    "null": b"null",
}
REFUSED = {
    "a document without a key": {"document": {"text": "a"}},
    "without a text": {"document": {"_id": "a"}},
    "with a key that is no text": {"document": {"_id": 1, "text": "a"}},
    "with a NUL in its key": {"document": {"_id": "a\0", "text": "a"}},
    "with half a pair in its text": {"document": {"_id": "a", "text": "a\ud800", "url": "u"}},
    "with half a pair in its key": {"document": {"_id": "a\ud800", "text": "a"}},
    "with a field that has the name of a field": {
        "document": {"_id": "a", "text": "a", "metadata": {"metadata": 1}}
    },
    "twice": {"documents": [{"_id": "a", "text": "a"}] * 2},
    "too many": {"documents": [{"_id": f"{n}", "text": "a"} for n in range(257)]},
    "none": {"documents": []},
    "queries of another": {"document": {"_id": "a", "text": "a"}, "queries": {"b": ["c"]}},
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_refused(client, body):
    assert (
        400 <= answered(client, method="POST", url="/v1/search", content=body, headers=JSON) < 500
    )


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_documents_that_cannot_be_are_refused(client, body):
    before = client.get("/v1/model").json()["version"]
    content = json.dumps(body).encode()
    status = answered(client, method="POST", url="/v1/documents", content=content, headers=JSON)
    assert status == 422
    assert client.get("/v1/model").json()["version"] == before


@pytest.mark.parametrize(
    "where", ["{", "[1]", "7", '"a"', '{"section": {"gt": null}}', '{"a": "\\ud800"}', "[" * 10_000]
)
def test_a_filter_in_an_address_is_refused_alike(client, where):
    parameters = {"query": "a", "where": where}
    assert answered(client, method="GET", url="/v1/explain", params=parameters) == 422


@pytest.mark.parametrize("key", ["absent", "a/b/c", "%00", "..", "%ED%A0%80", "x" * 2000, "%2e%2e"])
def test_keys_that_are_not_there(client, key):
    for method in ("GET", "DELETE"):
        assert answered(client, method=method, url=f"/v1/documents/{key}") in (400, 404, 405, 422)


@pytest.mark.parametrize(
    "folder", ["../..", "/etc", "absent", "a\0b", "\ud800", "x" * 4000, "model/identifiers", "."]
)
def test_folders_that_are_no_models_beside_this_one(client, folder):
    content = json.dumps({"folder": folder}).encode()
    status = answered(client, method="POST", url="/v1/model", content=content, headers=JSON)
    assert status == 422 and keys(client)
