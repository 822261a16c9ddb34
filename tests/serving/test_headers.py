"""Random headers on every route: never a status of 500, and no error in the log."""

import logging
import os

import pytest
from asgi import ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genir.serving.app import create_app
from genir.serving.middleware import LOOPBACK_HOSTS
from genir.serving.settings import Settings

EXAMPLES = int(os.environ.get("GENIR_HEADERS", "150"))
READ = (
    *("accept", "accept-encoding", "authorization", "content-encoding", "content-length"),
    *("content-type", "cookie", "expect", "forwarded", "host", "if-match", "if-modified-since"),
    *("if-none-match", "if-range", "if-unmodified-since", "origin", "range", "referer"),
    *("sec-fetch-site", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host"),
    *("x-forwarded-proto", "x-forwarded-prefix", "x-request-id", "x-http-method-override"),
    *("access-control-request-method", "access-control-request-headers"),
)
PIECES = st.sampled_from(
    [
        *(
            b"http://[",
            b"https://a.example.org",
            b"null",
            b"*",
            b"a:b:c",
            b"[::1]:8000",
            b"127.0.0.1",
        ),
        *(b"Bearer ", b"bearer \xff", b"Basic Og==", b"application/json", b"; charset=latin-1"),
        *(b"; charset*=utf-8''%ff", b"multipart/form-data", b"boundary=", b"gzip", b"br, gzip"),
        *(
            b"bytes=0-",
            b"bytes=-1",
            b"bytes=9-1",
            b"bytes=0-1,2-3",
            b"bytes=" + b"0-0," * 50,
            b"-1",
        ),
        *(b'W/"x"', b"Thu, 01 Jan 1970 00:00:00 GMT", b"Thu, 99 Foo 99999 99:99:99 GMT", b"9" * 30),
        *(b"same-origin", b"cross-site", b'for="[::1";host=x', b",", b";", b"=", b'"', b"%", b"\\"),
        *(b"\xe9", b"\xff\xfe", "é☃".encode(), b"\t", b" ", b"\x7f", b"a" * 5_000),
    ]
)
VALUES = st.one_of(st.binary(max_size=40), st.lists(PIECES, min_size=1, max_size=3).map(b"".join))
HEADERS = st.lists(
    st.tuples(st.sampled_from([name.encode() for name in READ]), VALUES), min_size=1, max_size=4
)
ROUTES = (
    *(("GET", path) for path in (b"/", b"/page/app.js", b"/page/", b"/page", b"/openapi.json")),
    *(("GET", path) for path in (b"/v1/model", b"/v1/search/", b"/v1/healthz", b"/v1/metrics")),
    *(
        ("GET", path)
        for path in (b"/v1/explain", b"/v1/documents/none", b"/documents/os.walk", b"/nowhere")
    ),
    *((method, b"/v1/search") for method in ("POST", "OPTIONS", "HEAD", "PUT")),
    *((method, b"/v1/documents/os.walk") for method in ("DELETE", "OPTIONS")),
    *(("POST", path) for path in (b"/v1/documents", b"/v1/rollback", b"/v1/compact", b"/v1/model")),
)


@pytest.fixture(params=["bare", "guarded"])
def app(request, searcher, tmp_path):
    if request.param == "bare":
        return create_app(searcher)
    (tmp_path / "tokens.json").write_text('{"tokens": []}')
    guarded = Settings(
        hosts=LOOPBACK_HOSTS,
        cors="https://a.example.org",
        tokens=tmp_path / "tokens.json",
        public=True,
    )
    return create_app(searcher, settings=guarded)


class Complaints(logging.Handler):
    """Collects error records of the log."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(route=st.sampled_from(ROUTES), headers=HEADERS, known=st.booleans())
def test_no_header_makes_the_server_fail(app, route, headers, known):
    method, path = route
    if known:  # valid host and content type
        headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"), *headers]
    complaints = Complaints()
    logging.getLogger("genir.serving").addHandler(complaints)
    try:
        status, found, reply = ask(app, method, path, headers, b'{"query": "copy a file"}')
    finally:
        logging.getLogger("genir.serving").removeHandler(complaints)
    assert status < 500 or status == 503, (route, headers, reply)
    assert not complaints.lines, (route, headers)
    assert "x-request-id" in found and found["x-content-type-options"] == "nosniff"
