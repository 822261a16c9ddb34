"""Hosts, origins, request ids, metrics and the log."""

import json
import logging

import pytest
from fastapi.testclient import TestClient

from genir.serving.app import create_app
from genir.serving.logs import JsonLines, logging_json
from genir.serving.origins import host_and_port
from genir.serving.settings import Settings

ASKED = {"query": "copy a directory tree"}


def serve(searcher, **settings):
    return TestClient(create_app(searcher, settings=Settings(**settings)))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example.org", 421),
        ("localhost.evil.example.org:8000", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_its_own_names_are_answered_where_they_are_set(searcher, host, status):
    client = serve(searcher, hosts=("localhost", "::1"))
    assert client.get("/v1/model", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://testserver", 200),
        ("https://friend.example.org", 200),
        ("https://evil.example.org", 403),
        ("null", 403),
    ],
)
def test_foreign_pages_may_not_send_anything(searcher, origin, status):
    client = serve(searcher, cors=("https://friend.example.org",))
    headers = {"Origin": origin} if origin else {}
    answer = client.post("/v1/search", json=ASKED, headers=headers)
    assert answer.status_code == status
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (origin if origin and "friend" in origin else None)


def test_cors_is_off_by_default(searcher):
    headers = {"Origin": "https://a.example.org", "Access-Control-Request-Method": "POST"}
    answer = serve(searcher).options("/v1/search", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2", True), ("a b", False), ("x" * 65, False)])
def test_every_answer_has_a_request_id(searcher, given, kept):
    answer = serve(searcher).get("/v1/healthz", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert len(answer.headers["x-request-id"]) in (7, 32)


def lines(caplog):
    formatter = JsonLines()
    return [json.loads(formatter.format(record)) for record in caplog.records]


@pytest.mark.parametrize("logged", [False, True])
def test_the_log_names_no_query_unless_asked(searcher, caplog, logged):
    caplog.set_level(logging.INFO, "genir.serving")
    client = serve(searcher, log_queries=logged)
    answer = client.post("/v1/search", json=ASKED)
    (line,) = [one for one in lines(caplog) if one["event"] == "request"]
    assert line["request"] == answer.headers["x-request-id"]
    assert (line["route"], line["status"], line["method"]) == ("/v1/search", 200, "POST")
    assert line["queries"] == 1 and line["k"] == 10 and line["ms"] >= 0
    assert (ASKED["query"] in json.dumps(line)) is logged


def test_a_bug_is_logged_with_its_traceback_and_the_request_s_id(searcher, caplog):
    searcher.match = None
    answer = serve(searcher).post("/v1/search", json=ASKED)
    (line,) = [one for one in lines(caplog) if one["event"] == "unhandled exception"]
    assert answer.status_code == 500 and line["request"] == answer.headers["x-request-id"]
    assert "TypeError" in line["traceback"]


def test_lines_are_written_as_json_until_the_block_ends(capsys):
    logger = logging.getLogger("genir.serving")
    with logging_json():
        logger.info("request", extra={"route": "/v1/search"})
        logger.debug("too much")
    logger.info("after it")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["event"] == "request" and line["route"] == "/v1/search" and line["level"] == "info"


def meters(client):
    reply = client.get("/v1/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    rows = [line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_the_meters_count_requests_batches_and_kept_answers(searcher):
    client = serve(searcher)
    for _ in range(3):
        client.post("/v1/search", json=ASKED)
    client.post("/v1/search", json={"queries": ["a", "b"]})
    client.post("/v1/search", json={"query": ""})
    client.get("/not/there/path")
    values = meters(client)
    search = 'route="/v1/search"'
    assert values[f'genir_requests_total{{method="POST",{search},status="200"}}'] == 4
    assert values[f'genir_requests_total{{method="POST",{search},status="422"}}'] == 1
    assert values['genir_requests_total{method="GET",route="other",status="404"}'] == 1
    assert values[f'genir_request_seconds_count{{method="POST",{search}}}'] == 5
    assert values['genir_cache_total{outcome="hit"}'] == 2
    assert values['genir_cache_total{outcome="miss"}'] == 3
    assert values["genir_batch_queries_sum"] == 3
    assert values["genir_documents_live"] == 13 and values["genir_ready"] == 1
    assert values["genir_model_version"] == 0 and values["genir_queue_queries"] == 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Host", ("127.0.0.1", "evil.example.org")),
        ("Origin", ("http://testserver", "http://evil.example.org")),
        ("Sec-Fetch-Site", ("same-origin", "cross-site")),
        ("Content-Type", ("application/json", "text/plain; charset=latin1")),
    ],
)
def test_a_deciding_header_that_is_given_twice_is_refused(searcher, name, values):
    headers = [(name, value) for value in values]
    answer = serve(searcher).post("/v1/search", json=ASKED, headers=headers)
    assert answer.status_code == 400 and "is given twice" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["evil[::1]", "[::1]evil", "[::1]evil:80", "a@b", "a:b:c"])
def test_malformed_authorities_are_no_hosts(host):
    assert host_and_port(host) is None


def test_every_charset_counts(searcher):
    headers = {"Content-Type": "application/json;charset=utf-8;charset=latin1"}
    answer = serve(searcher).post("/v1/search", content=json.dumps(ASKED), headers=headers)
    assert answer.status_code == 415
